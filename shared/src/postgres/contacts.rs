//! Who is whose contact: people who share a direct conversation or a group.
//!
//! Owns the reading of memberships for that, and what `users` says of how people want to be seen. Public rooms have no memberships, so
//! they make nobody contacts.

use sqlx::PgPool;

use crate::id::UserId;
use crate::model::timestamp::Timestamp;

/// The people of one conversation, some of whom were asked about: they are contacts of each other.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Circle {
    /// Those who were asked about.
    pub asked: Vec<UserId>,
    /// All of them.
    pub members: Vec<UserId>,
}

/// Which conversations make people contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Those of no more members.
    pub largest: u32,
    /// So many of each user, those first that something was said in last: somebody who is in very many is not to keep everybody waiting.
    pub most: usize,
}

/// The conversations of these users that make people contacts.
///
/// Each conversation comes once, however many of its members were asked about, so that what is read grows with the memberships and
/// not with the pairs.
pub async fn circles(
    pool: &PgPool,
    users: &[UserId],
    bounds: Bounds,
) -> Result<Vec<Circle>, sqlx::Error> {
    sqlx::query_as(
        "SELECT shared.asked, people.members
         FROM (SELECT latest.conversation_id, array_agg(asking.id) AS asked
               FROM (SELECT DISTINCT id FROM unnest($1::uuid[]) AS one (id)) asking
               CROSS JOIN LATERAL (
                 SELECT s.conversation_id FROM memberships s WHERE s.user_id = asking.id AND s.left_at IS NULL
                 ORDER BY s.listed_at DESC, s.conversation_id LIMIT $3
               ) latest
               GROUP BY latest.conversation_id) shared
         CROSS JOIN LATERAL (
           SELECT array_agg(few.user_id) AS members
           FROM (SELECT o.user_id FROM memberships o
                 WHERE o.conversation_id = shared.conversation_id AND o.left_at IS NULL LIMIT $2 + 1) few
         ) people
         WHERE cardinality(people.members) BETWEEN 2 AND $2",
    )
    .bind(users)
    .bind(i64::from(bounds.largest))
    .bind(i64::try_from(bounds.most).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
}

/// How somebody wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Appearance {
    /// Who.
    pub id: UserId,
    /// Whether as offline, whatever they do.
    pub appears_offline: bool,
    /// When they were last seen to go.
    pub last_seen_at: Timestamp,
}

/// How these users want to be seen. Those that do not exist are left out.
pub async fn appearances(pool: &PgPool, users: &[UserId]) -> Result<Vec<Appearance>, sqlx::Error> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT id, appears_offline, last_seen_at FROM users WHERE id = ANY($1)")
        .bind(users)
        .fetch_all(pool)
        .await
}

/// Notes when users were last there. Of those who want to be seen as offline nothing is noted: it would tell that they were there.
pub async fn note_last_seen(
    pool: &PgPool,
    seen: &[(UserId, Timestamp)],
) -> Result<(), sqlx::Error> {
    if seen.is_empty() {
        return Ok(());
    }
    let (users, moments): (Vec<UserId>, Vec<Timestamp>) = seen.iter().copied().unzip();
    // In one order, so that two who note the same people at once do not wait for each other in a circle.
    sqlx::query(
        "WITH told AS (
           SELECT u.id, seen.at FROM unnest($1::uuid[], $2::timestamptz[]) AS seen (id, at) JOIN users u ON u.id = seen.id
           WHERE u.role <> 'guest' AND NOT u.appears_offline AND u.last_seen_at < seen.at ORDER BY u.id FOR UPDATE OF u)
         UPDATE users u SET last_seen_at = told.at FROM told WHERE u.id = told.id",
    )
    .bind(users)
    .bind(moments)
    .execute(pool)
    .await
    .map(|_| ())
}
