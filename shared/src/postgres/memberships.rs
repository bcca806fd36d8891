//! Who may take part in what, and who came and went.
//!
//! Owns the reading of `memberships` for those who deliver. Changes to them are the worker's alone, in its batches.

use sqlx::PgPool;

use crate::id::{ConversationId, Seq, UserId};
use crate::model::conversation::{ConversationKind, MemberRole};
use crate::model::timestamp::Timestamp;

/// That a user may take part in a conversation, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Access {
    /// Of what kind it is.
    pub kind: ConversationKind,
    /// As what the user is a member; none in a public room, which has no members.
    pub role: Option<MemberRole>,
    /// The conversation's last change at that moment.
    pub last_seq: Seq,
    /// The most people who may be present in a public room; none: no limit.
    pub max_users: Option<i32>,
}

/// Whether and how a user may take part in a conversation: as a present member, or as anybody may in a public room.
pub async fn access(
    pool: &PgPool,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Access>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.kind, s.role, c.last_seq, c.max_users
         FROM conversations c
         LEFT JOIN memberships s ON s.conversation_id = c.id AND s.user_id = $2 AND s.left_at IS NULL
         WHERE c.id = $1 AND c.deleted_at IS NULL AND (c.kind = 'room' OR s.user_id IS NOT NULL)",
    )
    .bind(conversation)
    .bind(user)
    .fetch_optional(pool)
    .await
}

/// The conversations of a user (only those of one kind, if one is given), each with its last change and that by which the user became a
/// member; those with the latest joining first, where there are more than `limit`.
pub async fn of_user(
    pool: &PgPool,
    user: UserId,
    only: Option<ConversationKind>,
    limit: usize,
) -> Result<Vec<(ConversationId, Seq, Seq)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT s.conversation_id, c.last_seq, s.joined_seq
         FROM memberships s JOIN conversations c ON c.id = s.conversation_id
         WHERE s.user_id = $1 AND s.left_at IS NULL AND ($2::text IS NULL OR c.kind = $2)
         ORDER BY s.joined_at DESC LIMIT $3",
    )
    .bind(user)
    .bind(only)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
}

/// How a user stands to a conversation, and how that has come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Place {
    /// Which.
    #[sqlx(rename = "id")]
    pub conversation: ConversationId,
    /// Its last change.
    pub last_seq: Seq,
    /// When that was.
    pub changed_at: Timestamp,
    /// Of what kind it is.
    pub kind: ConversationKind,
    /// The change since which the user may listen: that which made it a member, none at all of a public room. None if it may not.
    pub joined_seq: Option<Seq>,
}

/// How a user stands to these conversations. Those that do not exist are left out.
pub async fn places(
    pool: &PgPool,
    user: UserId,
    conversations: &[ConversationId],
) -> Result<Vec<Place>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.id, c.last_seq, c.changed_at, c.kind,
                CASE WHEN c.kind <> 'room' THEN s.joined_seq WHEN c.deleted_at IS NULL THEN 0 END AS joined_seq
         FROM conversations c
         LEFT JOIN memberships s ON s.conversation_id = c.id AND s.user_id = $1 AND s.left_at IS NULL
         WHERE c.id = ANY($2)",
    )
    .bind(user)
    .bind(conversations)
    .fetch_all(pool)
    .await
}

/// Which conversations these users have been added to, each since its own moment, that moment included, and by which change.
pub async fn joined_since(
    pool: &PgPool,
    users: &[(UserId, Timestamp)],
) -> Result<Vec<(UserId, ConversationId, Seq)>, sqlx::Error> {
    let (users, since): (Vec<UserId>, Vec<Timestamp>) = users.iter().copied().unzip();
    sqlx::query_as(
        "SELECT s.user_id, s.conversation_id, s.joined_seq
         FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (user_id, since)
         JOIN memberships s ON s.user_id = asked.user_id AND s.joined_at >= asked.since
         WHERE s.left_at IS NULL ORDER BY s.joined_at, s.joined_seq",
    )
    .bind(users)
    .bind(since)
    .fetch_all(pool)
    .await
}

/// A membership that has ended.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Removal {
    /// Whose.
    #[sqlx(rename = "user_id")]
    pub user: UserId,
    /// Of which conversation.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// The change that ended it.
    #[sqlx(rename = "change_seq")]
    pub seq: Seq,
    /// By whom: the user itself, if it left.
    #[sqlx(rename = "removed_by")]
    pub by: UserId,
    /// When.
    #[sqlx(rename = "left_at")]
    pub at: Timestamp,
}

/// Which memberships of these users have ended, each since its own moment, that moment included, and have not begun again.
pub async fn removed_since(
    pool: &PgPool,
    users: &[(UserId, Timestamp)],
) -> Result<Vec<Removal>, sqlx::Error> {
    let (users, since): (Vec<UserId>, Vec<Timestamp>) = users.iter().copied().unzip();
    sqlx::query_as(
        "SELECT s.user_id, s.conversation_id, s.change_seq, s.removed_by, s.left_at
         FROM unnest($1::uuid[], $2::timestamptz[]) AS asked (user_id, since)
         JOIN memberships s ON s.user_id = asked.user_id AND s.left_at >= asked.since
         ORDER BY s.left_at, s.change_seq",
    )
    .bind(users)
    .bind(since)
    .fetch_all(pool)
    .await
}
