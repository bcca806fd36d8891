//! This dialect's events, for those who write clients.

use serde_json::{Value, json};

use crate::dialect::catalog::{
    Catalog, Entry, content, described, error_code, list, message_id, moment, nullable, object,
    own_temp_id, retry_after, room_fields, room_id, shared, success, temp_id, text, truth, uuid,
    words,
};

fn own(name: &str) -> Value {
    shared("namespaced", name)
}

/// All events and what they look like.
pub(super) fn catalog() -> Catalog {
    let mut events = from_client();
    events.extend(about_the_socket());
    events.extend(messages());
    events.extend(rooms());
    events.extend(contacts());
    Catalog {
        summary: "Events whose names say what they are about; late logging in; a lobby.",
        events,
        schemas: schemas(),
    }
}

fn from_client() -> Vec<Entry> {
    let participants = described(
        nullable(list(&uuid())),
        "Users, at most 256. With them it is a group that only they may enter, without them a room for everybody.",
    );
    let lobby = described(
        nullable(text()),
        "A conversation's id, or a room's slug; without it, the lobby.",
    );
    vec![
        Entry::from_client(
            "auth:login",
            "Makes the socket a user's. It is in the lobby from then on.",
            object(
                [("token", text())],
                [("userType", described(json!({}), "Ignored."))],
            ),
        ),
        Entry::bare(
            "auth:logout",
            "Ends the socket. Its token stays good: `POST /auth/logout` revokes it.",
        ),
        Entry::from_client(
            "chat:message",
            "Says something in a room.",
            object(
                [("content", content())],
                [("roomId", lobby), ("tempId", temp_id())],
            ),
        )
        .answered(success([("messageId", message_id())], [("tempId", text())])),
        Entry::from_client(
            "chat:room:create",
            "Makes a room for everybody, or a group.",
            object([("name", text())], [("participants", participants)]),
        )
        .answered(success([("room", own("ChatRoom"))], [])),
        Entry::from_client("chat:room:join", "Enters a room.", room_id())
            .answered(success([("room", own("ChatRoom"))], [])),
        Entry::from_client("chat:room:leave", "Leaves a room.", room_id())
            .answered(success([("roomId", room_id())], [])),
        Entry::from_client(
            "status:typing",
            "The user types, or types no more. To be repeated while it does: without a word for 5 s it does no more.",
            object([("roomId", room_id()), ("isTyping", truth())], []),
        ),
        Entry::from_client(
            "status:update",
            "Has the user seen as online, or as offline whatever they do, until it is said otherwise.",
            object([("isOnline", truth())], []),
        ),
    ]
}

fn about_the_socket() -> Vec<Entry> {
    vec![
        Entry::to_client(
            "system:notification",
            "The socket is a user's now, or about to be closed.",
            object(
                [
                    ("type", words(["auth"])),
                    ("message", text()),
                    (
                        "data",
                        described(nullable(own("User")), "Null at the socket's end."),
                    ),
                ],
                [],
            ),
        ),
        Entry::to_client(
            "system:error",
            "An event was refused.",
            object(
                [
                    ("message", text()),
                    ("code", error_code()),
                    ("event", text()),
                ],
                [retry_after()],
            ),
        ),
    ]
}

fn messages() -> Vec<Entry> {
    vec![
        Entry::to_client("chat:message", "Somebody said something.", own("Message")).recoverable(),
        Entry::to_client(
            "chat:message:updated",
            "A message has another content.",
            own("Message"),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat:message:deleted",
            "A message was taken back.",
            object(
                [
                    ("id", message_id()),
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
            "chat:message:read",
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
    ]
}

fn rooms() -> Vec<Entry> {
    let [name, description, max_users, updated_by] = room_fields();
    vec![
        Entry::to_client(
            "chat:room:created",
            "A group that the user is a member of now, or a room that the socket has made.",
            own("ChatRoom"),
        )
        .recoverable(),
        Entry::to_client(
            "status:typing",
            "Somebody else types, or types no more.",
            object(
                [
                    ("userId", uuid()),
                    ("roomId", room_id()),
                    ("isTyping", truth()),
                ],
                [],
            ),
        ),
        Entry::to_client(
            "chat:room:joined",
            "The socket is in a room; `participants` are those present, or a group's members.",
            own("ChatRoom"),
        ),
        Entry::to_client(
            "chat:room:left",
            "The socket is in a room no more. A second argument, null, is without meaning.",
            room_id(),
        ),
        Entry::to_client(
            "chat:room:participants:added",
            "A group has more members.",
            object(
                [
                    ("roomId", room_id()),
                    ("participants", list(&own("User"))),
                    ("timestamp", moment()),
                ],
                [],
            ),
        )
        .recoverable()
        .addition(),
        Entry::to_client(
            "chat:room:participants:removed",
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
            "chat:room:updated",
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
            "chat:room:deleted",
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

fn contacts() -> Vec<Entry> {
    vec![
        Entry::to_client(
            "status:online",
            "Somebody with whom the user shares a conversation is online. Also said of each who is, when the socket comes.",
            own("OnlineStatus"),
        ),
        Entry::to_client(
            "status:offline",
            "Somebody with whom the user shares a conversation is not online any more.",
            own("OnlineStatus"),
        ),
    ]
}

fn schemas() -> Vec<(&'static str, Value)> {
    let user = object(
        [
            ("userId", uuid()),
            ("userName", text()),
            (
                "role",
                described(words(["user", "admin", "guest"]), "The account's."),
            ),
        ],
        [],
    );
    let message = object(
        [
            ("id", message_id()),
            ("sender", own("User")),
            ("content", described(text(), "Empty once it is deleted.")),
            ("timestamp", described(moment(), "When it was said.")),
            ("roomId", room_id()),
        ],
        [
            ("editedAt", moment()),
            ("deletedAt", moment()),
            ("tempId", own_temp_id()),
        ],
    );
    let room = object(
        [
            (
                "id",
                described(
                    text(),
                    "What the socket calls it: its slug, if it entered by that.",
                ),
            ),
            (
                "name",
                described(
                    text(),
                    "Where there is none, the names of its first members.",
                ),
            ),
            ("participants", list(&own("User"))),
            ("createdAt", moment()),
        ],
        [("lastMessage", own("Message"))],
    );
    let online_status = object(
        [
            ("userId", uuid()),
            ("isOnline", truth()),
            ("lastSeen", moment()),
            ("userType", words(["user"])),
        ],
        [],
    );
    vec![
        ("User", user),
        ("Message", message),
        ("ChatRoom", room),
        ("OnlineStatus", online_status),
    ]
}
