//! The JSON objects of this dialect.
//!
//! Owns which fields there are and in what order; borrows all they contain. Must never know in which event they stand.

use confab_shared::id::{MessageId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant,
};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;

use crate::dialect::numbers::as_string;

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum MessageKind {
    /// Somebody said something.
    Chat,
    /// Somebody put it in other words.
    Edit,
    /// It was taken back.
    Delete,
}

/// A message in a room.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageJson<'a> {
    #[serde(serialize_with = "as_string")]
    id: MessageId,
    #[serde(rename = "type")]
    kind: MessageKind,
    room_id: &'a str,
    content: &'a str,
    sender: &'a str,
    sender_id: UserId,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_id: Option<&'a str>,
}

impl<'a> MessageJson<'a> {
    /// A message, with the client's own id for it if its sender is to see it.
    pub(super) fn new(
        kind: MessageKind,
        room_id: &'a str,
        message: &'a Message,
        temp_id: Option<&'a str>,
    ) -> Self {
        Self {
            id: message.id,
            kind,
            room_id,
            content: message.shown_content(),
            sender: &message.sender.username,
            sender_id: message.sender.id,
            timestamp: message.created_at,
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
            temp_id,
        }
    }
}

/// Whether somebody came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum StatusKind {
    /// They are present now.
    Join,
    /// They are no more.
    Leave,
}

/// Somebody who came or went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusJson<'a> {
    #[serde(rename = "type")]
    kind: StatusKind,
    room_id: &'a str,
    user_id: UserId,
    username: &'a str,
    active_users: u64,
    timestamp: Timestamp,
}

impl<'a> StatusJson<'a> {
    /// This one came or went, and so many are present now.
    pub(super) fn new(
        kind: StatusKind,
        room_id: &'a str,
        user: &'a Profile,
        active_users: u64,
        timestamp: Timestamp,
    ) -> Self {
        Self {
            kind,
            room_id,
            user_id: user.id,
            username: &user.username,
            active_users,
            timestamp,
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

/// A conversation as one of its members sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversationJson<'a> {
    room_id: String,
    kind: ConversationKind,
    name: Option<&'a str>,
    participants: Vec<ParticipantJson<'a>>,
    created_at: Timestamp,
}

impl<'a> From<&'a ConversationView> for ConversationJson<'a> {
    fn from(view: &'a ConversationView) -> Self {
        Self {
            room_id: view.id.to_string(),
            kind: view.kind,
            name: view.name.as_deref(),
            participants: view
                .participants
                .iter()
                .map(ParticipantJson::from)
                .collect(),
            created_at: view.created_at,
        }
    }
}
