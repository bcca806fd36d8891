//! This dialect's events, for those who write clients.

use serde_json::{Value, json};

use super::inbound::MAX_HISTORY;
use crate::dialect::catalog::{
    Catalog, Entry, content, count, described, error_code, list, message_number, moment, nullable,
    object, own_temp_id, retry_after, room_fields, shared, success, temp_id, text, truth, uuid,
    words,
};

fn own(name: &str) -> Value {
    shared("direct", name)
}

/// All events and what they look like.
pub(super) fn catalog() -> Catalog {
    let mut events = from_client();
    events.extend(messages());
    events.extend(conversations());
    Catalog {
        summary: "Two people who write to each other.",
        events,
        schemas: schemas(),
    }
}

fn from_client() -> Vec<Entry> {
    let before = json!({
        "type": ["integer", "string", "null"],
        "description": "A message's id: only what was said before it.",
    });
    let limit = described(
        json!({ "type": ["integer", "null"], "minimum": 1 }),
        &format!("At most so many, the newest of them. More than {MAX_HISTORY} are never given."),
    );
    vec![
        Entry::from_client(
            "send_message",
            "Says something to another user, or in a group or room.",
            object(
                [
                    (
                        "receiverId",
                        described(uuid(), "The other user, or a conversation's id."),
                    ),
                    ("content", content()),
                ],
                [("tempId", temp_id())],
            ),
        )
        .answered(success([("messageId", message_number())], [])),
        Entry::from_client(
            "get_messages",
            "Asks for what was said; `messages_list` follows.",
            object(
                [(
                    "otherUserId",
                    described(uuid(), "The other user, or a conversation's id."),
                )],
                [("before", before), ("limit", limit)],
            ),
        )
        .answered(success([("messages", list(&own("Message")))], [])),
    ]
}

fn messages() -> Vec<Entry> {
    vec![
        Entry::to_client(
            "receive_message",
            "Somebody said something. To all sockets of both.",
            own("Message"),
        )
        .recoverable(),
        Entry::to_client(
            "messages_list",
            "What was asked for by `get_messages`, oldest first.",
            list(&own("Message")),
        ),
        Entry::to_client(
            "user_typing",
            "Somebody else types, or types no more.",
            object(
                [
                    ("userId", uuid()),
                    ("conversationId", uuid()),
                    ("isTyping", truth()),
                ],
                [],
            ),
        )
        .addition(),
        Entry::to_client(
            "message_updated",
            "A message has another content.",
            own("Message"),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "message_deleted",
            "A message was taken back.",
            object(
                [
                    ("id", message_number()),
                    ("conversationId", uuid()),
                    ("deletedBy", uuid()),
                    ("deletedAt", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "messages_read",
            "Somebody has read everything up to a message.",
            object(
                [
                    ("readerId", uuid()),
                    (
                        "otherUserId",
                        described(
                            uuid(),
                            "With whom the reader has this conversation; of a group, its id.",
                        ),
                    ),
                    ("conversationId", uuid()),
                    (
                        "messageId",
                        described(nullable(message_number()), "Null where all was read."),
                    ),
                    ("readAt", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "error",
            "An event was refused.",
            object(
                [("message", text()), ("code", error_code())],
                [retry_after()],
            ),
        ),
    ]
}

fn conversations() -> Vec<Entry> {
    let [name, description, max_users, updated_by] = room_fields();
    let conversation_id = || ("conversationId", uuid());
    vec![
        Entry::to_client(
            "conversation_created",
            "The user is a member of a conversation now.",
            own("Conversation"),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "participants_added",
            "A group has more members.",
            object(
                [
                    conversation_id(),
                    ("participants", list(&own("Participant"))),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "participant_removed",
            "A member was taken out, or left: then both are the same.",
            object(
                [conversation_id(), ("userId", uuid()), ("removedBy", uuid())],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "room_updated",
            "A room is called, described or limited otherwise.",
            object(
                [conversation_id(), name, description, max_users, updated_by],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "room_deleted",
            "A room has ended.",
            object([conversation_id(), ("deletedBy", uuid())], []),
        )
        .recoverable()
        .addition(),
    ]
}

fn schemas() -> Vec<(&'static str, Value)> {
    let message = object(
        [
            ("id", message_number()),
            ("content", described(text(), "Empty once it is deleted.")),
            ("senderId", uuid()),
            ("senderName", text()),
            (
                "receiverId",
                described(uuid(), "The other user; of a group or room, its id."),
            ),
            (
                "receiverName",
                described(nullable(text()), "Null where a group has no name."),
            ),
            ("createdAt", moment()),
        ],
        [
            ("editedAt", moment()),
            ("deletedAt", moment()),
            ("tempId", own_temp_id()),
        ],
    );
    let participant = object(
        [
            ("id", uuid()),
            ("name", text()),
            ("username", text()),
            ("role", words(["owner", "admin", "member"])),
        ],
        [],
    );
    let conversation = object(
        [
            ("id", uuid()),
            ("type", words(["direct", "group", "room"])),
            ("name", nullable(text())),
            ("participants", list(&own("Participant"))),
            ("lastMessage", nullable(own("Message"))),
            ("unreadCount", count()),
            ("createdAt", moment()),
        ],
        [],
    );
    vec![
        ("Message", message),
        ("Participant", participant),
        ("Conversation", conversation),
    ]
}
