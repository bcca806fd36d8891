//! Public rooms: what they are called, which there are, and guests.
//!
//! Owns `room_slugs` and the reading of rooms. Changes to a room itself are the worker's, in its batches; only the name is taken
//! here, before the room is made, so that two that ask for the same one are told apart by an index.

mod cleanup;
mod stats;

use sqlx::PgPool;

use super::conversations::ListCursor;
use super::listing::listing;
use super::users::{Account, CreateUserError};
use crate::id::{ConversationId, UserId};
use crate::model::content::Slug;
use crate::model::timestamp::Timestamp;

pub use cleanup::{Cleaned, cleanup, cleanup_as_of};
pub use stats::{Stats, stats};

/// A public room.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Room {
    /// Which.
    pub id: ConversationId,
    /// Its name in addresses and events.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The most people who may be present; none: no limit.
    pub max_users: Option<i32>,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something was last said in it.
    pub updated_at: Timestamp,
}

/// A room that has not ended.
pub async fn find(pool: &PgPool, id: ConversationId) -> Result<Option<Room>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.id, r.slug, c.name, c.description, c.max_users, c.created_by, c.created_at, c.updated_at
         FROM conversations c JOIN room_slugs r ON r.conversation_id = c.id
         WHERE c.id = $1 AND c.kind = 'room' AND c.deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// The conversation for which a slug is taken, whether it has been made yet or not.
pub async fn by_slug(pool: &PgPool, slug: &Slug) -> Result<Option<ConversationId>, sqlx::Error> {
    sqlx::query_scalar("SELECT conversation_id FROM room_slugs WHERE slug = $1")
        .bind(slug.as_str())
        .fetch_optional(pool)
        .await
}

/// The rooms, the latest activity first, and where the next page begins if there is one.
pub async fn list(
    pool: &PgPool,
    cursor: Option<ListCursor>,
    limit: u32,
) -> Result<(Vec<Room>, Option<ListCursor>), sqlx::Error> {
    let mut rooms: Vec<Room> = sqlx::query_as(concat!(
        "SELECT * FROM ",
        listing!(
            "t.id, r.slug, t.name, t.description, t.max_users, t.created_by, t.created_at, t.updated_at",
            "conversations t JOIN room_slugs r ON r.conversation_id = t.id",
            "t.kind = 'room' AND t.deleted_at IS NULL",
            "t"
        ),
        " ORDER BY c.updated_at DESC, c.id DESC"
    ))
    .bind(cursor.map(|cursor| cursor.updated_at))
    .bind(cursor.map(|cursor| cursor.id))
    .bind(i64::from(limit) + 1)
    .fetch_all(pool)
    .await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rooms.len() > wanted;
    rooms.truncate(wanted);
    let next = rooms.last().filter(|_| more).map(|last| ListCursor {
        updated_at: last.updated_at,
        id: last.id,
    });
    Ok((rooms, next))
}

/// Takes a slug for a room that is about to be made. The conversation that has it now: this one, or whichever came first. A room that has
/// ended has none any more: whoever heard of its end may take it at once, wherever that is given free.
pub async fn take_slug(
    pool: &PgPool,
    slug: &Slug,
    room: ConversationId,
) -> Result<ConversationId, sqlx::Error> {
    // A row that is there is written too, so that it is returned: one statement, whoever comes first.
    sqlx::query_scalar(
        "INSERT INTO room_slugs AS r (slug, conversation_id) VALUES ($1, $2)
         ON CONFLICT (slug) DO UPDATE
         SET (conversation_id, taken_at) = (
             SELECT CASE WHEN ended THEN excluded.conversation_id ELSE r.conversation_id END,
                    CASE WHEN ended OR r.taken_at IS NOT NULL THEN excluded.taken_at END
             FROM (SELECT EXISTS (
                 SELECT 1 FROM conversations c WHERE c.id = r.conversation_id AND c.deleted_at IS NOT NULL
             ) AS ended) AS holder
         )
         RETURNING conversation_id",
    )
    .bind(slug.as_str())
    .bind(room)
    .fetch_one(pool)
    .await
}

/// Gives a slug free, of a room that has ended or was not made.
pub async fn free_slug(pool: &PgPool, room: ConversationId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM room_slugs r WHERE r.conversation_id = $1
         AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = $1 AND c.deleted_at IS NULL)",
    )
    .bind(room)
    .execute(pool)
    .await?;
    Ok(())
}

/// Makes a guest: somebody without credentials, with a name of their own unless it is an account's.
///
/// A guest that left nothing behind is removed an hour after it was last seen: see [`note_guests`] and [`cleanup`].
pub async fn create_guest(pool: &PgPool, username: &str) -> Result<Account, CreateUserError> {
    let made: Option<Account> = sqlx::query_as(
        "INSERT INTO users (id, username, name, role)
         SELECT $1, $2, $2, 'guest'
         WHERE NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.username) = lower($2) AND u.role <> 'guest')
         RETURNING id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at",
    )
    .bind(UserId::generate())
    .bind(username)
    .fetch_optional(pool)
    .await?;
    made.ok_or(CreateUserError::UsernameTaken)
}

/// These guests are there.
pub async fn note_guests(pool: &PgPool, guests: &[UserId]) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET last_seen_at = now() WHERE id = ANY($1) AND role = 'guest'")
        .bind(guests)
        .execute(pool)
        .await?;
    Ok(())
}
