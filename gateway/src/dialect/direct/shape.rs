//! The JSON objects of this dialect.
//!
//! Owns which fields there are and in what order; borrows all they contain. Must never know in which event they stand.

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant, Subject,
};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// To whom something went: the other one of two people, or a group or room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receiver<'a> {
    pub(super) id: Uuid,
    pub(super) name: Option<&'a str>,
}

impl<'a> Receiver<'a> {
    /// To whom this user speaks in a conversation.
    pub(super) fn of(subject: &'a Subject, speaker: UserId) -> Self {
        match subject.other(speaker) {
            Some(other) => Self {
                id: other.id.0,
                name: Some(&other.name),
            },
            None => Self {
                id: subject.id.0,
                name: subject.name.as_deref(),
            },
        }
    }

    /// The same, where all members are known.
    fn among(view: &'a ConversationView, speaker: UserId) -> Self {
        let other = view
            .participants
            .iter()
            .filter(|_| view.kind == ConversationKind::Direct)
            .find(|participant| participant.profile.id != speaker);
        match other {
            Some(Participant { profile, .. }) => Self {
                id: profile.id.0,
                name: Some(&profile.name),
            },
            None => Self {
                id: view.id.0,
                name: view.name.as_deref(),
            },
        }
    }
}

/// A message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageJson<'a> {
    id: MessageId,
    content: &'a str,
    sender_id: UserId,
    sender_name: &'a str,
    receiver_id: Uuid,
    receiver_name: Option<&'a str>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_id: Option<&'a str>,
}

impl<'a> MessageJson<'a> {
    /// A message of this conversation, with the client's own id for it if its sender is to see it.
    pub(super) fn new(
        message: &'a Message,
        subject: &'a Subject,
        temp_id: Option<&'a str>,
    ) -> Self {
        Self::to(message, Receiver::of(subject, message.sender.id), temp_id)
    }

    fn to(message: &'a Message, receiver: Receiver<'a>, temp_id: Option<&'a str>) -> Self {
        Self {
            id: message.id,
            content: message.shown_content(),
            sender_id: message.sender.id,
            sender_name: &message.sender.name,
            receiver_id: receiver.id,
            receiver_name: receiver.name,
            created_at: message.created_at,
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
            temp_id,
        }
    }
}

/// A member.
#[derive(Debug, Serialize)]
pub(super) struct ParticipantJson<'a> {
    id: UserId,
    name: &'a str,
    username: &'a str,
    role: MemberRole,
}

impl<'a> From<&'a Participant> for ParticipantJson<'a> {
    fn from(Participant { profile, role, .. }: &'a Participant) -> Self {
        Self {
            id: profile.id,
            name: &profile.name,
            username: &profile.username,
            role: *role,
        }
    }
}

/// A conversation as one of its members sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversationJson<'a> {
    id: ConversationId,
    #[serde(rename = "type")]
    kind: ConversationKind,
    name: Option<&'a str>,
    participants: Vec<ParticipantJson<'a>>,
    last_message: Option<MessageJson<'a>>,
    unread_count: i64,
    created_at: Timestamp,
}

impl<'a> From<&'a ConversationView> for ConversationJson<'a> {
    fn from(view: &'a ConversationView) -> Self {
        let last_message = view.last_message.as_ref().map(|message| {
            let receiver = Receiver::among(view, message.sender.id);
            MessageJson::to(message, receiver, None)
        });
        Self {
            id: view.id,
            kind: view.kind,
            name: view.name.as_deref(),
            participants: view
                .participants
                .iter()
                .map(ParticipantJson::from)
                .collect(),
            last_message,
            unread_count: view.unread_count,
            created_at: view.created_at,
        }
    }
}
