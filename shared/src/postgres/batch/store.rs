//! Making a batch a fact: one statement, which is one transaction.

use sqlx::PgConnection;

use super::rows::{ChangedConversation, ChangedInfo, Changes};
use crate::id::{MessageId, Partition};
use crate::postgres::listing::listing_distance;
use crate::postgres::partitions::row_id;

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is committed; the new messages have these numbers, in their order.
    Committed(Vec<MessageId>),
    /// Nothing happened: these partitions have another owner.
    Fenced(Vec<Partition>),
    /// Nothing happened: a conversation is not as it was when the batch was decided. An earlier attempt whose answer was lost
    /// may have been committed after all. Decide anew.
    Stale,
}

/// The most present members of a conversation to whose rows its activity is written; the statement's own number. Who takes it beyond says
/// so: that is noted at once, while its former members are few enough to be written to.
pub const MAX_RELISTED: i64 = 256;

/// That a membership `m` has not ended, in words by which PostgreSQL does not recognise the condition of the index `memberships_listed`: planning
/// while the tables are still empty it would take that index to find a conversation's members, and walk all of it.
macro_rules! is_present {
    ($member:literal) => {
        concat!("COALESCE(", $member, ".left_at, 'infinity') = 'infinity'")
    };
}

/// Where a conversation `c` that was active moves in its members' lists: to the present, or for good to where all are always looked at, if
/// it has too many members to be written to. `v`: what is known of it.
macro_rules! listed_at {
    ($known:literal) => {
        concat!(
            "CASE WHEN ",
            $known,
            ".crowded OR (SELECT count(*) FROM (SELECT 1 FROM memberships p WHERE p.conversation_id = c.id AND ",
            is_present!("p"),
            " LIMIT 257) AS present)
                   > 256
              THEN 'infinity' ELSE go.at END"
        )
    };
}

/// The statement. Its first parts lock and compare; the others find no row to act on unless everything is as it was.
///
/// `fence`: the partitions under the epochs that the caller took. Taking over needs the same row, so it waits for the commit.
/// `unmoved`: the changed conversations at their former `last_seq`. `go`: a row if nothing is missing from either. `raised`: the
/// conversations that are due for another `listed_at` (see `postgres::listing`), looked for first: most often there are none, and their members
/// need not be. A row may be written only once: so `relisted` leaves
/// out the memberships that `members` writes. What is due is worked out three times rather than looked up in `raised`, which has no
/// index: a batch may raise as many conversations as it has commands.
const STORE: &str = concat!(
    "
WITH fence AS (
    SELECT p.id
    FROM unnest($1::smallint[], $2::bigint[]) AS f (id, epoch)
    JOIN partitions p ON p.id = f.id AND p.epoch = f.epoch
    FOR SHARE OF p
), unmoved AS (
    SELECT c.id, c.listed_at, v.active, v.crowded
    FROM unnest($4::uuid[], $5::bigint[], $8::boolean[], $58::boolean[]) AS v (id, previous_seq, active, crowded)
    CROSS JOIN LATERAL (SELECT id, listed_at FROM conversations WHERE id = v.id AND last_seq = v.previous_seq FOR NO KEY UPDATE) AS c
), go AS (
    SELECT $3::timestamptz AS at
    WHERE (SELECT count(*) FROM fence) = cardinality($1) AND (SELECT count(*) FROM unmoved) = cardinality($4)
), raised AS MATERIALIZED (
    SELECT c.id, ",
    listed_at!("c"),
    " AS listed_at
    FROM go, unmoved c
    WHERE c.active AND (c.crowded AND c.listed_at < 'infinity' OR go.at > c.listed_at + ",
    listing_distance!(),
    ")
), created AS (
    INSERT INTO conversations (id, kind, name, description, max_users, created_by, last_seq, message_count, created_at, updated_at,
        listed_at, changed_at, info_seq, info_by, info_at, deleted_at)
    SELECT n.id, n.kind, n.name, n.description, n.max_users, n.created_by, n.last_seq, n.message_count, go.at, go.at,
        CASE WHEN n.crowded THEN 'infinity' ELSE go.at END, go.at, COALESCE(n.info_seq, 0), n.info_by, CASE WHEN n.info_seq IS NOT NULL THEN go.at END, CASE WHEN n.ended THEN go.at END
    FROM go, unnest($9::uuid[], $10::text[], $11::text[], $12::uuid[], $13::bigint[], $14::bigint[], $44::text[], $45::integer[],
        $46::bigint[], $47::uuid[], $48::boolean[], $57::boolean[])
        AS n (id, kind, name, created_by, last_seq, message_count, description, max_users, info_seq, info_by, ended, crowded)
), changed AS (
    UPDATE conversations c
    SET last_seq = v.last_seq,
        message_count = v.message_count,
        -- Never back, whoever's clock is behind.
        updated_at = CASE WHEN v.active THEN GREATEST(c.updated_at, go.at) ELSE c.updated_at END,
        listed_at = CASE WHEN v.active AND (v.crowded OR go.at > c.listed_at + ",
    listing_distance!(),
    ") THEN ",
    listed_at!("v"),
    " ELSE c.listed_at END,
        changed_at = go.at,
        name = CASE WHEN v.info_seq IS NULL THEN c.name ELSE v.name END,
        description = CASE WHEN v.info_seq IS NULL THEN c.description ELSE v.description END,
        max_users = CASE WHEN v.info_seq IS NULL THEN c.max_users ELSE v.max_users END,
        info_seq = COALESCE(v.info_seq, c.info_seq),
        info_by = COALESCE(v.info_by, c.info_by),
        info_at = CASE WHEN v.info_seq IS NULL THEN c.info_at ELSE go.at END,
        deleted_at = CASE WHEN v.ended THEN go.at ELSE c.deleted_at END
    FROM go, unnest($4::uuid[], $6::bigint[], $7::bigint[], $8::boolean[], $49::bigint[], $50::uuid[], $51::text[], $52::text[],
        $53::integer[], $54::boolean[], $58::boolean[])
        AS v (id, last_seq, message_count, active, info_seq, info_by, name, description, max_users, ended, crowded)
    WHERE c.id = v.id
), members AS (
    INSERT INTO memberships AS m (conversation_id, user_id, role, read_count, read_seq, read_message_id, read_at, change_seq,
        joined_seq, joined_at, left_at, removed_by, listed_at)
    SELECT n.conversation, n.user_id, n.role, n.read_count, n.read_seq, n.read_message_id, n.read_at, n.change_seq, n.joined_seq,
        n.joined_at, n.left_at, n.removed_by,
        CASE WHEN c.id IS NULL THEN CASE WHEN n.crowded THEN 'infinity' ELSE go.at END
             WHEN n.active AND (n.crowded OR go.at > c.listed_at + ",
    listing_distance!(),
    ") THEN ",
    listed_at!("n"),
    "
             ELSE c.listed_at END
    FROM go CROSS JOIN unnest($15::uuid[], $16::uuid[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::timestamptz[],
        $22::bigint[], $23::bigint[], $24::timestamptz[], $25::timestamptz[], $26::uuid[], $56::boolean[], $59::boolean[])
        AS n (conversation, user_id, role, read_count, read_seq, read_message_id, read_at, change_seq, joined_seq, joined_at, left_at,
              removed_by, active, crowded)
    LEFT JOIN conversations c ON c.id = n.conversation
    ON CONFLICT (conversation_id, user_id) DO UPDATE
    SET role = excluded.role, read_count = excluded.read_count, read_seq = excluded.read_seq,
        read_message_id = excluded.read_message_id, read_at = excluded.read_at, change_seq = excluded.change_seq,
        joined_seq = excluded.joined_seq, joined_at = excluded.joined_at, left_at = excluded.left_at, removed_by = excluded.removed_by,
        listed_at = excluded.listed_at
), relisted AS (
    UPDATE memberships m SET listed_at = raised.listed_at
    FROM raised
    WHERE m.conversation_id = raised.id AND ",
    is_present!("m"),
    "
      AND (m.conversation_id, m.user_id) NOT IN (SELECT * FROM unnest($15::uuid[], $16::uuid[]))
), guests AS (
    INSERT INTO senders (user_id)
    SELECT n.id FROM go, unnest($55::uuid[]) AS n (id)
    -- In the same order as whoever else may be at it, so that neither waits for the other.
    ORDER BY n.id
    ON CONFLICT DO NOTHING
), sent AS (
    INSERT INTO messages (conversation_id, seq, change_seq, ordinal, sender_id, type, content, command_id, reply_to, created_at)
    SELECT n.conversation, n.seq, n.seq, n.ordinal, n.sender, n.type, n.content, n.command, n.reply_to, go.at
    FROM go, unnest($27::uuid[], $28::bigint[], $29::bigint[], $30::uuid[], $31::text[], $32::text[], $33::uuid[],
        $34::bigint[]) WITH ORDINALITY AS n (conversation, seq, ordinal, sender, type, content, command, reply_to, rank)
    ORDER BY n.rank
    RETURNING id
), messages_changed AS (
    UPDATE messages m
    SET change_seq = v.change_seq, content = v.content, edited_at = v.edited_at, deleted_at = v.deleted_at,
        deleted_by = v.deleted_by
    FROM go, unnest($35::bigint[], $36::bigint[], $37::text[], $38::timestamptz[], $39::timestamptz[], $40::uuid[])
        AS v (id, change_seq, content, edited_at, deleted_at, deleted_by)
    WHERE m.id = v.id
), applied AS (
    INSERT INTO applied_commands (conversation_id, command_id, outcome, applied_at)
    SELECT n.conversation, n.command, n.outcome, go.at
    FROM go, unnest($41::uuid[], $42::uuid[], $43::text[]) AS n (conversation, command, outcome)
)
SELECT ARRAY(SELECT id FROM fence) AS held, EXISTS (SELECT 1 FROM go) AS done, ARRAY(SELECT id FROM sent ORDER BY id) AS ids"
);

/// Commits a batch under the epochs that its partitions were taken over with, wholly or not at all.
///
/// Being one statement it is one transaction without a pause: a worker that is stopped at any point holds no lock for longer than
/// the server needs. New messages get their numbers in their order.
pub async fn store(
    connection: &mut PgConnection,
    fence: &[(Partition, i64)],
    batch: &Changes,
) -> Result<Stored, sqlx::Error> {
    let Changes {
        at,
        created,
        changed,
        members,
        sent,
        guests,
        messages,
        applied,
    } = batch;
    let result = sqlx::query_as::<_, (Vec<i16>, bool, Vec<MessageId>)>(STORE)
        .bind(column(fence, |(partition, _)| row_id(*partition)))
        .bind(column(fence, |(_, epoch)| *epoch))
        .bind(at)
        .bind(column(changed, |row| row.id))
        .bind(column(changed, |row| row.previous_seq))
        .bind(column(changed, |row| row.last_seq))
        .bind(column(changed, |row| row.message_count))
        .bind(column(changed, |row| row.active))
        .bind(column(created, |row| row.id))
        .bind(column(created, |row| row.kind))
        .bind(column(created, |row| row.name.as_deref()))
        .bind(column(created, |row| row.created_by))
        .bind(column(created, |row| row.last_seq))
        .bind(column(created, |row| row.message_count))
        .bind(column(members, |member| member.row.conversation))
        .bind(column(members, |member| member.row.user_id))
        .bind(column(members, |member| member.row.role))
        .bind(column(members, |member| member.row.read_count))
        .bind(column(members, |member| member.row.read_seq))
        .bind(column(members, |member| member.row.read_message_id))
        .bind(column(members, |member| member.row.read_at))
        .bind(column(members, |member| member.row.change_seq))
        .bind(column(members, |member| member.row.joined_seq))
        .bind(column(members, |member| member.row.joined_at))
        .bind(column(members, |member| member.row.left_at))
        .bind(column(members, |member| member.row.removed_by))
        .bind(column(sent, |row| row.conversation))
        .bind(column(sent, |row| row.seq))
        .bind(column(sent, |row| row.ordinal))
        .bind(column(sent, |row| row.sender))
        .bind(column(sent, |row| &*row.message_type))
        .bind(column(sent, |row| &*row.content))
        .bind(column(sent, |row| row.command))
        .bind(column(sent, |row| row.reply_to))
        .bind(column(messages, |row| row.id))
        .bind(column(messages, |row| row.change_seq))
        .bind(column(messages, |row| &*row.content))
        .bind(column(messages, |row| row.edited_at))
        .bind(column(messages, |row| row.deleted.map(|(at, _)| at)))
        .bind(column(messages, |row| row.deleted.map(|(_, by)| by)))
        .bind(column(applied, |row| row.conversation))
        .bind(column(applied, |row| row.command))
        .bind(column(applied, |row| row.outcome.as_str()))
        .bind(column(created, |row| row.description.as_deref()))
        .bind(column(created, |row| row.max_users))
        .bind(column(created, |row| row.info_change.map(|(seq, _)| seq)))
        .bind(column(created, |row| row.info_change.map(|(_, by)| by)))
        .bind(column(created, |row| row.ended))
        .bind(column(changed, |row| info(row).map(|info| info.seq)))
        .bind(column(changed, |row| info(row).map(|info| info.by)))
        .bind(column(changed, |row| {
            info(row).and_then(|info| info.name.as_deref())
        }))
        .bind(column(changed, |row| {
            info(row).and_then(|info| info.description.as_deref())
        }))
        .bind(column(changed, |row| {
            info(row).and_then(|info| info.max_users)
        }))
        .bind(column(changed, |row| {
            info(row).is_some_and(|info| info.ended)
        }))
        .bind(guests)
        .bind(column(members, |member| member.active))
        .bind(column(created, |row| row.crowded))
        .bind(column(changed, |row| row.crowded))
        .bind(column(members, |member| member.crowded))
        .fetch_one(connection)
        .await;
    let (held, done, ids) = match result {
        Ok(row) => row,
        // A row of this batch is there already: an earlier attempt was committed after all.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            return Ok(Stored::Stale);
        }
        Err(error) => return Err(error),
    };
    Ok(if done {
        Stored::Committed(ids)
    } else {
        obstacle(fence, &held)
    })
}

/// Why nothing happened, given which partitions of the fence are `held` under their epochs.
fn obstacle(fence: &[(Partition, i64)], held: &[i16]) -> Stored {
    let lost: Vec<Partition> = fence
        .iter()
        .map(|(partition, _)| *partition)
        .filter(|partition| !held.contains(&row_id(*partition)))
        .collect();
    if lost.is_empty() {
        Stored::Stale
    } else {
        Stored::Fenced(lost)
    }
}

fn info(row: &ChangedConversation) -> Option<&ChangedInfo> {
    row.info.as_ref()
}

/// One column of some rows, as the array that `unnest` takes.
fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
