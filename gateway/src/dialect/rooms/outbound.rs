//! Server → client: events, confirmations and refusals to event names and payloads.

use bytes::Bytes;
use confab_shared::id::{MessageId, UserId};
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use super::shape::{
    ConversationJson, MessageJson, MessageKind, ParticipantJson, StatusJson, StatusKind,
};
use crate::dialect::numbers::{as_string, as_string_or_null};
use crate::dialect::{Audience, Confirmation, Frames, Namespace, Scene, Shown, ack};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageDeleted<'a> {
    #[serde(serialize_with = "as_string")]
    id: MessageId,
    #[serde(rename = "type")]
    kind: MessageKind,
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
    participants: Vec<ParticipantJson<'a>>,
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
    room_id: &'a str,
    user_id: UserId,
    username: &'a str,
    is_typing: bool,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History<'a> {
    room_id: &'a str,
    messages: Vec<MessageJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorEvent<'a> {
    code: ErrorCode,
    message: &'a str,
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
        // Its members learn of it on their own channels; a hint has no words.
        Fact::ConversationCreated { .. } | Fact::Advanced => {}
        Fact::Entered { user, present } => {
            let status = StatusJson::new(StatusKind::Join, room_id, user, *present, timestamp);
            frames.shown("userStatus", &status, offset);
        }
        Fact::Exited { user, present } => {
            let status = StatusJson::new(StatusKind::Leave, room_id, user, *present, timestamp);
            frames.shown("userStatus", &status, offset);
        }
        Fact::Typing { user, typing, .. } => {
            let status = TypingStatus {
                room_id,
                user_id: user.id,
                username: &user.username,
                is_typing: *typing,
                timestamp,
            };
            frames.event("chat.typing", &status);
        }
        Fact::MessageStored { message, temp_id } => {
            let own = audience == Audience::Sender(message.sender.id);
            let temp_id = temp_id.as_deref().filter(|_| own);
            let message = MessageJson::new(MessageKind::Chat, room_id, message, temp_id);
            frames.shown("message", &message, offset);
        }
        Fact::MessageEdited { message } => {
            let message = MessageJson::new(MessageKind::Edit, room_id, message, None);
            frames.shown("chat.messageUpdated", &message, offset);
        }
        Fact::MessageDeleted { message, by } => frames.shown(
            "chat.messageDeleted",
            &MessageDeleted {
                id: *message,
                kind: MessageKind::Delete,
                room_id,
                deleted_by: *by,
                timestamp,
            },
            offset,
        ),
        Fact::MessagesRead { user, message, .. } => {
            let read = MessagesRead {
                room_id,
                user_id: *user,
                message_id: *message,
                timestamp,
            };
            frames.shown("chat.messagesRead", &read, offset);
        }
        Fact::MembersAdded { members } => frames.shown(
            "chat.participantsAdded",
            &ParticipantsAdded {
                room_id,
                participants: members.iter().map(ParticipantJson::from).collect(),
                timestamp,
            },
            offset,
        ),
        Fact::MemberRemoved { user, by } => frames.shown(
            "chat.participantRemoved",
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
            "chat.roomUpdated",
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
            "chat.roomDeleted",
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
    let conversation = ConversationJson::from(view);
    frames.shown("chat.conversationCreated", &conversation, offset);
    frames.finish()
}

/// The confirmation of what the socket asked for.
pub(super) fn confirmed(
    namespace: Namespace,
    ack_id: Option<u64>,
    confirmation: Confirmation<'_>,
) -> Bytes {
    let mut frames = Frames::new(namespace);
    match confirmation {
        // Who enters or leaves is told so with everybody else, by `userStatus`.
        Confirmation::Done
        | Confirmation::Online(_)
        | Confirmation::Entered { .. }
        | Confirmation::Left { .. }
        | Confirmation::LoggedIn(_)
        | Confirmation::LoggedOut => ack::done(&mut frames, ack_id),
        Confirmation::Stored {
            message, temp_id, ..
        } => ack::success(&mut frames, ack_id, || ack::Stored::new(message, temp_id)),
        Confirmation::Conversation(view) => {
            ack::success(&mut frames, ack_id, || ConversationJson::from(view));
        }
        Confirmation::History { subject, messages } => {
            let room_id = subject.id.to_string();
            ack::success(&mut frames, ack_id, || {
                let messages = messages.iter();
                History {
                    room_id: &room_id,
                    messages: messages
                        .map(|message| MessageJson::new(MessageKind::Chat, &room_id, message, None))
                        .collect(),
                }
            });
        }
    }
    frames.finish()
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
        "error",
        &ErrorEvent {
            code: rejection.code,
            message: &rejection.message,
            event,
            retry_after_ms: rejection.retry_after_ms,
        },
    );
    frames.finish()
}
