//! The partitions' rows: how many there are, and the epoch that fences each one's former owners.

use sqlx::PgPool;

use crate::id::{Partition, WorkerId};

/// Why a deployment's partitions do not serve.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// PostgreSQL did not answer as it should.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The setting was changed after the deployment was made.
    #[error(
        "partitions.count is {configured}, but this deployment was made with {recorded}; the number can never change"
    )]
    Changed {
        /// What the configuration says.
        configured: u16,
        /// What the database was made with.
        recorded: i64,
    },
    /// Nobody has migrated yet.
    #[error("the database has no partitions; run `confab-worker migrate` first")]
    Missing,
}

/// Records the number of partitions if none is recorded yet, and checks it.
pub async fn prepare(pool: &PgPool, count: u16) -> Result<(), PartitionError> {
    sqlx::query(
        "INSERT INTO partitions (id)
         SELECT generate_series(0, $1::int - 1) WHERE NOT EXISTS (SELECT 1 FROM partitions)
         ON CONFLICT DO NOTHING",
    )
    .bind(i32::from(count))
    .execute(pool)
    .await?;
    check(pool, count).await
}

/// Checks that the configured number of partitions is the one that this deployment was made with.
pub async fn check(pool: &PgPool, count: u16) -> Result<(), PartitionError> {
    // A database that was never migrated has no such table: the same remedy as for an empty one.
    let table: Option<String> = sqlx::query_scalar("SELECT to_regclass('partitions')::text")
        .fetch_one(pool)
        .await?;
    if table.is_none() {
        return Err(PartitionError::Missing);
    }
    let recorded: i64 = sqlx::query_scalar("SELECT count(*) FROM partitions")
        .fetch_one(pool)
        .await?;
    match recorded {
        0 => Err(PartitionError::Missing),
        _ if recorded == i64::from(count) => Ok(()),
        _ => Err(PartitionError::Changed {
            configured: count,
            recorded,
        }),
    }
}

/// Makes a worker the owner of a partition and answers the new epoch: from here on nothing commits under an earlier one.
///
/// Waits for a batch that is being committed under the earlier epoch.
pub async fn take_over(
    pool: &PgPool,
    partition: Partition,
    worker: WorkerId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE partitions SET epoch = epoch + 1, owner = $2, taken_at = now() WHERE id = $1 RETURNING epoch",
    )
    .bind(row_id(partition))
    .bind(worker)
    .fetch_one(pool)
    .await
}

/// A partition's primary key. The column is narrower than the type, and the configuration narrower than the column.
pub(super) fn row_id(partition: Partition) -> i16 {
    i16::try_from(partition.0).unwrap_or(i16::MAX)
}
