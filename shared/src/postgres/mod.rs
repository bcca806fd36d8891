//! PostgreSQL: the only truth. Every SQL statement of Confab is in this module.

pub mod admins;
pub mod batch;
pub mod changes;
mod config;
pub mod contacts;
pub mod conversations;
mod listing;
pub mod memberships;
pub mod messages;
pub mod partitions;
pub mod rooms;
pub mod schema;
pub mod seed;
pub mod tokens;
pub mod unread;
pub mod users;

use std::future::Future;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use config::DatabaseConfig;
pub use schema::migrate;

/// A pool of connections, made as they are needed. Fails only on settings that cannot work.
pub fn pool(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    Ok(lazy_pool(config, connect_options(config, application)?))
}

/// A pool for statements that look up everything by key, as the worker's do: plans that read whole tables are not made.
///
/// Those plans are the better ones while a table has a few pages. Kept for a connection's life, they would make every batch
/// slower with every conversation.
pub fn pool_by_key(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    let off = || "off".to_owned();
    let options = connect_options(config, application)?.options([
        ("enable_seqscan", off()),
        ("enable_hashjoin", off()),
        ("enable_mergejoin", off()),
        // Nor those that read a whole index: once and keep it at hand, or once for all rows.
        ("enable_material", off()),
        ("random_page_cost", "100".to_owned()),
    ]);
    Ok(lazy_pool(config, options))
}

fn connect_options(
    config: &DatabaseConfig,
    application: &str,
) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(config.options()?.application_name(application).options([
        ("statement_timeout", config.statement_timeout_ms.to_string()),
        (
            "idle_in_transaction_session_timeout",
            config.idle_in_transaction_timeout_ms.to_string(),
        ),
        // Plans for arrays of unknown size are made once; the sizes differ too little to plan each anew.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        // Compiling a plan takes longer than any statement here.
        ("jit", "off".to_owned()),
    ]))
}

fn lazy_pool(config: &DatabaseConfig, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .connect_lazy_with(options)
}

/// The answer, if it comes within `patience`: longer than that, and nobody is there (see [`DatabaseConfig::patience`]).
pub async fn within<T, E: From<sqlx::Error>>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(patience, answer)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

/// Asks until there is an answer, with growing pauses. A connection whose other end is gone without a word is given up after
/// `patience`. For what has to be known sooner or later, whatever happens to PostgreSQL meanwhile.
pub async fn until_answered<T, F>(
    patience: Duration,
    failed: &'static str,
    ask: impl Fn() -> F,
) -> T
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);
    let mut pause = SHORTEST_PAUSE;
    loop {
        match tokio::time::timeout(patience, ask()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => tracing::warn!(%error, "{failed}; trying again"),
            Err(_) => tracing::warn!("{failed}: the database does not answer; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks PostgreSQL for a sign of life.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_waited_for_without_end() {
        let patience = Duration::from_millis(10);
        let silence = std::future::pending::<Result<i64, sqlx::Error>>();
        let outcome = within(patience, silence).await;
        assert!(matches!(outcome, Err(sqlx::Error::PoolTimedOut)));
        let refused = within(patience, async { Err::<i64, _>(sqlx::Error::RowNotFound) }).await;
        assert!(matches!(refused, Err(sqlx::Error::RowNotFound)));
    }
}
