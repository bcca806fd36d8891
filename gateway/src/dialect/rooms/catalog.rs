//! This dialect's events, for those who write clients.

use serde_json::{Value, json};

use crate::dialect::catalog::{
    Catalog, Entry, Field, content, count, described, error_code, list, message_id, moment,
    nullable, object, own_temp_id, retry_after, room_fields, room_id, shared, success, temp_id,
    text, truth, uuid, words,
};

fn own(name: &str) -> Value {
    shared("rooms", name)
}

/// All events and what they look like.
pub(super) fn catalog() -> Catalog {
    let mut events = from_client();
    events.extend(messages());
    events.extend(conversations());
    Catalog {
        summary: "People who are present in a room.",
        events,
        schemas: schemas(),
    }
}

fn from_client() -> Vec<Entry> {
    let username = described(
        nullable(text()),
        "What somebody without an account wants to be called: 3 to 32 of A-Z a-z 0-9 _ . -, and no account's name.",
    );
    vec![
        Entry::from_client(
            "chat.addUser",
            "Enters a room. Where rooms are made by entering them, an unknown slug makes one.",
            object([("roomId", room_id())], [("username", username)]),
        ),
        Entry::from_client(
            "chat.removeUser",
            "Leaves a room.",
            object([("roomId", room_id())], []),
        ),
        Entry::from_client(
            "chat.sendMessage",
            "Says something in a room that the socket has entered.",
            object(
                [("roomId", room_id()), ("content", content())],
                [("tempId", temp_id())],
            ),
        )
        .answered(success([("messageId", message_id())], [("tempId", text())])),
    ]
}

fn messages() -> Vec<Entry> {
    vec![
        Entry::to_client(
            "message",
            "Somebody said something.",
            object(
                message_fields("CHAT"),
                [
                    ("editedAt", moment()),
                    ("deletedAt", moment()),
                    ("tempId", own_temp_id()),
                ],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "userStatus",
            "Somebody is present who was not, or no more: at a user's first socket in the room, and its last. \
             Whoever was away is not told again.",
            object(
                [
                    ("type", words(["JOIN", "LEAVE"])),
                    ("roomId", room_id()),
                    ("userId", uuid()),
                    ("username", text()),
                    ("activeUsers", described(count(), "How many are present.")),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "chat.messageUpdated",
            "A message has another content.",
            object(
                message_fields("EDIT"),
                [("editedAt", moment()), ("deletedAt", moment())],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat.messageDeleted",
            "A message was taken back.",
            object(
                [
                    ("id", message_id()),
                    ("type", json!({ "const": "DELETE" })),
                    ("roomId", room_id()),
                    ("deletedBy", uuid()),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat.messagesRead",
            "A member has read everything up to a message.",
            object(
                [
                    ("roomId", room_id()),
                    ("userId", uuid()),
                    (
                        "messageId",
                        described(nullable(message_id()), "Null where all was read."),
                    ),
                    ("timestamp", moment()),
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
                [
                    ("code", error_code()),
                    ("message", text()),
                    ("event", text()),
                ],
                [retry_after()],
            ),
        ),
    ]
}

fn conversations() -> Vec<Entry> {
    let [name, description, max_users, updated_by] = room_fields();
    vec![
        Entry::to_client(
            "chat.typing",
            "Somebody else types, or types no more.",
            object(
                [
                    ("roomId", room_id()),
                    ("userId", uuid()),
                    ("username", text()),
                    ("isTyping", truth()),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .addition(),
        Entry::to_client(
            "chat.conversationCreated",
            "The user is a member of a conversation now.",
            object(
                [
                    ("roomId", uuid()),
                    ("kind", words(["direct", "group", "room"])),
                    ("name", nullable(text())),
                    ("participants", list(&own("Participant"))),
                    ("createdAt", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat.participantsAdded",
            "A group has more members.",
            object(
                [
                    ("roomId", room_id()),
                    ("participants", list(&own("Participant"))),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat.participantRemoved",
            "A member was taken out, or left: then both are the same.",
            object(
                [
                    ("roomId", room_id()),
                    ("userId", uuid()),
                    ("removedBy", uuid()),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat.roomUpdated",
            "A room is called, described or limited otherwise.",
            object(
                [
                    ("roomId", room_id()),
                    name,
                    description,
                    max_users,
                    updated_by,
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat.roomDeleted",
            "A room has ended.",
            object(
                [
                    ("roomId", room_id()),
                    ("deletedBy", uuid()),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
    ]
}

/// What a message of this type always has.
fn message_fields(kind: &str) -> [Field; 7] {
    [
        ("id", message_id()),
        ("type", json!({ "const": kind })),
        ("roomId", room_id()),
        ("content", described(text(), "Empty once it is deleted.")),
        ("sender", described(text(), "A username.")),
        ("senderId", uuid()),
        ("timestamp", described(moment(), "When it was said.")),
    ]
}

fn schemas() -> Vec<(&'static str, Value)> {
    let participant = object(
        [
            ("userId", uuid()),
            ("username", text()),
            ("role", words(["owner", "admin", "member"])),
        ],
        [],
    );
    vec![("Participant", participant)]
}
