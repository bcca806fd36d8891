//! Conversations and memberships.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::Profile;
use super::message::Message;
use super::timestamp::Timestamp;
use crate::id::{ConversationId, Seq, UserId};

/// The three kinds of conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum ConversationKind {
    /// Exactly two members, one conversation per pair, members fixed.
    Direct,
    /// Members by invitation.
    Group,
    /// Public: joining is a subscription, not a membership.
    Room,
}

/// What a member may do in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum MemberRole {
    /// Made it, or had it passed on. May do everything.
    Owner,
    /// May add and remove members and delete messages.
    Admin,
    /// May read and write.
    Member,
}

impl MemberRole {
    /// Whether this role may add and remove others and delete their messages.
    pub fn moderates(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}

/// A member, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Who.
    #[serde(flatten)]
    pub profile: Profile,
    /// As what.
    pub role: MemberRole,
    /// Whether they were seen to be online when this was read. Whoever does not know says no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_online: bool,
}

impl Participant {
    /// A member of whom it is not known whether they are online.
    pub fn new(profile: Profile, role: MemberRole) -> Self {
        Self {
            profile,
            role,
            is_online: false,
        }
    }
}

/// A conversation as one of its members sees it.
#[derive(Debug, Clone)]
pub struct ConversationView {
    /// Which.
    pub id: ConversationId,
    /// Of what kind.
    pub kind: ConversationKind,
    /// A room's name in addresses and events.
    pub slug: Option<String>,
    /// A group's or room's name; direct conversations have none.
    pub name: Option<String>,
    /// The present members, in the order they joined. A room has none: see who is there.
    pub participants: Vec<Participant>,
    /// The newest message, deleted ones included.
    pub last_message: Option<Message>,
    /// How many messages the viewer has not read. Exact.
    pub unread_count: i64,
    /// The last durable change that this view includes.
    pub last_seq: Seq,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A conversation as far as it has to be known to speak of what happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Which.
    pub id: ConversationId,
    /// Of what kind.
    pub kind: ConversationKind,
    /// A room's name in addresses and events.
    pub slug: Option<Arc<str>>,
    /// A group's or room's name.
    pub name: Option<Arc<str>>,
    /// The two of a direct conversation.
    pub pair: Option<[Arc<Profile>; 2]>,
}

impl Subject {
    /// A conversation of which no more is known than which it is.
    pub fn unknown(id: ConversationId) -> Self {
        Self {
            id,
            kind: ConversationKind::Group,
            slug: None,
            name: None,
            pair: None,
        }
    }

    /// Of a direct conversation's two, the one who is not this user.
    pub fn other(&self, user: UserId) -> Option<&Arc<Profile>> {
        self.pair.as_ref()?.iter().find(|one| one.id != user)
    }
}
