//! The JSON objects of this dialect.
//!
//! Owns which fields there are and in what order; borrows all they contain. Must never know to what they are an answer.

use std::sync::Arc;

use confab_shared::id::{MessageId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant,
};
use confab_shared::model::message::{Message, MessageStatus};
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use super::rest::Id;
use crate::dialect::Badge;
use crate::dialect::numbers::{as_string, as_string_or_null};

/// What a body tells of.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Kind {
    /// Somebody said something.
    Chat,
    /// Somebody put it in other words.
    Edit,
    /// It was taken back.
    Delete,
    /// Somebody is present now.
    Join,
    /// Somebody is present no more.
    Leave,
    /// Somebody has read something.
    Read,
    /// There are more members.
    ParticipantsAdded,
    /// There is one member less.
    ParticipantRemoved,
    /// A room has another name, description or size.
    RoomUpdated,
    /// A room has ended.
    RoomDeleted,
}

/// What happened: the fields that a Spring client's class of messages has, and what there is more to say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// Always a string, as is the sender: clients show what they do not know, and would show the word null.
    pub(super) content: &'a str,
    /// Who did it; empty where no name is known.
    pub(super) sender: &'a str,
    pub(super) room_id: &'a str,
    pub(super) id: Id,
    pub(super) timestamp: Timestamp,
    #[serde(flatten)]
    pub(super) more: More<'a>,
}

/// What there is more to say.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum More<'a> {
    /// Of a message.
    Message {
        sender_id: UserId,
        #[serde(skip_serializing_if = "Option::is_none")]
        receiver: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        receiver_id: Option<UserId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        edited_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        deleted_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        temp_id: Option<&'a str>,
    },
    /// Of somebody's coming or going.
    Presence {
        sender_id: UserId,
        active_users: u64,
    },
    /// Of somebody's reading.
    Read {
        read_by: UserId,
        #[serde(serialize_with = "as_string_or_null")]
        message_id: Option<MessageId>,
    },
    /// Of members.
    Added {
        participants: Vec<ParticipantJson<'a>>,
    },
    /// Of a member.
    Removed { user_id: UserId, removed_by: UserId },
    /// Of a room's looks.
    Updated {
        name: &'a str,
        description: Option<&'a str>,
        max_users: Option<i32>,
        updated_by: UserId,
    },
    /// Of an end.
    Deleted { deleted_by: UserId },
}

impl<'a> More<'a> {
    /// What there is more to say of a message that went to `receiver`, with the client's own id for it if its sender is to see it.
    pub(super) fn of_message(
        message: &'a Message,
        receiver: Option<&'a Arc<Profile>>,
        temp_id: Option<&'a str>,
    ) -> Self {
        Self::Message {
            sender_id: message.sender.id,
            receiver: receiver.map(|receiver| &*receiver.username),
            receiver_id: receiver.map(|receiver| receiver.id),
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
            temp_id,
        }
    }
}

/// A member.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParticipantJson<'a> {
    user_id: UserId,
    username: &'a str,
    role: MemberRole,
}

impl<'a> From<&'a Participant> for ParticipantJson<'a> {
    fn from(Participant { profile, role, .. }: &'a Participant) -> Self {
        Self {
            user_id: profile.id,
            username: &profile.username,
            role: *role,
        }
    }
}

/// What a user comes into.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedJson<'a> {
    #[serde(rename = "type")]
    kind_of_body: &'static str,
    room_id: String,
    kind: ConversationKind,
    name: Option<&'a str>,
    participants: Vec<ParticipantJson<'a>>,
    timestamp: Timestamp,
    unread_count: i64,
    last_message: Option<LastMessageJson<'a>>,
}

impl<'a> From<&'a ConversationView> for CreatedJson<'a> {
    fn from(view: &'a ConversationView) -> Self {
        let participants = view.participants.iter();
        Self {
            kind_of_body: "CONVERSATION_CREATED",
            room_id: view.id.to_string(),
            kind: view.kind,
            name: view.name.as_deref(),
            participants: participants.map(ParticipantJson::from).collect(),
            timestamp: view.created_at,
            unread_count: view.unread_count,
            last_message: view.last_message.as_ref().map(LastMessageJson::new),
        }
    }
}

/// How much a user has not read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnreadJson<'a> {
    #[serde(rename = "type")]
    kind_of_body: &'static str,
    room_id: String,
    unread_count: i64,
    last_message: Option<LastMessageJson<'a>>,
    timestamp: Timestamp,
}

/// The newest message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastMessageJson<'a> {
    #[serde(serialize_with = "as_string")]
    id: MessageId,
    content: &'a str,
    sender: &'a str,
    sender_id: UserId,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

impl<'a> LastMessageJson<'a> {
    fn new(message: &'a Message) -> Self {
        Self {
            id: message.id,
            content: message.shown_content(),
            sender: &message.sender.username,
            sender_id: message.sender.id,
            timestamp: message.created_at,
            status: None,
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
        }
    }

    /// The same, where it is known how far it has come.
    fn with_status(self, status: MessageStatus) -> Self {
        let status = match status {
            MessageStatus::Sent => "sent",
            MessageStatus::Delivered => "delivered",
            MessageStatus::Read => "read",
        };
        Self {
            status: Some(status),
            ..self
        }
    }
}

impl<'a> From<Badge<'a>> for UnreadJson<'a> {
    fn from(badge: Badge<'a>) -> Self {
        Self {
            kind_of_body: "UNREAD",
            room_id: badge.conversation.to_string(),
            unread_count: badge.unread,
            last_message: badge
                .last
                .map(|last| LastMessageJson::new(last).with_status(badge.status)),
            timestamp: badge.at,
        }
    }
}
