//! Server → client: events, confirmations and refusals to event names and payloads.

use bytes::Bytes;
use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::content::TempId;
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use super::shape::{self, ConversationJson, MessageJson, ParticipantJson};
use crate::dialect::{Audience, Confirmation, Frames, Namespace, Scene, Shown, ack};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfMessage<'a> {
    message: MessageJson<'a>,
    conversation_id: ConversationId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageDeleted {
    #[serde(serialize_with = "shape::as_string")]
    message_id: MessageId,
    conversation_id: ConversationId,
    deleted_by: UserId,
    deleted_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageRead {
    #[serde(serialize_with = "shape::as_string")]
    message_id: MessageId,
    conversation_id: ConversationId,
    read_by: UserId,
    read_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversationRead {
    conversation_id: ConversationId,
    read_by: UserId,
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
struct UserTyping<'a> {
    user_id: UserId,
    conversation_id: ConversationId,
    username: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserStoppedTyping {
    user_id: UserId,
    conversation_id: ConversationId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageSent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_id: Option<&'a str>,
    #[serde(serialize_with = "shape::as_string")]
    message_id: MessageId,
    conversation_id: ConversationId,
    created_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnlineUsers<'a> {
    online_users: &'a [UserId],
}

#[derive(Serialize)]
struct Made<'a> {
    conversation: ConversationJson<'a>,
}

#[derive(Serialize)]
struct History<'a> {
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
    for shown in events {
        write(&mut frames, scene.subject.id, *shown, audience);
    }
    frames.finish()
}

fn write(frames: &mut Frames, conversation: ConversationId, shown: Shown<'_>, audience: Audience) {
    let Shown { event, offset } = shown;
    match &event.fact {
        // Its members learn of it on their own channels; a hint has no words. Who is present in a public room is not shown: the people
        // of this dialect's conversations are their members.
        Fact::ConversationCreated { .. }
        | Fact::Entered { .. }
        | Fact::Exited { .. }
        | Fact::Advanced => {}
        Fact::Typing { user, typing, .. } => write_typing(frames, conversation, user, *typing),
        Fact::RoomUpdated {
            by,
            name,
            description,
            max_users,
        } => frames.shown(
            "roomUpdated",
            &RoomUpdated {
                conversation_id: conversation,
                name,
                description: description.as_deref(),
                max_users: *max_users,
                updated_by: *by,
            },
            offset,
        ),
        Fact::RoomDeleted { by } => frames.shown(
            "roomDeleted",
            &RoomDeleted {
                conversation_id: conversation,
                deleted_by: *by,
            },
            offset,
        ),
        Fact::MessageStored { message, temp_id } => {
            let own = audience == Audience::Sender(message.sender.id);
            let temp_id = temp_id.as_deref().filter(|_| own);
            let message = MessageJson::new(message, temp_id);
            frames.shown(
                "newMessage",
                &OfMessage {
                    message,
                    conversation_id: conversation,
                },
                offset,
            );
        }
        Fact::MessageEdited { message } => {
            let message = MessageJson::new(message, None);
            frames.shown(
                "messageUpdated",
                &OfMessage {
                    message,
                    conversation_id: conversation,
                },
                offset,
            );
        }
        Fact::MessageDeleted { message, by } => frames.shown(
            "messageDeleted",
            &MessageDeleted {
                message_id: *message,
                conversation_id: conversation,
                deleted_by: *by,
                deleted_at: event.at,
            },
            offset,
        ),
        Fact::MessagesRead {
            user,
            message,
            read_count: _,
        } => write_read(frames, conversation, shown, *user, *message),
        Fact::MembersAdded { members } => {
            let participants = members.iter().map(ParticipantJson::new).collect();
            frames.shown(
                "participantsAdded",
                &ParticipantsAdded {
                    conversation_id: conversation,
                    participants,
                },
                offset,
            );
        }
        Fact::MemberRemoved { user, by } => frames.shown(
            "participantRemoved",
            &ParticipantRemoved {
                conversation_id: conversation,
                user_id: *user,
                removed_by: *by,
            },
            offset,
        ),
    }
}

fn write_typing(
    frames: &mut Frames,
    conversation_id: ConversationId,
    user: &Profile,
    typing: bool,
) {
    let (user_id, username) = (user.id, &*user.username);
    if typing {
        frames.event(
            "userTyping",
            &UserTyping {
                user_id,
                conversation_id,
                username,
            },
        );
    } else {
        frames.event(
            "userStoppedTyping",
            &UserStoppedTyping {
                user_id,
                conversation_id,
            },
        );
    }
}

/// A member's read marker has two events: for a message and all before it, and for the whole conversation.
fn write_read(
    frames: &mut Frames,
    conversation_id: ConversationId,
    Shown { event, offset }: Shown<'_>,
    read_by: UserId,
    message: Option<MessageId>,
) {
    let read_at = event.at;
    match message {
        Some(message_id) => frames.shown(
            "messageRead",
            &MessageRead {
                message_id,
                conversation_id,
                read_by,
                read_at,
            },
            offset,
        ),
        None => frames.shown(
            "conversationRead",
            &ConversationRead {
                conversation_id,
                read_by,
                read_at,
            },
            offset,
        ),
    }
}

/// A conversation that the user has become a member of.
pub(super) fn joined(namespace: Namespace, view: &ConversationView, offset: Option<&str>) -> Bytes {
    let mut frames = Frames::new(namespace);
    frames.shown("conversationCreated", &ConversationJson::new(view), offset);
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
        | Confirmation::Entered { .. }
        | Confirmation::Left { .. }
        | Confirmation::LoggedIn(_)
        | Confirmation::LoggedOut => ack::done(&mut frames, ack_id),
        Confirmation::Online(online_users) => {
            ack::success(&mut frames, ack_id, || OnlineUsers { online_users });
            frames.event("onlineUsers", online_users);
        }
        Confirmation::Stored {
            conversation,
            message,
            temp_id,
            at,
        } => {
            ack::success(&mut frames, ack_id, || ack::Stored::new(message, temp_id));
            frames.event(
                "messageSent",
                &MessageSent {
                    temp_id: temp_id.map(TempId::as_str),
                    message_id: message,
                    conversation_id: conversation,
                    created_at: at,
                },
            );
        }
        Confirmation::Conversation(view) => ack::success(&mut frames, ack_id, || Made {
            conversation: ConversationJson::new(view),
        }),
        Confirmation::History { messages, .. } => ack::success(&mut frames, ack_id, || {
            let messages = messages.iter();
            History {
                messages: messages
                    .map(|message| MessageJson::new(message, None))
                    .collect(),
            }
        }),
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
