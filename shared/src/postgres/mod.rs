//! PostgreSQL: the only truth. Every SQL statement of Confab is in this module.

pub mod batch;
pub mod changes;
pub mod conversations;
pub mod messages;
pub mod partitions;
pub mod seed;
pub mod users;

use std::time::Duration;

use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// How PostgreSQL is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct DatabaseConfig {
    /// Where, as a `postgres://` URL.
    pub url: String,
    /// The most connections this process holds.
    pub max_connections: u32,
    /// How long a request waits for a free connection before it fails, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long one statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long a transaction may sit idle before the server ends it, in milliseconds. A worker that is stopped in the middle of one
    /// holds its partition's row for no longer than this.
    pub idle_in_transaction_timeout_ms: u64,
}

/// The schema's migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A pool of connections, made as they are needed. Fails only on settings that cannot work.
pub fn pool(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    let options: PgConnectOptions = config.url.parse()?;
    let options = options.application_name(application).options([
        ("statement_timeout", config.statement_timeout_ms.to_string()),
        (
            "idle_in_transaction_session_timeout",
            config.idle_in_transaction_timeout_ms.to_string(),
        ),
        // Plans for arrays of unknown size are made once; the sizes differ too little to plan each anew.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .connect_lazy_with(options))
}

/// Brings the schema up to date.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATIONS.run(pool).await
}

/// Asks PostgreSQL for a sign of life.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(|_| ())
}
