//! Server → client: events, confirmations and refusals to event names and payloads.

use bytes::Bytes;
use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::shape::{ConversationJson, MessageJson, ParticipantJson, Receiver};
use crate::dialect::{Audience, Confirmation, Frames, Namespace, Scene, Shown, ack};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageDeleted {
    id: MessageId,
    conversation_id: ConversationId,
    deleted_by: UserId,
    deleted_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessagesRead {
    reader_id: UserId,
    other_user_id: Uuid,
    conversation_id: ConversationId,
    message_id: Option<MessageId>,
    read_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantsAdded<'a> {
    conversation_id: ConversationId,
    participants: Vec<ParticipantJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantRemoved {
    conversation_id: ConversationId,
    user_id: UserId,
    removed_by: UserId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomUpdated<'a> {
    conversation_id: ConversationId,
    name: &'a str,
    description: Option<&'a str>,
    max_users: Option<i32>,
    updated_by: UserId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomDeleted {
    conversation_id: ConversationId,
    deleted_by: UserId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserTyping {
    user_id: UserId,
    conversation_id: ConversationId,
    is_typing: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    message_id: MessageId,
}

#[derive(Serialize)]
struct Made<'a> {
    conversation: ConversationJson<'a>,
}

#[derive(Serialize)]
struct History<'a> {
    messages: &'a [MessageJson<'a>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorEvent<'a> {
    message: &'a str,
    code: ErrorCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// Events of a conversation for one audience.
pub(super) fn events(scene: Scene<'_>, events: &[Shown<'_>], audience: Audience) -> Bytes {
    let mut frames = Frames::new(scene.namespace);
    for shown in events {
        write(&mut frames, scene, *shown, audience);
    }
    frames.finish()
}

fn write(frames: &mut Frames, scene: Scene<'_>, shown: Shown<'_>, audience: Audience) {
    let Shown { event, offset } = shown;
    let subject = scene.subject;
    let conversation_id = subject.id;
    match &event.fact {
        // Its members learn of it on their own channels; a hint has no words. Who is present in a public room is not shown: nobody
        // here has asked to be among them.
        Fact::ConversationCreated { .. }
        | Fact::Entered { .. }
        | Fact::Exited { .. }
        | Fact::Advanced => {}
        Fact::Typing { user, typing, .. } => frames.event(
            "user_typing",
            &UserTyping {
                user_id: user.id,
                conversation_id,
                is_typing: *typing,
            },
        ),
        Fact::MessageStored { message, temp_id } => {
            let own = audience == Audience::Sender(message.sender.id);
            let temp_id = temp_id.as_deref().filter(|_| own);
            let message = MessageJson::new(message, subject, temp_id);
            frames.shown("receive_message", &message, offset);
        }
        Fact::MessageEdited { message } => {
            let message = MessageJson::new(message, subject, None);
            frames.shown("message_updated", &message, offset);
        }
        Fact::MessageDeleted { message, by } => frames.shown(
            "message_deleted",
            &MessageDeleted {
                id: *message,
                conversation_id,
                deleted_by: *by,
                deleted_at: event.at,
            },
            offset,
        ),
        Fact::MessagesRead {
            user,
            message,
            read_count: _,
        } => frames.shown(
            "messages_read",
            &MessagesRead {
                reader_id: *user,
                other_user_id: Receiver::of(subject, *user).id,
                conversation_id,
                message_id: *message,
                read_at: event.at,
            },
            offset,
        ),
        Fact::MembersAdded { members } => frames.shown(
            "participants_added",
            &ParticipantsAdded {
                conversation_id,
                participants: members.iter().map(ParticipantJson::from).collect(),
            },
            offset,
        ),
        Fact::MemberRemoved { user, by } => frames.shown(
            "participant_removed",
            &ParticipantRemoved {
                conversation_id,
                user_id: *user,
                removed_by: *by,
            },
            offset,
        ),
        Fact::RoomUpdated {
            by,
            name,
            description,
            max_users,
        } => frames.shown(
            "room_updated",
            &RoomUpdated {
                conversation_id,
                name,
                description: description.as_deref(),
                max_users: *max_users,
                updated_by: *by,
            },
            offset,
        ),
        Fact::RoomDeleted { by } => frames.shown(
            "room_deleted",
            &RoomDeleted {
                conversation_id,
                deleted_by: *by,
            },
            offset,
        ),
    }
}

/// A conversation that the user has become a member of.
pub(super) fn joined(namespace: Namespace, view: &ConversationView, offset: Option<&str>) -> Bytes {
    let mut frames = Frames::new(namespace);
    let conversation = ConversationJson::from(view);
    frames.shown("conversation_created", &conversation, offset);
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
        Confirmation::Done
        | Confirmation::Online(_)
        | Confirmation::Entered { .. }
        | Confirmation::Left { .. }
        | Confirmation::LoggedIn(_)
        | Confirmation::LoggedOut => ack::done(&mut frames, ack_id),
        Confirmation::Stored { message, .. } => ack::success(&mut frames, ack_id, || Sent {
            message_id: message,
        }),
        Confirmation::Conversation(view) => ack::success(&mut frames, ack_id, || Made {
            conversation: ConversationJson::from(view),
        }),
        Confirmation::History { subject, messages } => {
            let messages: Vec<_> = messages
                .iter()
                .map(|message| MessageJson::new(message, subject, None))
                .collect();
            let messages = messages.as_slice();
            ack::success(&mut frames, ack_id, || History { messages });
            frames.event("messages_list", messages);
        }
    }
    frames.finish()
}

/// The refusal of an event.
pub(super) fn rejected(namespace: Namespace, ack_id: Option<u64>, rejection: &Rejection) -> Bytes {
    let mut frames = Frames::new(namespace);
    ack::failure(&mut frames, ack_id, rejection);
    frames.event(
        "error",
        &ErrorEvent {
            message: &rejection.message,
            code: rejection.code,
            retry_after_ms: rejection.retry_after_ms,
        },
    );
    frames.finish()
}
