//! The partitions' rows: how many there are, and the epoch that fences each one's former owners.

use std::error::Error;
use std::io;
use std::time::Duration;

use sqlx::PgPool;

use super::within;
use crate::id::{Partition, WorkerId};

/// From one attempt to reach a database that is away to the next.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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

/// The same, by a process that starts: waits for a database that is away but not for one that is wrong. One that does not answer within
/// `patience` is away.
pub async fn check_when_there(
    pool: &PgPool,
    count: u16,
    patience: Duration,
) -> Result<(), PartitionError> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match within(patience, check(pool, count)).await {
            Err(PartitionError::Database(error)) if is_away(&error) => {
                if pause == SHORTEST_PAUSE {
                    tracing::warn!(%error, "PostgreSQL does not answer; waiting for it");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

/// Whether PostgreSQL is not there yet. One that is there and does not let us in, or that we do not trust, is not waited for: that is to be seen.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => !is_distrust(error),
        sqlx::Error::PoolTimedOut => true,
        // How the library puts it that the connection was closed before anything was said: a proxy that finds no server, or one that is ending.
        sqlx::Error::Protocol(what) => {
            what.starts_with("unexpected response from SSLRequest: 0x00")
        }
        // Class 57P: it is starting or ending; 08: connection exceptions; 53: it has no room for another connection.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["57P", "08", "53"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// Whether a connection ended because one side does not believe the other's certificate.
fn is_distrust(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
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

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn who_is_not_trusted_is_not_waited_for() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(is_away(&sqlx::Error::Io(refused)));
        assert!(is_away(&sqlx::Error::PoolTimedOut));
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let distrust = io::Error::new(io::ErrorKind::InvalidData, unknown);
        assert!(!is_away(&sqlx::Error::Io(distrust)));
    }
}
