//! Golden files, and what a client meant is what is done. See the bench.

use confab_shared::model::command::Command;
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::ConversationKind;
use proptest::prelude::*;
use serde_json::json;

use super::Conversations;
use crate::dialect::test_bench::{self as bench, Subjects, any};
use crate::dialect::{Called, Intent, Namespace, Scene};

#[test]
fn server_to_client() {
    let subjects = Subjects::new();
    let scene = Scene {
        namespace: Namespace::Chat,
        subject: &subjects.unknown,
        called: Called::ById,
    };
    bench::server_to_client(&Conversations, &[("", scene)]);
}

#[test]
fn server_to_one_client() {
    bench::server_to_one_client(&Conversations, "joinRoom");
}

#[test]
fn client_to_server() {
    bench::client_to_server(&Conversations);
}

proptest! {
    #[test]
    fn what_is_sent_is_what_was_meant(
        conversation in any::conversation_id(),
        content in any::content(),
        temp_id in any::temp_id(),
        reply_to in proptest::option::of(any::message_id()),
        message_type in "[a-z0-9_-]{1,32}",
    ) {
        let payload = json!({
            "conversationId": conversation,
            "content": content,
            "type": message_type,
            "tempId": temp_id,
            "replyTo": reply_to.map(|id| id.to_string()),
        });
        let meant = Intent::Change {
            conversation,
            command: Command::SendMessage {
                content: Content::parse(&content).unwrap(),
                message_type,
                reply_to,
                temp_id: temp_id.map(|text| TempId::parse(&text).unwrap()),
            },
        };
        prop_assert_eq!(bench::intent(&Conversations, "sendMessage", &[payload]), Ok(meant));
    }

    #[test]
    fn what_is_changed_is_what_was_meant(
        conversation in any::conversation_id(),
        message in any::message_id(),
        content in any::content(),
    ) {
        let payload = json!({
            "conversationId": conversation,
            "messageId": message.to_string(),
            "content": content,
        });
        let content = Content::parse(&content).unwrap();
        for (event, command) in [
            ("editMessage", Command::EditMessage { message, content }),
            ("deleteMessage", Command::DeleteMessage { message }),
            ("markAsRead", Command::MarkRead { up_to: Some(message) }),
            ("markConversationAsRead", Command::MarkRead { up_to: None }),
        ] {
            let intent = bench::intent(&Conversations, event, std::slice::from_ref(&payload));
            prop_assert_eq!(intent, Ok(Intent::Change { conversation, command }));
        }
    }

    #[test]
    fn who_is_named_is_who_was_meant(
        participants in proptest::collection::vec(any::user_id(), 1..8),
        name in proptest::option::of("[a-z]{1,20}"),
    ) {
        let payload = json!({ "participantIds": participants, "type": "group", "name": name });
        let meant = Intent::Create { kind: ConversationKind::Group, name, participants };
        prop_assert_eq!(bench::intent(&Conversations, "createConversation", &[payload]), Ok(meant));
    }
}
