//! Forgetting commands that are too old to be delivered again.

use sqlx::PgPool;

use crate::model::timestamp::Timestamp;

/// How much of the table one statement looks at, in blocks of 8 KiB: some thousand rows.
const STEP: i64 = 128;

/// Takes away the memory of commands that took effect before a moment, in bounded steps. Answers how many.
///
/// One pass over the table, block by block. Rows that go make room for new ones anywhere, so their places say nothing about their
/// age; and an index by age would cost every command something, to spare what is done once an hour.
pub async fn prune_applied(pool: &PgPool, before: Timestamp) -> Result<u64, sqlx::Error> {
    let blocks: i64 = sqlx::query_scalar(
        "SELECT pg_relation_size('applied_commands') / current_setting('block_size')::bigint",
    )
    .fetch_one(pool)
    .await?;
    let (mut pruned, mut block) = (0, 0);
    // What is added meanwhile is new.
    while block < blocks {
        let next = block + STEP;
        pruned += sqlx::query(
            "DELETE FROM applied_commands WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND applied_at < $3",
        )
        .bind(format!("({block},0)"))
        .bind(format!("({next},0)"))
        .bind(before)
        .execute(pool)
        .await?
        .rows_affected();
        block = next;
    }
    Ok(pruned)
}
