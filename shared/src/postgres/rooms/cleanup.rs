//! Clearing away what nobody will ask for again: guests without a trace, empty rooms that have ended, slugs without a room.
//!
//! What is found to stay is marked, so that each row is looked at once and a run costs what has come up since the last, however
//! much there is by then.

use std::time::Duration;

use sqlx::postgres::{PgAdvisoryLock, PgAdvisoryLockKey};
use sqlx::{Either, PgConnection, PgPool};

use crate::id::{ConversationId, UserId};
use crate::model::timestamp::Timestamp;

/// How long after it was last seen a guest without a trace is gone, and a slug whose room was not made is free.
const PATIENCE: Duration = Duration::from_hours(1);
/// How many rows one statement looks at: few enough to hold its locks for milliseconds.
const PAGE: i64 = 500;
/// How many pages of each kind one run does at the most. The rest is the next one's.
const MAX_PAGES: u32 = 200;
/// Whoever holds this cleans up. The number only has to be nobody else's.
const LOCK: i64 = 0x636f_6e66_6162_0001;

/// What a cleanup removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Guests who had left nothing behind.
    pub removed_sessions: u64,
    /// Rooms that had ended without a message.
    pub removed_rooms: u64,
}

/// Clears away, in bounded steps and one at a time in the whole deployment: while another is at it, nothing is done here.
///
/// A room that ended stays until its commands are forgotten ([`prune_applied`](crate::postgres::batch::prune_applied)), so that none of
/// them can make it again.
pub async fn cleanup(pool: &PgPool) -> Result<Cleaned, sqlx::Error> {
    cleanup_as_of(pool, Timestamp::now()).await
}

/// [`cleanup`] with age measured from another moment than the present.
pub async fn cleanup_as_of(pool: &PgPool, now: Timestamp) -> Result<Cleaned, sqlx::Error> {
    let lock = PgAdvisoryLock::with_key(PgAdvisoryLockKey::BigInt(LOCK));
    let mut guard = match lock.try_acquire(pool.acquire().await?).await? {
        Either::Left(guard) => guard,
        Either::Right(_busy) => return Ok(Cleaned::default()),
    };
    let cleaned = clear(&mut guard, now.minus(PATIENCE)).await;
    guard.release_now().await?;
    cleaned
}

async fn clear(connection: &mut PgConnection, before: Timestamp) -> Result<Cleaned, sqlx::Error> {
    free_slugs(connection, before).await?;
    Ok(Cleaned {
        removed_sessions: remove_guests(connection, before).await?,
        removed_rooms: remove_rooms(connection).await?,
    })
}

/// Removes guests that were last seen before a moment and left nothing behind, and marks those that did.
async fn remove_guests(
    connection: &mut PgConnection,
    before: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    for _ in 0..MAX_PAGES {
        let (seen, gone): (i64, i64) = sqlx::query_as(
            "WITH old AS (
                 SELECT u.id,
                        u.id = $3
                        OR EXISTS (SELECT 1 FROM senders s WHERE s.user_id = u.id)
                        OR EXISTS (SELECT 1 FROM conversations c WHERE c.created_by = u.id)
                        OR EXISTS (SELECT 1 FROM conversations c WHERE c.info_by = u.id)
                        OR EXISTS (SELECT 1 FROM messages m WHERE m.deleted_by = u.id) AS stays
                 FROM users u
                 WHERE u.role = 'guest' AND NOT u.stays AND u.last_seen_at < $1
                 ORDER BY u.last_seen_at, u.id LIMIT $2
                 FOR UPDATE OF u SKIP LOCKED
             ), kept AS (
                 UPDATE users u SET stays = true FROM old WHERE u.id = old.id AND old.stays
             ), gone AS (
                 DELETE FROM users u USING old WHERE u.id = old.id AND NOT old.stays RETURNING u.id
             )
             SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone)",
        )
        .bind(before)
        .bind(PAGE)
        .bind(UserId::SYSTEM)
        .fetch_one(&mut *connection)
        .await?;
        removed += gone.unsigned_abs();
        if seen < PAGE {
            break;
        }
    }
    Ok(removed)
}

/// Frees slugs that were last asked for before a moment and have no room, and marks those that have.
async fn free_slugs(connection: &mut PgConnection, before: Timestamp) -> Result<(), sqlx::Error> {
    for _ in 0..MAX_PAGES {
        let seen: i64 = sqlx::query_scalar(
            "WITH old AS (
                 SELECT r.slug, EXISTS (SELECT 1 FROM conversations c WHERE c.id = r.conversation_id) AS stays
                 FROM room_slugs r WHERE r.taken_at < $1
                 ORDER BY r.taken_at LIMIT $2
                 FOR UPDATE OF r SKIP LOCKED
             ), kept AS (
                 UPDATE room_slugs r SET taken_at = NULL FROM old WHERE r.slug = old.slug AND old.stays
             ), gone AS (
                 DELETE FROM room_slugs r USING old WHERE r.slug = old.slug AND NOT old.stays
             )
             SELECT count(*) FROM old",
        )
        .bind(before)
        .bind(PAGE)
        .fetch_one(&mut *connection)
        .await?;
        if seen < PAGE {
            break;
        }
    }
    Ok(())
}

/// Frees the slugs of rooms that have ended, removes those rooms that hold no message and whose commands are forgotten, and marks
/// those that hold one.
async fn remove_rooms(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    let mut after: Option<(Timestamp, ConversationId)> = None;
    for _ in 0..MAX_PAGES {
        let page: Vec<(Timestamp, ConversationId, bool)> = sqlx::query_as(
            "WITH old AS (
                 SELECT c.id, c.deleted_at, c.message_count > 0 AS stays,
                        EXISTS (SELECT 1 FROM applied_commands a WHERE a.conversation_id = c.id) AS remembered
                 FROM conversations c
                 WHERE c.deleted_at IS NOT NULL AND NOT c.stays
                   AND ($1::timestamptz IS NULL OR (c.deleted_at, c.id) > ($1, $2))
                 ORDER BY c.deleted_at, c.id LIMIT $3
                 FOR UPDATE OF c SKIP LOCKED
             ), freed AS (
                 DELETE FROM room_slugs r USING old WHERE r.conversation_id = old.id
             ), kept AS (
                 UPDATE conversations c SET stays = true FROM old WHERE c.id = old.id AND old.stays
             ), gone AS (
                 DELETE FROM conversations c USING old
                 WHERE c.id = old.id AND NOT old.stays AND NOT old.remembered
                 RETURNING c.id
             )
             SELECT old.deleted_at, old.id, gone.id IS NOT NULL
             FROM old LEFT JOIN gone ON gone.id = old.id
             ORDER BY old.deleted_at, old.id",
        )
        .bind(after.map(|(at, _)| at))
        .bind(after.map(|(_, id)| id))
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let gone = page.iter().filter(|(_, _, gone)| *gone).count();
        removed += u64::try_from(gone).unwrap_or(u64::MAX);
        after = page.last().map(|(at, id, _)| (*at, *id));
        if i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE {
            break;
        }
    }
    Ok(removed)
}
