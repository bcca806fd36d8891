//! What members are told of conversations that their sockets have not joined, and how far messages have come.
//!
//! Owns the questions that gateways ask for many members at once, and the writing of `deliveries`, which is theirs alone.

use sqlx::PgPool;

use super::messages::{message, message_columns};
use crate::id::{ConversationId, Seq, UserId};
use crate::model::message::Message;
use crate::model::timestamp::Timestamp;

/// A conversation that a user is a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Watchable {
    /// Who.
    #[sqlx(rename = "user_id")]
    pub user: UserId,
    /// Which.
    #[sqlx(rename = "id")]
    pub conversation: ConversationId,
    /// Its last change.
    pub last_seq: Seq,
    /// When that was.
    pub changed_at: Timestamp,
}

/// The conversations of these users; of each, those that were active last, where there are more than `most`.
pub async fn watchable(
    pool: &PgPool,
    users: &[UserId],
    most: usize,
) -> Result<Vec<Watchable>, sqlx::Error> {
    // By an index, which follows the last activity at a distance of minutes: see `listing`.
    sqlx::query_as(
        "SELECT asked.user_id, c.id, c.last_seq, c.changed_at
         FROM unnest($1::uuid[]) AS asked (user_id)
         CROSS JOIN LATERAL (
             SELECT s.conversation_id FROM memberships s WHERE s.user_id = asked.user_id AND s.left_at IS NULL
             ORDER BY s.listed_at DESC LIMIT $2
         ) latest
         JOIN conversations c ON c.id = latest.conversation_id",
    )
    .bind(users)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
}

/// Those of these pairs in which the user is a member.
pub async fn still_watchable(
    pool: &PgPool,
    pairs: &[(ConversationId, UserId)],
) -> Result<Vec<Watchable>, sqlx::Error> {
    let (conversations, users): (Vec<ConversationId>, Vec<UserId>) = pairs.iter().copied().unzip();
    sqlx::query_as(
        "SELECT s.user_id, c.id, c.last_seq, c.changed_at
         FROM unnest($1::uuid[], $2::uuid[]) AS asked (conversation_id, user_id)
         JOIN memberships s ON s.conversation_id = asked.conversation_id AND s.user_id = asked.user_id AND s.left_at IS NULL
         JOIN conversations c ON c.id = s.conversation_id",
    )
    .bind(conversations)
    .bind(users)
    .fetch_all(pool)
    .await
}

/// How much a member has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Unread {
    /// Of which conversation.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// Who.
    #[sqlx(rename = "user_id")]
    pub user: UserId,
    /// The conversation's last change that this includes.
    #[sqlx(rename = "last_seq")]
    pub seq: Seq,
    /// Everything up to this ordinal is read.
    pub read_count: i64,
    /// How many messages are not. Deleted ones do not count.
    pub unread: i64,
    /// How many messages there were in all, deleted ones included: the last one's ordinal.
    #[sqlx(rename = "message_count")]
    pub messages: i64,
}

/// How much these members have not read, of one moment. Those who are none are left out.
pub async fn counts(
    pool: &PgPool,
    pairs: &[(ConversationId, UserId)],
) -> Result<Vec<Unread>, sqlx::Error> {
    let (conversations, users): (Vec<ConversationId>, Vec<UserId>) = pairs.iter().copied().unzip();
    sqlx::query_as(
        "SELECT s.conversation_id, s.user_id, c.last_seq, s.read_count, c.message_count,
                c.message_count - s.read_count
                - (SELECT count(*) FROM messages d
                   WHERE d.conversation_id = c.id AND d.deleted_at IS NOT NULL AND d.ordinal > s.read_count) AS unread
         FROM unnest($1::uuid[], $2::uuid[]) AS asked (conversation_id, user_id)
         JOIN memberships s ON s.conversation_id = asked.conversation_id AND s.user_id = asked.user_id AND s.left_at IS NULL
         JOIN conversations c ON c.id = s.conversation_id",
    )
    .bind(conversations)
    .bind(users)
    .fetch_all(pool)
    .await
}

/// The newest messages of these conversations, deleted ones included. Those that have none are left out.
pub async fn last_messages(
    pool: &PgPool,
    conversations: &[ConversationId],
) -> Result<Vec<Message>, sqlx::Error> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM unnest($1::uuid[]) AS asked (conversation_id)
          CROSS JOIN LATERAL (
              SELECT * FROM messages l WHERE l.conversation_id = asked.conversation_id ORDER BY l.seq DESC LIMIT 1
          ) m
          JOIN users u ON u.id = m.sender_id"
    ))
    .bind(conversations)
    .fetch_all(pool)
    .await?;
    rows.iter().map(message).collect()
}

/// Notes that everything up to these ordinals has reached a socket of somebody else than its sender. A mark never goes back.
pub async fn note_delivered(
    pool: &PgPool,
    delivered: &[(ConversationId, i64)],
) -> Result<(), sqlx::Error> {
    let (conversations, counts): (Vec<ConversationId>, Vec<i64>) =
        delivered.iter().copied().unzip();
    sqlx::query(
        "INSERT INTO deliveries AS d (conversation_id, delivered_count)
         SELECT n.conversation_id, n.delivered_count
         FROM unnest($1::uuid[], $2::bigint[]) AS n (conversation_id, delivered_count)
         -- One that is not there (PostgreSQL was set back) must not keep the others from being noted. By key, whatever the planner thinks.
         JOIN LATERAL (SELECT FROM conversations c WHERE c.id = n.conversation_id LIMIT 1) AS known ON true
         -- In the same order as whoever else may be at it, so that neither waits for the other.
         ORDER BY n.conversation_id
         ON CONFLICT (conversation_id) DO UPDATE SET delivered_count = excluded.delivered_count
         WHERE d.delivered_count < excluded.delivered_count",
    )
    .bind(conversations)
    .bind(counts)
    .execute(pool)
    .await
    .map(|_| ())
}
