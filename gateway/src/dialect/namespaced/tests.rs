//! Golden files, and what a client meant is what is done. See the bench.

use confab_shared::model::content::{Content, Slug, TempId};
use confab_shared::model::conversation::ConversationKind;
use proptest::prelude::*;
use serde_json::json;

use super::Namespaced;
use crate::dialect::test_bench::{self as bench, Subjects, any};
use crate::dialect::{Dialect, Intent, Namespace, RoomName};

#[test]
fn server_to_client() {
    let subjects = Subjects::new();
    let [_, group, room, by_id] = subjects.scenes(Namespace::Chat);
    bench::server_to_client(&Namespaced, &[room, by_id, group]);
}

#[test]
fn server_to_one_client() {
    bench::server_to_one_client(&Namespaced, "chat:room:join");
}

#[test]
fn client_to_server() {
    bench::client_to_server(&Namespaced);
}

#[test]
fn the_lobby_is_the_room_of_this_slug() {
    let slug = Slug::parse("lobby").unwrap();
    assert_eq!(Namespaced.lobby(), Some(RoomName::Slug(slug)));
}

proptest! {
    #[test]
    fn what_is_sent_is_what_was_meant(
        room in proptest::option::of(any::room()),
        content in any::content(),
        temp_id in any::temp_id(),
    ) {
        let payload = json!({ "content": content, "roomId": room, "tempId": temp_id });
        let meant = Intent::Say {
            room: RoomName::parse(room.as_deref().unwrap_or("lobby")).unwrap(),
            content: Content::parse(&content).unwrap(),
            temp_id: temp_id.map(|text| TempId::parse(&text).unwrap()),
            inside: false,
        };
        prop_assert_eq!(bench::intent(&Namespaced, "chat:message", &[payload]), Ok(meant));
    }

    #[test]
    fn where_one_goes_is_where_one_meant_to(room in any::room()) {
        let args = [json!(room)];
        let room = RoomName::parse(&room).unwrap();
        let enter = Intent::Enter { room: room.clone(), guest_name: None };
        prop_assert_eq!(bench::intent(&Namespaced, "chat:room:join", &args), Ok(enter));
        let exit = Intent::Exit(room);
        prop_assert_eq!(bench::intent(&Namespaced, "chat:room:leave", &args), Ok(exit));
    }

    #[test]
    fn a_room_with_participants_is_theirs(
        name in "[a-zA-Z]{1,40}",
        participants in proptest::collection::vec(any::user_id(), 0..8),
    ) {
        let payload = json!({ "name": name, "participants": participants });
        let meant = if participants.is_empty() {
            Intent::CreateRoom { name }
        } else {
            Intent::Create { kind: ConversationKind::Group, name: Some(name), participants }
        };
        prop_assert_eq!(bench::intent(&Namespaced, "chat:room:create", &[payload]), Ok(meant));
    }

    #[test]
    fn whoever_logs_in_does_so_with_their_token(token in "\\PC{0,64}", user_type in "[a-z]{0,8}") {
        let payload = json!({ "token": token, "userType": user_type });
        prop_assert_eq!(bench::intent(&Namespaced, "auth:login", &[payload]), Ok(Intent::LogIn { token }));
    }
}
