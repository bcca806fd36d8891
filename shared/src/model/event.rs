//! Events: committed facts, on their way from the worker to every gateway that has somebody listening.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::Profile;
use super::conversation::Participant;
use super::message::Message;
use super::timestamp::Timestamp;
use super::trace::{self, TraceContext};
use crate::id::{ConversationId, MessageId, Seq, UserId};

/// A fact about a conversation.
///
/// Delivery on the room channel is at most once: it is a hint. A hub shows events in the order of `seq`, ignores what it has
/// shown, and reads what is missing from the room's history or from PostgreSQL before it shows anything later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the conversation's order; none for what is said but not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The conversation was made. Always the first; its members learn of it by a [`UserNotice`].
    ConversationCreated {
        /// By whom.
        by: UserId,
    },
    /// A message was stored.
    MessageStored {
        /// The message.
        message: Message,
        /// The sender's own id for it; for the sender's eyes only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temp_id: Option<Arc<str>>,
    },
    /// A message got another text.
    MessageEdited {
        /// The message as it is now.
        message: Message,
    },
    /// A message became a tombstone.
    MessageDeleted {
        /// Which.
        message: MessageId,
        /// By whom.
        by: UserId,
    },
    /// A member's read marker was set.
    MessagesRead {
        /// Whose.
        user: UserId,
        /// Up to this message; none where the whole conversation was marked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<MessageId>,
        /// The marker: everything up to this ordinal is read.
        read_count: i64,
    },
    /// Members were added.
    MembersAdded {
        /// Whom.
        members: Vec<Participant>,
    },
    /// A member was taken out, or left (then `by` is the same user). Its sockets get nothing after this.
    MemberRemoved {
        /// Whom.
        user: UserId,
        /// By whom.
        by: UserId,
    },
    /// A room got another name, description or size.
    RoomUpdated {
        /// By whom.
        by: UserId,
        /// Its name now.
        name: Arc<str>,
        /// Its description now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<Arc<str>>,
        /// The most people who may be present now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_users: Option<i32>,
    },
    /// A room has ended. Nothing follows, and nobody listens any more.
    RoomDeleted {
        /// By whom.
        by: UserId,
    },
    /// Somebody is present who was not. Said by gateways, not stored, and not said again to those who missed it.
    Entered {
        /// Who.
        user: Arc<Profile>,
        /// How many are present now.
        present: u64,
    },
    /// Somebody is present no more. As [`Fact::Entered`].
    Exited {
        /// Who.
        user: Arc<Profile>,
        /// How many are present now.
        present: u64,
    },
    /// Somebody types, or types no more. Said by gateways, and over as soon as it is said.
    Typing {
        /// Who.
        user: Arc<Profile>,
        /// On which socket, of all that there are: what one of them says of its user does not end what another says.
        source: Uuid,
        /// Whether it does.
        typing: bool,
    },
    /// Nothing new in itself: the conversation has come at least this far. Sent where facts may not have been announced
    /// (a worker died between commit and fan-out), so that hubs which are behind catch up.
    Advanced,
}

impl Fact {
    /// Its name, for metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConversationCreated { .. } => "conversation_created",
            Self::MessageStored { .. } => "message_stored",
            Self::MessageEdited { .. } => "message_edited",
            Self::MessageDeleted { .. } => "message_deleted",
            Self::MessagesRead { .. } => "messages_read",
            Self::MembersAdded { .. } => "members_added",
            Self::MemberRemoved { .. } => "member_removed",
            Self::RoomUpdated { .. } => "room_updated",
            Self::RoomDeleted { .. } => "room_deleted",
            Self::Entered { .. } => "entered",
            Self::Exited { .. } => "exited",
            Self::Typing { .. } => "typing",
            Self::Advanced => "advanced",
        }
    }

    /// Whether it is over as soon as it is said: nobody is told of it later, so it says nothing of how far anybody has come.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Typing { .. })
    }
}

/// What is published on a room channel: the events of one batch, in order, and kept in the room's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomBatch {
    /// Which room.
    pub conversation: ConversationId,
    /// Its new events, in order of `seq`.
    pub events: Vec<Event>,
    /// The announcements of those commands among what brought this about that are traced.
    #[serde(
        default,
        deserialize_with = "trace::several",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub traces: Vec<TraceContext>,
}

/// What a user's own channel carries: what concerns a user who need not have joined the room.
///
/// At most once, as on room channels; after any loss of the connection, gateways ask PostgreSQL for what they missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum UserNotice {
    /// The user is a member of a conversation it was not a member of.
    Joined {
        /// Which.
        conversation: ConversationId,
        /// The change that made it so.
        seq: Seq,
    },
    /// The user is no longer a member.
    Removed {
        /// Of which.
        conversation: ConversationId,
        /// The change that made it so.
        seq: Seq,
        /// By whom.
        by: UserId,
        /// When.
        at: Timestamp,
    },
}

impl UserNotice {
    /// Which conversation it is about.
    pub fn conversation(&self) -> ConversationId {
        match self {
            Self::Joined { conversation, .. } | Self::Removed { conversation, .. } => *conversation,
        }
    }

    /// The event of its conversation that a removal of this user stands for. None for what is no removal.
    pub fn removal(&self, user: UserId) -> Option<(ConversationId, Event)> {
        match *self {
            Self::Joined { .. } => None,
            Self::Removed {
                conversation,
                seq,
                by,
                at,
            } => {
                let event = Event {
                    seq: Some(seq),
                    at,
                    fact: Fact::MemberRemoved { user, by },
                };
                Some((conversation, event))
            }
        }
    }
}

/// What is said on a user's own channel once and not kept: whoever did not hear it finds it out in another way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "signal", rename_all = "snake_case")]
pub enum UserSignal {
    /// Some of the user's tokens are no longer good: sockets that came with one of them end.
    TokensRevoked {
        /// Only this one; none: all of them
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<Uuid>,
        /// but this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        except: Option<Uuid>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_survives_its_journey() {
        let mut batch = RoomBatch {
            conversation: ConversationId::generate(),
            events: vec![
                Event {
                    seq: Some(Seq(4)),
                    at: Timestamp::now(),
                    fact: Fact::Advanced,
                },
                Event {
                    seq: None,
                    at: Timestamp::now(),
                    fact: Fact::MessagesRead {
                        user: UserId::generate(),
                        message: None,
                        read_count: 3,
                    },
                },
            ],
            traces: Vec::new(),
        };
        let text = serde_json::to_string(&batch).unwrap();
        assert!(!text.contains("trace"));
        assert_eq!(serde_json::from_str::<RoomBatch>(&text).unwrap(), batch);
        batch.traces.extend(TraceContext::new(5, 6));
        let text = serde_json::to_string(&batch).unwrap();
        assert_eq!(serde_json::from_str::<RoomBatch>(&text).unwrap(), batch);
    }
}
