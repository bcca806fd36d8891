//! The schema: bringing it up to date, and taking it away.
//!
//! Both are for whoever runs a deployment, not for programs that serve. Owns the list of what the migrations make.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::migrate::MigrateError;

/// The schema's migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// For how long taking the schema away waits for whoever still uses it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

/// A migration that was just applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// What it is called.
    pub description: String,
    /// How long it took.
    pub took: Duration,
}

/// Brings the schema up to date.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    migrate_telling(pool, |_, _| ()).await
}

/// Brings the schema up to date and tells of every migration as it is applied, with how many are still to come.
///
/// A migration takes as long as it takes: the pool's limit on statements must not be that of programs that serve.
pub async fn migrate_telling(
    pool: &PgPool,
    mut tell: impl FnMut(Applied, usize),
) -> Result<(), MigrateError> {
    let applied = applied(pool).await?;
    let mut pending: Vec<_> = MIGRATIONS
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .collect();
    pending.reverse();
    while let Some(migration) = pending.pop() {
        let started = Instant::now();
        MIGRATIONS.run_to(migration.version, pool).await?;
        let applied = Applied {
            version: migration.version,
            description: migration.description.to_string(),
            took: started.elapsed(),
        };
        tell(applied, pending.len());
    }
    // With nothing pending this still checks that what was applied is what is here.
    MIGRATIONS.run(pool).await
}

async fn applied(pool: &PgPool) -> Result<Vec<i64>, sqlx::Error> {
    let table: Option<String> = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text")
        .fetch_one(pool)
        .await?;
    if table.is_none() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(pool)
        .await
}

/// The name of the database that a pool is connected to.
pub async fn database_name(pool: &PgPool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(pool)
        .await
}

/// The programs of Confab that are connected to the database, beside this one.
pub async fn others_connected(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT DISTINCT application_name FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name IN ('confab-gateway', 'confab-worker')
         ORDER BY application_name",
    )
    .fetch_all(pool)
    .await
}

/// Takes away everything that the migrations made, with all that is in it. What others keep in the same database stays.
pub async fn drop_all(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *transaction).await?;
    sqlx::query(
        "DROP TABLE IF EXISTS deliveries, applied_commands, messages, senders, memberships, room_slugs, revoked_tokens, conversations, users,
             partitions, _sqlx_migrations",
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query("DROP FUNCTION IF EXISTS accounts_may_send()")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
