//! Golden files, and what a client meant is what is done. See the bench.

use confab_shared::model::content::{Content, TempId};
use proptest::prelude::*;
use serde_json::json;

use super::Rooms;
use crate::dialect::test_bench::{self as bench, Subjects, any};
use crate::dialect::{Intent, Namespace, RoomName};

#[test]
fn server_to_client() {
    let subjects = Subjects::new();
    let [_, group, room, by_id] = subjects.scenes(Namespace::Root);
    bench::server_to_client(&Rooms, &[room, by_id, group]);
}

#[test]
fn server_to_one_client() {
    bench::server_to_one_client(&Rooms, "chat.sendMessage");
}

#[test]
fn client_to_server() {
    bench::client_to_server(&Rooms);
}

proptest! {
    #[test]
    fn what_is_sent_is_what_was_meant(
        room in any::room(),
        content in any::content(),
        temp_id in any::temp_id(),
        sender in "\\PC{0,8}",
    ) {
        let payload = json!({ "roomId": room, "content": content, "tempId": temp_id, "sender": sender });
        let meant = Intent::Say {
            room: RoomName::parse(&room).unwrap(),
            content: Content::parse(&content).unwrap(),
            temp_id: temp_id.map(|text| TempId::parse(&text).unwrap()),
            inside: true,
        };
        prop_assert_eq!(bench::intent(&Rooms, "chat.sendMessage", &[payload]), Ok(meant));
    }

    #[test]
    fn where_one_goes_is_where_one_meant_to(
        room in any::room(),
        username in proptest::option::of("\\PC{0,40}"),
    ) {
        let payload = json!({ "roomId": room, "username": username });
        let room = RoomName::parse(&room).unwrap();
        prop_assert_eq!(room.to_string(), payload["roomId"].as_str().unwrap());
        let enter = Intent::Enter { room: room.clone(), guest_name: username };
        let intent = bench::intent(&Rooms, "chat.addUser", std::slice::from_ref(&payload));
        prop_assert_eq!(intent, Ok(enter));
        let intent = bench::intent(&Rooms, "chat.removeUser", &[payload]);
        prop_assert_eq!(intent, Ok(Intent::Exit(room)));
    }
}
