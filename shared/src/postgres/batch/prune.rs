//! Forgetting commands that are too old to be delivered again.

use sqlx::PgPool;

use crate::model::timestamp::Timestamp;

/// How many rows one statement takes away: few enough to hold its locks for milliseconds.
const PAGE: i64 = 1_000;

/// Takes away the memory of commands that took effect before a moment, in bounded steps. Answers how many.
pub async fn prune_applied(pool: &PgPool, before: Timestamp) -> Result<u64, sqlx::Error> {
    let mut pruned = 0;
    loop {
        let page = sqlx::query(
            "DELETE FROM applied_commands WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM applied_commands WHERE applied_at < $1 LIMIT $2
             ))",
        )
        .bind(before)
        .bind(PAGE)
        .execute(pool)
        .await?
        .rows_affected();
        pruned += page;
        if page == 0 {
            return Ok(pruned);
        }
    }
}
