//! A database of a given size, made by the server itself from series of numbers.

use std::fmt;

use confab_shared::id::{ConversationId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Accounts.
    pub(crate) users: i32,
    /// Conversations of the one user who looks.
    pub(crate) conversations: i32,
    /// Messages in one of them.
    pub(crate) messages: i32,
    /// Public rooms.
    pub(crate) rooms: i32,
}

impl Size {
    /// A little.
    pub(crate) fn small() -> Self {
        Self {
            users: 2_000,
            conversations: 100,
            messages: 10_000,
            rooms: 200,
        }
    }

    /// A lot, or a part of it.
    pub(crate) fn large(divide: u32) -> Self {
        let part = |whole: i32| whole / i32::try_from(divide).unwrap_or(1).max(1);
        Self {
            users: part(200_000),
            conversations: part(10_000),
            messages: part(1_000_000),
            rooms: part(20_000),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            users,
            conversations,
            messages,
            rooms,
        } = self;
        write!(
            f,
            "{users} users, {conversations} conversations of one of them, {messages} messages in one of these, {rooms} rooms"
        )
    }
}

/// The user who looks.
pub(crate) fn viewer() -> UserId {
    UserId(numbered(USERS, 1))
}

/// The conversation with many messages.
pub(crate) fn long() -> ConversationId {
    ConversationId(numbered(CONVERSATIONS, 1))
}

const USERS: u128 = 0x0190_0000_0000_7000_9000_0000_0000_0000;
const CONVERSATIONS: u128 = 0x0190_0000_0000_7000_a000_0000_0000_0000;

fn numbered(space: u128, number: u128) -> Uuid {
    Uuid::from_u128(space + number)
}

/// Ids as [`numbered`] makes them.
const IDS: &str = "
CREATE FUNCTION pg_temp.a_user(n int) RETURNS uuid IMMUTABLE LANGUAGE sql AS
$$ SELECT ('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.a_conversation(n int) RETURNS uuid IMMUTABLE LANGUAGE sql AS
$$ SELECT ('01900000-0000-7000-a000-' || lpad(to_hex(n), 12, '0'))::uuid $$";

/// The statements, each with the numbers that it takes. Conversation 1 is the long one; the viewer's others have three messages each, and
/// every other user has a few conversations of their own. Activity is spread over a month; `n * 0` has each row draw a moment of its own. Nothing is read from a disk that a running
/// deployment would not have in memory: the last step is what autovacuum does.
fn steps(size: Size) -> [(&'static str, i32); 10] {
    [
        (
            "INSERT INTO users (id, email, username, name, password_hash)
             SELECT pg_temp.a_user(n), 'user' || n || '@example.com', 'user' || n, 'User ' || n, '!' FROM generate_series(1, $1) n",
            size.users,
        ),
        (
            "CREATE TEMP TABLE talk AS
             SELECT n, date_trunc('milliseconds', now() - random() * interval '30 days') AS at, random() * interval '5 min' AS behind
             FROM generate_series(1, $1) n",
            size.conversations,
        ),
        (
            "INSERT INTO conversations (id, kind, name, created_by, last_seq, message_count, created_at, updated_at, changed_at, listed_at)
             SELECT pg_temp.a_conversation(n), 'group', 'Conversation ' || n, pg_temp.a_user(1), m + 1, m, at - interval '60 days', at, at,
                    at - behind
             FROM talk CROSS JOIN LATERAL (SELECT CASE WHEN n = 1 THEN $1 ELSE 3 END AS m) count",
            size.messages,
        ),
        (
            "INSERT INTO memberships (conversation_id, user_id, role, read_count, change_seq, joined_seq, joined_at, listed_at)
             SELECT pg_temp.a_conversation(n), pg_temp.a_user(u), 'member', CASE WHEN n = 1 THEN 1000 ELSE 2 END, 1, 1,
                    at - interval '60 days', at - behind
             FROM talk CROSS JOIN LATERAL (VALUES (1), (2 + n % ($1 - 3)), (3 + n % ($1 - 3))) AS member (u)",
            size.users,
        ),
        (
            "INSERT INTO messages (conversation_id, seq, change_seq, ordinal, sender_id, type, content, command_id, created_at)
             SELECT pg_temp.a_conversation(n), o + 1, o + 1, o, pg_temp.a_user(1 + o % 2), 'text', 'What is said here is of usual length', gen_random_uuid(),
                    at - (3 - o) * interval '1 minute'
             FROM talk CROSS JOIN generate_series(1, 3) o WHERE n > 1 AND $1 > 0",
            1,
        ),
        (
            "INSERT INTO messages (conversation_id, seq, change_seq, ordinal, sender_id, type, content, command_id, created_at)
             SELECT pg_temp.a_conversation(1), o + 1, o + 1, o, pg_temp.a_user(1 + o % 3), 'text', 'What is said here is of usual length', gen_random_uuid(),
                    at - ($1 - o) * interval '1 second'
             FROM talk CROSS JOIN generate_series(1, $1) o WHERE n = 1",
            size.messages,
        ),
        (
            "UPDATE messages SET content = '', deleted_at = created_at, deleted_by = sender_id
             WHERE conversation_id = pg_temp.a_conversation(1) AND ordinal % ($1 / 20) = 0",
            size.messages,
        ),
        (
            "WITH made AS (
                 INSERT INTO conversations (id, kind, created_by, last_seq, created_at, updated_at, changed_at, listed_at)
                 SELECT gen_random_uuid(), 'direct', pg_temp.a_user(n), 1, at, at, at, at
                 FROM generate_series(2, $1, 2) n, LATERAL (SELECT date_trunc('milliseconds', now() - (random() + n * 0) * interval '30 days') AS at) moment
                 RETURNING id, created_by, updated_at
             )
             INSERT INTO memberships (conversation_id, user_id, role, change_seq, joined_seq, joined_at, listed_at)
             SELECT id, member, 'member', 1, 1, updated_at, updated_at
             FROM made CROSS JOIN LATERAL (VALUES (created_by), (pg_temp.a_user(3 + abs(hashtext(id::text)) % ($1 - 3)))) AS m (member)
             ON CONFLICT DO NOTHING",
            size.users,
        ),
        (
            "WITH made AS (
                 INSERT INTO conversations (id, kind, name, created_by, last_seq, created_at, updated_at, changed_at, listed_at)
                 SELECT gen_random_uuid(), 'room', 'Room ' || n, pg_temp.a_user(2), 1, at, at, at, at
                 FROM generate_series(1, $1) n, LATERAL (SELECT date_trunc('milliseconds', now() - (random() + n * 0) * interval '30 days') AS at) moment
                 RETURNING id
             )
             INSERT INTO room_slugs (slug, conversation_id) SELECT 'room-' || row_number() OVER (), id FROM made",
            size.rooms,
        ),
        (
            "UPDATE memberships SET read_count = $1 WHERE conversation_id = pg_temp.a_conversation(1) AND user_id = pg_temp.a_user(1)",
            size.messages / 2,
        ),
    ]
}

/// Fills an empty, migrated database.
pub(crate) async fn fill(pool: &PgPool, size: Size) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(IDS).execute(pool).await?;
    sqlx::query("SET synchronous_commit = off")
        .execute(pool)
        .await?;
    for (statement, number) in steps(size) {
        sqlx::query(statement)
            .bind(number)
            .persistent(false)
            .execute(pool)
            .await?;
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(pool).await?;
    Ok(())
}
