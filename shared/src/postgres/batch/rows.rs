//! What a batch changes, as rows.

use std::sync::Arc;

use super::load::MemberRow;
use crate::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use crate::model::conversation::ConversationKind;
use crate::model::timestamp::Timestamp;

/// Everything that a batch changes. Each row comes once, in its final state.
#[derive(Debug)]
pub struct Changes {
    /// When the batch was decided; everything in it happens at this moment.
    pub at: Timestamp,
    /// Conversations that are new.
    pub created: Vec<NewConversation>,
    /// Conversations that had been there.
    pub changed: Vec<ChangedConversation>,
    /// Memberships, new or changed.
    pub members: Vec<ChangedMember>,
    /// New messages, in the order in which they get their numbers.
    pub sent: Vec<NewMessage>,
    /// The guests among their senders.
    pub guests: Vec<UserId>,
    /// Messages edited or deleted.
    pub messages: Vec<ChangedMessage>,
    /// Commands other than sends that must not take effect again.
    pub applied: Vec<AppliedCommand>,
}

/// A conversation that is made.
#[derive(Debug, Clone)]
pub struct NewConversation {
    /// Which.
    pub id: ConversationId,
    /// Of what kind.
    pub kind: ConversationKind,
    /// A group's or room's name.
    pub name: Option<String>,
    /// What a room is for.
    pub description: Option<String>,
    /// The most people who may be present in a room; none: no limit.
    pub max_users: Option<i32>,
    /// By whom.
    pub created_by: UserId,
    /// The last change that the batch makes to it.
    pub last_seq: Seq,
    /// How many messages the batch leaves in it.
    pub message_count: i64,
    /// The change of the same batch that last gave the room another name, description or size, or ended it; and by whom.
    pub info_change: Option<(Seq, UserId)>,
    /// Whether that change ended it.
    pub ended: bool,
    /// See [`ChangedConversation::crowded`].
    pub crowded: bool,
}

/// A conversation that changes.
#[derive(Debug, Clone)]
pub struct ChangedConversation {
    /// Which.
    pub id: ConversationId,
    /// Its last change before the batch.
    pub previous_seq: Seq,
    /// Its last change now.
    pub last_seq: Seq,
    /// How many messages were ever stored in it, now.
    pub message_count: i64,
    /// Whether it counts as active: reading alone does not move a conversation up its members' lists.
    pub active: bool,
    /// Whether members who join take it beyond [`MAX_RELISTED`](super::MAX_RELISTED).
    pub crowded: bool,
    /// What the batch makes of a room beside its messages.
    pub info: Option<ChangedInfo>,
}

/// What a room is after the batch has changed it.
#[derive(Debug, Clone)]
pub struct ChangedInfo {
    /// The change that made it so, the last of the batch.
    pub seq: Seq,
    /// By whom.
    pub by: UserId,
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The most people who may be present; none: no limit.
    pub max_users: Option<i32>,
    /// Whether the change ended it.
    pub ended: bool,
}

/// A membership that is new or changes.
#[derive(Debug, Clone)]
pub struct ChangedMember {
    /// As it is to be.
    pub row: MemberRow,
    /// Whether its conversation counts as active: see [`ChangedConversation::active`].
    pub active: bool,
    /// Whether its conversation is crowded: see [`ChangedConversation::crowded`].
    pub crowded: bool,
}

/// A message that is stored.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Where.
    pub conversation: ConversationId,
    /// Its place.
    pub seq: Seq,
    /// Its rank among the conversation's messages.
    pub ordinal: i64,
    /// Who says it.
    pub sender: UserId,
    /// What kind of content.
    pub message_type: Arc<str>,
    /// What is said.
    pub content: Arc<str>,
    /// By which command.
    pub command: CommandId,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
}

/// A message that got another text or became a tombstone.
#[derive(Debug, Clone)]
pub struct ChangedMessage {
    /// Which.
    pub id: MessageId,
    /// The place of its last change.
    pub change_seq: Seq,
    /// Its text now; empty once deleted.
    pub content: Arc<str>,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted and by whom.
    pub deleted: Option<(Timestamp, UserId)>,
}

/// A command that took effect.
#[derive(Debug, Clone)]
pub struct AppliedCommand {
    /// Where.
    pub conversation: ConversationId,
    /// Which.
    pub command: CommandId,
    /// What is answered, as JSON.
    pub outcome: String,
}
