//! Server → client: events, confirmations and refusals to event names and payloads.

use bytes::Bytes;
use confab_shared::id::{MessageId, UserId};
use confab_shared::model::conversation::{ConversationKind, ConversationView};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use super::shape::{ChatRoomJson, MessageJson, UserJson};
use crate::dialect::numbers::{as_string, as_string_or_null};
use crate::dialect::{
    Audience, Called, Confirmation, ContactStatus, ContactsOnline, Frames, Namespace, Scene, Shown,
    ack,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageDeleted<'a> {
    #[serde(serialize_with = "as_string")]
    id: MessageId,
    room_id: &'a str,
    deleted_by: UserId,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessagesRead<'a> {
    room_id: &'a str,
    user_id: UserId,
    #[serde(serialize_with = "as_string_or_null")]
    message_id: Option<MessageId>,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantsAdded<'a> {
    room_id: &'a str,
    participants: Vec<UserJson<'a>>,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantRemoved<'a> {
    room_id: &'a str,
    user_id: UserId,
    removed_by: UserId,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomUpdated<'a> {
    room_id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    max_users: Option<i32>,
    updated_by: UserId,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomDeleted<'a> {
    room_id: &'a str,
    deleted_by: UserId,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypingStatus<'a> {
    user_id: UserId,
    room_id: &'a str,
    is_typing: bool,
}

#[derive(Serialize)]
struct Notification<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'static str,
    data: Option<UserJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnlineStatus {
    user_id: UserId,
    is_online: bool,
    last_seen: Timestamp,
    user_type: &'static str,
}

#[derive(Serialize)]
struct InRoom<'a> {
    room: &'a ChatRoomJson<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutOfRoom<'a> {
    room_id: &'a str,
}

#[derive(Serialize)]
struct History<'a> {
    messages: Vec<MessageJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorEvent<'a> {
    message: &'a str,
    code: ErrorCode,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// Events of a conversation for one audience.
pub(super) fn events(scene: Scene<'_>, events: &[Shown<'_>], audience: Audience) -> Bytes {
    let mut frames = Frames::new(scene.namespace);
    let room_id = scene.room_id();
    for shown in events {
        write(&mut frames, &room_id, *shown, audience);
    }
    frames.finish()
}

fn write(frames: &mut Frames, room_id: &str, shown: Shown<'_>, audience: Audience) {
    let Shown { event, offset } = shown;
    let timestamp = event.at;
    match &event.fact {
        // Its members learn of it on their own channels; a hint has no words. Who comes and goes would fill the lobby.
        Fact::ConversationCreated { .. }
        | Fact::Entered { .. }
        | Fact::Exited { .. }
        | Fact::Advanced => {}
        Fact::Typing { user, typing, .. } => frames.event(
            "status:typing",
            &TypingStatus {
                user_id: user.id,
                room_id,
                is_typing: *typing,
            },
        ),
        Fact::MessageStored { message, temp_id } => {
            let own = audience == Audience::Sender(message.sender.id);
            let temp_id = temp_id.as_deref().filter(|_| own);
            let message = MessageJson::new(room_id, message, temp_id);
            frames.shown("chat:message", &message, offset);
        }
        Fact::MessageEdited { message } => {
            let message = MessageJson::new(room_id, message, None);
            frames.shown("chat:message:updated", &message, offset);
        }
        Fact::MessageDeleted { message, by } => frames.shown(
            "chat:message:deleted",
            &MessageDeleted {
                id: *message,
                room_id,
                deleted_by: *by,
                timestamp,
            },
            offset,
        ),
        Fact::MessagesRead {
            user,
            message,
            read_count: _,
        } => frames.shown(
            "chat:message:read",
            &MessagesRead {
                room_id,
                user_id: *user,
                message_id: *message,
                timestamp,
            },
            offset,
        ),
        Fact::MembersAdded { members } => frames.shown(
            "chat:room:participants:added",
            &ParticipantsAdded {
                room_id,
                participants: members.iter().map(UserJson::from).collect(),
                timestamp,
            },
            offset,
        ),
        Fact::MemberRemoved { user, by } => frames.shown(
            "chat:room:participants:removed",
            &ParticipantRemoved {
                room_id,
                user_id: *user,
                removed_by: *by,
                timestamp,
            },
            offset,
        ),
        Fact::RoomUpdated {
            by,
            name,
            description,
            max_users,
        } => frames.shown(
            "chat:room:updated",
            &RoomUpdated {
                room_id,
                name,
                description: description.as_deref(),
                max_users: *max_users,
                updated_by: *by,
                timestamp,
            },
            offset,
        ),
        Fact::RoomDeleted { by } => frames.shown(
            "chat:room:deleted",
            &RoomDeleted {
                room_id,
                deleted_by: *by,
                timestamp,
            },
            offset,
        ),
    }
}

/// A conversation that the user has become a member of.
pub(super) fn joined(namespace: Namespace, view: &ConversationView, offset: Option<&str>) -> Bytes {
    let mut frames = Frames::new(namespace);
    let room = ChatRoomJson::new(view, Called::ById);
    frames.shown("chat:room:created", &room, offset);
    frames.finish()
}

/// Who of a user's contacts is online, one by one; and who is not, if they may have been taken for it.
pub(super) fn contacts(namespace: Namespace, contacts: ContactsOnline<'_>) -> Bytes {
    let mut frames = Frames::new(namespace);
    for user in contacts.online {
        write_status(&mut frames, *user, true, contacts.at);
    }
    for (user, last_seen) in contacts.absent {
        write_status(&mut frames, *user, false, *last_seen);
    }
    frames.finish()
}

/// A contact's status has changed.
pub(super) fn contact(namespace: Namespace, status: ContactStatus) -> Bytes {
    let mut frames = Frames::new(namespace);
    write_status(&mut frames, status.user, status.is_online, status.at);
    frames.finish()
}

fn write_status(frames: &mut Frames, user_id: UserId, is_online: bool, last_seen: Timestamp) {
    let name = if is_online {
        "status:online"
    } else {
        "status:offline"
    };
    frames.event(
        name,
        &OnlineStatus {
            user_id,
            is_online,
            last_seen,
            user_type: "user",
        },
    );
}

/// The confirmation of what the socket asked for.
pub(super) fn confirmed(
    namespace: Namespace,
    ack_id: Option<u64>,
    confirmation: Confirmation<'_>,
) -> Bytes {
    let mut frames = Frames::new(namespace);
    match confirmation {
        Confirmation::Done | Confirmation::Online(_) => ack::done(&mut frames, ack_id),
        Confirmation::Stored {
            message, temp_id, ..
        } => ack::success(&mut frames, ack_id, || ack::Stored::new(message, temp_id)),
        Confirmation::Conversation(view) => {
            let room = ChatRoomJson::new(view, Called::ById);
            ack::success(&mut frames, ack_id, || InRoom { room: &room });
            match view.kind {
                ConversationKind::Room => frames.event("chat:room:created", &room),
                // Its members are told on their own channels, this one among them.
                ConversationKind::Direct | ConversationKind::Group => {}
            }
        }
        Confirmation::Entered { view, called } => {
            let room = ChatRoomJson::new(view, called);
            ack::success(&mut frames, ack_id, || InRoom { room: &room });
            frames.event("chat:room:joined", &room);
        }
        Confirmation::Left { room } => {
            let room_id = room.to_string();
            ack::success(&mut frames, ack_id, || OutOfRoom { room_id: &room_id });
            frames.text_event("chat:room:left", &room_id);
        }
        Confirmation::History { subject, messages } => {
            ack::success(&mut frames, ack_id, || {
                let room_id = subject.id.to_string();
                let messages = messages.iter();
                History {
                    messages: messages
                        .map(|message| MessageJson::new(room_id.clone(), message, None))
                        .collect(),
                }
            });
        }
        Confirmation::LoggedIn(profile) => {
            ack::done(&mut frames, ack_id);
            notify(&mut frames, "logged in", Some(profile.into()));
        }
        Confirmation::LoggedOut => {
            ack::done(&mut frames, ack_id);
            notify(&mut frames, "logged out", None);
        }
    }
    frames.finish()
}

fn notify(frames: &mut Frames, message: &'static str, data: Option<UserJson<'_>>) {
    let kind = "auth";
    let notification = Notification {
        kind,
        message,
        data,
    };
    frames.event("system:notification", &notification);
}

/// The refusal of an event.
pub(super) fn rejected(
    namespace: Namespace,
    ack_id: Option<u64>,
    event: &str,
    rejection: &Rejection,
) -> Bytes {
    let mut frames = Frames::new(namespace);
    ack::failure(&mut frames, ack_id, rejection);
    frames.event(
        "system:error",
        &ErrorEvent {
            message: &rejection.message,
            code: rejection.code,
            event,
            retry_after_ms: rejection.retry_after_ms,
        },
    );
    frames.finish()
}
