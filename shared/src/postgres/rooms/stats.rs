//! How much there is, told in the same time however much it is.

use sqlx::PgPool;

/// Up to how many accounts and rooms are counted one by one.
const COUNTED: i64 = 1_000;

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
pub struct Stats {
    /// Rooms that have not ended. Exact up to 1 000; beyond that PostgreSQL's own estimate, which its autovacuum renews whenever a
    /// tenth of the table has changed.
    pub total_rooms: i64,
    /// Accounts, without guests. As exact as `total_rooms`.
    pub total_users: i64,
    /// Messages ever stored, deleted ones included, as their numbers count them: all share one sequence and none is ever taken
    /// away. Too high by the numbers that were lost with transactions which failed; those are few.
    pub total_messages: i64,
    /// Messages stored during the last 60 seconds, counted in the same way.
    pub messages_per_minute: f64,
}

/// How much there is, from a bounded number of index entries: a count of all rows would take longer with each of them.
pub async fn stats(pool: &PgPool) -> Result<Stats, sqlx::Error> {
    // The last minute's messages: their numbers rise with time, so the first of them is found by halving. The first message after
    // the number `low` is older, that after `high` is not, or there is none.
    sqlx::query_as(
        "WITH RECURSIVE newest AS (
             SELECT COALESCE(max(id), 0) AS id FROM messages
         ), halving (low, high) AS (
             SELECT -1::bigint, id FROM newest
             UNION ALL
             SELECT CASE WHEN probe.recent THEN low ELSE middle.id END, CASE WHEN probe.recent THEN middle.id ELSE high END
             FROM halving
             CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS id) middle
             CROSS JOIN LATERAL (
                 SELECT COALESCE((SELECT m.created_at >= now() - interval '1 minute'
                                  FROM messages m WHERE m.id > middle.id ORDER BY m.id LIMIT 1), true) AS recent
             ) probe
             WHERE high - low > 1
         ), counted AS (
             -- In the order of the indexes that hold these alone: without it whole tables may be read to find a few.
             SELECT (SELECT count(*) FROM (
                         SELECT 1 FROM conversations WHERE kind = 'room' AND deleted_at IS NULL
                         ORDER BY listed_at DESC, id DESC LIMIT $1 + 1) AS one_by_one) AS rooms,
                    (SELECT count(*) FROM (
                         SELECT 1 FROM users WHERE role <> 'guest' ORDER BY lower(username) USING ~<~ LIMIT $1 + 1) AS one_by_one) AS users
         ), estimated AS (
             -- The indexes that hold rooms and accounts alone: the estimate of a whole table would count others too.
             SELECT max(reltuples::bigint) FILTER (WHERE oid = to_regclass('conversations_rooms')) AS rooms,
                    max(reltuples::bigint) FILTER (WHERE oid = to_regclass('users_username')) AS users
             FROM pg_class WHERE oid IN (to_regclass('conversations_rooms'), to_regclass('users_username'))
         )
         SELECT CASE WHEN counted.rooms <= $1 THEN counted.rooms ELSE GREATEST(counted.rooms, estimated.rooms) END AS total_rooms,
                CASE WHEN counted.users <= $1 THEN counted.users ELSE GREATEST(counted.users, estimated.users) END AS total_users,
                newest.id AS total_messages,
                (newest.id - (SELECT min(high) FROM halving))::double precision AS messages_per_minute
         FROM newest, counted, estimated",
    )
    .bind(COUNTED)
    .fetch_one(pool)
    .await
}
