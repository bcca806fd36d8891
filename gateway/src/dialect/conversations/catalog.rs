//! This dialect's events, for those who write clients.

use serde_json::{Value, json};

use crate::dialect::catalog::{
    Catalog, Entry, content, count, described, error_code, list, message_id, moment, nullable,
    object, own_temp_id, retry_after, room_fields, shared, success, temp_id, text, truth, uuid,
    words,
};

fn own(name: &str) -> Value {
    shared("conversations", name)
}

/// All events and what they look like.
pub(super) fn catalog() -> Catalog {
    let mut events = from_client();
    events.extend(messages());
    events.extend(conversations());
    events.extend(contacts());
    Catalog {
        summary: "Conversations with members, who need not have joined to send.",
        events,
        schemas: schemas(),
    }
}

fn from_client() -> Vec<Entry> {
    let conversation_id = || ("conversationId", uuid());
    let of_conversation = || object([conversation_id()], []);
    let of_message = || object([conversation_id(), ("messageId", message_id())], []);
    vec![
        Entry::from_client(
            "createConversation",
            "Makes a conversation. The direct one of two users exists once, and is found.",
            object(
                [(
                    "participantIds",
                    json!({ "type": "array", "items": uuid(), "minItems": 1, "maxItems": 256 }),
                )],
                [
                    (
                        "type",
                        described(
                            json!({ "type": ["string", "null"], "enum": ["direct", "group", null] }),
                            "Without it: direct with one other and no name, else group.",
                        ),
                    ),
                    ("name", nullable(text())),
                ],
            ),
        )
        .answered(success([("conversation", own("Conversation"))], [])),
        Entry::from_client(
            "joinRoom",
            "Listens to a conversation's live events.",
            of_conversation(),
        ),
        Entry::from_client("leaveRoom", "Listens no more.", of_conversation()),
        Entry::from_client(
            "sendMessage",
            "Says something in a conversation, joined or not.",
            object(
                [conversation_id(), ("content", content())],
                [
                    (
                        "type",
                        described(
                            nullable(json!({ "type": "string", "pattern": "^[a-z0-9_-]{1,32}$" })),
                            "What kind of content; without it, `text`.",
                        ),
                    ),
                    ("tempId", temp_id()),
                    ("replyTo", nullable(message_id())),
                ],
            ),
        )
        .answered(success(
            [("messageId", message_id())],
            [("tempId", text())],
        )),
        Entry::from_client(
            "editMessage",
            "Puts one's own message in other words.",
            object(
                [
                    conversation_id(),
                    ("messageId", message_id()),
                    ("content", content()),
                ],
                [],
            ),
        ),
        Entry::from_client(
            "deleteMessage",
            "Takes a message back: one's own, or anybody's for owner and admins.",
            of_message(),
        ),
        Entry::from_client(
            "markAsRead",
            "Everything up to this message is read.",
            of_message(),
        ),
        Entry::from_client(
            "markConversationAsRead",
            "Everything is read.",
            of_conversation(),
        ),
        Entry::from_client(
            "typing",
            "The user types. To be repeated while it does: without a word for 5 s it does no more.",
            of_conversation(),
        ),
        Entry::from_client(
            "stopTyping",
            "The user types no more.",
            of_conversation(),
        ),
        Entry::bare(
            "getOnlineUsers",
            "Asks who is online of those the user shares a conversation with.",
        )
        .answered(success([("onlineUsers", list(&uuid()))], [])),
    ]
}

fn messages() -> Vec<Entry> {
    let of_message = || {
        object(
            [("message", own("Message")), ("conversationId", uuid())],
            [],
        )
    };
    vec![
        Entry::to_client("newMessage", "Somebody said something.", of_message()).recoverable(),
        Entry::to_client(
            "messageSent",
            "The socket's own message is stored.",
            object(
                [
                    ("messageId", message_id()),
                    ("conversationId", uuid()),
                    ("createdAt", moment()),
                ],
                [("tempId", own_temp_id())],
            ),
        ),
        Entry::to_client(
            "messageUpdated",
            "A message has another content.",
            of_message(),
        )
        .recoverable(),
        Entry::to_client(
            "messageDeleted",
            "A message was taken back.",
            object(
                [
                    ("messageId", message_id()),
                    ("conversationId", uuid()),
                    ("deletedBy", uuid()),
                    ("deletedAt", moment()),
                ],
                [],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "messageRead",
            "A member has read everything up to a message.",
            object(
                [
                    ("messageId", message_id()),
                    ("conversationId", uuid()),
                    ("readBy", uuid()),
                    ("readAt", moment()),
                ],
                [],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "conversationRead",
            "A member has read everything.",
            object(
                [
                    ("conversationId", uuid()),
                    ("readBy", uuid()),
                    ("readAt", moment()),
                ],
                [],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "userTyping",
            "Somebody else has begun to type.",
            object(
                [
                    ("userId", uuid()),
                    ("conversationId", uuid()),
                    ("username", text()),
                ],
                [],
            ),
        ),
        Entry::to_client(
            "userStoppedTyping",
            "Somebody types no more.",
            object([("userId", uuid()), ("conversationId", uuid())], []),
        ),
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
    let conversation_id = || ("conversationId", uuid());
    vec![
        Entry::to_client(
            "conversationCreated",
            "The user is a member of a conversation now.",
            own("Conversation"),
        )
        .recoverable(),
        Entry::to_client(
            "unreadCount",
            "How much the user has not read in a conversation that the socket has not joined: at once when it changes, then at most once a second.",
            object(
                [
                    conversation_id(),
                    ("unreadCount", count()),
                    ("lastMessage", nullable(own("Message"))),
                ],
                [],
            ),
        ),
        Entry::to_client(
            "participantsAdded",
            "A group has more members.",
            object(
                [
                    conversation_id(),
                    ("participants", list(&own("Participant"))),
                ],
                [],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "participantRemoved",
            "A member was taken out, or left: then both are the same.",
            object(
                [conversation_id(), ("userId", uuid()), ("removedBy", uuid())],
                [],
            ),
        )
        .recoverable(),
        Entry::to_client(
            "roomUpdated",
            "A room is called, described or limited otherwise.",
            object(
                [conversation_id(), name, description, max_users, updated_by],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "roomDeleted",
            "A room has ended.",
            object([conversation_id(), ("deletedBy", uuid())], []),
        )
        .recoverable()
        .addition(),
    ]
}

fn contacts() -> Vec<Entry> {
    vec![
        Entry::to_client(
            "onlineUsers",
            "Who is online of those the user shares a conversation with. Also said when the socket comes, and after a loss.",
            list(&uuid()),
        ),
        Entry::to_client(
            "userStatusChanged",
            "One of those came online, or went.",
            object(
                [
                    ("userId", uuid()),
                    ("status", words(["online", "offline"])),
                    ("timestamp", moment()),
                ],
                [],
            ),
        ),
    ]
}

fn schemas() -> Vec<(&'static str, Value)> {
    let sender = object(
        [("_id", uuid()), ("name", text()), ("username", text())],
        [],
    );
    let message = object(
        [
            ("_id", message_id()),
            ("conversationId", uuid()),
            ("sender", own("Sender")),
            ("content", described(text(), "Empty once it is deleted.")),
            ("type", text()),
            ("status", words(["sent", "delivered", "read"])),
            (
                "seq",
                described(count(), "Its place in the conversation's order of changes."),
            ),
            ("createdAt", moment()),
            ("updatedAt", moment()),
            ("isEdited", truth()),
            ("isDeleted", truth()),
            ("replyTo", nullable(message_id())),
        ],
        [("tempId", own_temp_id())],
    );
    let participant = object(
        [
            ("_id", uuid()),
            ("name", text()),
            ("username", text()),
            ("isOnline", truth()),
            ("role", words(["owner", "admin", "member"])),
        ],
        [],
    );
    let conversation = object(
        [
            ("_id", uuid()),
            ("type", words(["direct", "group", "room"])),
            ("name", nullable(text())),
            ("participants", list(&own("Participant"))),
            ("lastMessage", nullable(own("Message"))),
            ("unreadCount", count()),
            ("createdAt", moment()),
            ("updatedAt", moment()),
        ],
        [],
    );
    vec![
        ("Sender", sender),
        ("Message", message),
        ("Participant", participant),
        ("Conversation", conversation),
    ]
}
