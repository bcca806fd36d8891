//! What PostgreSQL holds of a run's conversations.
//!
//! The statements are the checker's own, on purpose: it must not ask the code that it checks.

use std::collections::HashMap;

use confab_shared::id::{ConversationId, UserId};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::setup::Population;
use crate::stamp::Stamp;

/// What is stored, conversation by conversation, in the order of the population's.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// The conversations.
    pub conversations: Vec<StoredConversation>,
}

/// A stored conversation.
#[derive(Debug, Clone, Default)]
pub struct StoredConversation {
    /// How many durable changes it counts.
    pub last_seq: i64,
    /// How many messages it counts.
    pub message_count: i64,
    /// Its messages, in order of `seq`.
    pub messages: Vec<StoredMessage>,
    /// Its memberships.
    pub members: Vec<StoredMember>,
}

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: i64,
    /// Its place.
    pub seq: i64,
    /// The place of its last change.
    pub change_seq: i64,
    /// Its rank.
    pub ordinal: i64,
    /// Who sent it.
    pub sender: UserId,
    /// What its content says; nothing, once it is deleted.
    pub stamp: Option<Stamp>,
    /// Whether it is a tombstone.
    pub deleted: bool,
}

/// A stored membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMember {
    /// Whose.
    pub user: UserId,
    /// Up to which ordinal it has read.
    pub read_count: i64,
    /// The change that last raised it by a reading; 0 if none has.
    pub read_seq: i64,
    /// What that reading named.
    pub read_message: Option<i64>,
    /// How many messages it has not read, counted one by one.
    pub unread: i64,
}

#[derive(FromRow)]
struct ConversationRow {
    id: Uuid,
    last_seq: i64,
    message_count: i64,
}

#[derive(FromRow)]
struct MessageRow {
    id: i64,
    conversation_id: Uuid,
    seq: i64,
    change_seq: i64,
    ordinal: i64,
    sender_id: Uuid,
    content: String,
    deleted: bool,
}

#[derive(FromRow)]
struct MemberRow {
    conversation_id: Uuid,
    user_id: Uuid,
    read_count: i64,
    read_seq: i64,
    read_message_id: Option<i64>,
    unread: i64,
}

impl Truth {
    /// Reads all of it.
    pub async fn read(database: &PgPool, population: &Population) -> Result<Self, sqlx::Error> {
        let ids: Vec<Uuid> = population.rooms.iter().map(|room| room.id.0).collect();
        let index: HashMap<Uuid, usize> = ids
            .iter()
            .enumerate()
            .map(|(index, id)| (*id, index))
            .collect();
        let mut conversations = vec![StoredConversation::default(); ids.len()];

        let rows: Vec<ConversationRow> = sqlx::query_as(
            "SELECT id, last_seq, message_count FROM conversations WHERE id = ANY($1)",
        )
        .bind(&ids)
        .fetch_all(database)
        .await?;
        for row in rows {
            let conversation = &mut conversations[index[&row.id]];
            (conversation.last_seq, conversation.message_count) = (row.last_seq, row.message_count);
        }

        let rows: Vec<MessageRow> = sqlx::query_as(
            "SELECT id, conversation_id, seq, change_seq, ordinal, sender_id, content, deleted_at IS NOT NULL AS deleted
             FROM messages WHERE conversation_id = ANY($1) ORDER BY conversation_id, seq",
        )
        .bind(&ids)
        .fetch_all(database)
        .await?;
        for row in rows {
            conversations[index[&row.conversation_id]]
                .messages
                .push(StoredMessage {
                    id: row.id,
                    seq: row.seq,
                    change_seq: row.change_seq,
                    ordinal: row.ordinal,
                    sender: UserId(row.sender_id),
                    stamp: Stamp::read(row.content.as_bytes()),
                    deleted: row.deleted,
                });
        }

        let rows: Vec<MemberRow> = sqlx::query_as(
            "SELECT s.conversation_id, s.user_id, s.read_count, s.read_seq, s.read_message_id,
                    (SELECT count(*) FROM messages m
                     WHERE m.conversation_id = s.conversation_id AND m.ordinal > s.read_count AND m.deleted_at IS NULL) AS unread
             FROM memberships s WHERE s.conversation_id = ANY($1) AND s.left_at IS NULL",
        )
        .bind(&ids)
        .fetch_all(database)
        .await?;
        for row in rows {
            conversations[index[&row.conversation_id]]
                .members
                .push(StoredMember {
                    user: UserId(row.user_id),
                    read_count: row.read_count,
                    read_seq: row.read_seq,
                    read_message: row.read_message_id,
                    unread: row.unread,
                });
        }
        Ok(Self { conversations })
    }

    /// The `seq` of the last message of each conversation of a population, in its order; 0 where there is none.
    pub async fn last_messages(
        database: &PgPool,
        population: &Population,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let ids: Vec<Uuid> = population.rooms.iter().map(|room| room.id.0).collect();
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT id, coalesce((SELECT max(seq) FROM messages WHERE conversation_id = c.id), 0)
             FROM conversations c WHERE id = ANY($1)",
        )
        .bind(&ids)
        .fetch_all(database)
        .await?;
        let found: HashMap<Uuid, i64> = rows.into_iter().collect();
        Ok(ids
            .iter()
            .map(|id| found.get(id).copied().unwrap_or(0))
            .collect())
    }

    /// The `seq` of each message of the conversation with this index, by its id.
    pub fn places(&self, index: u32) -> HashMap<i64, u32> {
        let messages = self.conversation(index).map(|stored| &stored.messages);
        let place = |row: &StoredMessage| Some((row.id, u32::try_from(row.seq).ok()?));
        messages.into_iter().flatten().filter_map(place).collect()
    }

    /// The conversation with this index.
    pub(crate) fn conversation(&self, index: u32) -> Option<&StoredConversation> {
        self.conversations.get(crate::index::at(index))
    }
}

/// What a gateway says a member has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownUnread {
    /// The member.
    pub client: u32,
    /// Where.
    pub conversation: ConversationId,
    /// How many.
    pub unread: i64,
}
