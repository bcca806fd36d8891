//! Messages as they are stored and shown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::Profile;
use super::timestamp::Timestamp;
use crate::id::{ConversationId, MessageId, Seq};

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageStatus {
    /// It is stored.
    Sent,
    /// It has reached a socket of another member than its sender.
    Delivered,
    /// Of one's own: all others have read it. Of another's: oneself has.
    Read,
}

/// A stored message with its sender. A deleted one is a tombstone: its content is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number.
    pub id: MessageId,
    /// Where it was said.
    pub conversation: ConversationId,
    /// Its place in the conversation's order.
    pub seq: Seq,
    /// The place of its last change; equals `seq` until it is edited or deleted.
    pub change_seq: Seq,
    /// Its rank among the conversation's messages: 1 for the first. Unread counts are computed from it.
    pub ordinal: i64,
    /// Who said it.
    pub sender: Arc<Profile>,
    /// What kind of content, a client's word: `text`, `image`…
    pub message_type: Arc<str>,
    /// What was said; empty once deleted.
    pub content: Arc<str>,
    /// The message it answers, of the same conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl Message {
    /// What is to be shown of it: a tombstone has no words, even where an event was made before it became one.
    pub fn shown_content(&self) -> &str {
        if self.deleted_at.is_some() {
            ""
        } else {
            &self.content
        }
    }

    /// When it last changed.
    pub fn updated_at(&self) -> Timestamp {
        self.deleted_at
            .or(self.edited_at)
            .unwrap_or(self.created_at)
    }
}
