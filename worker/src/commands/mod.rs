//! What whoever runs a deployment does beside running workers, mostly with its database: one file per command. Nothing here serves anybody.
//!
//! What cannot be undone asks first, and refuses where environment is production unless it is told that this is meant.

pub mod config;
pub mod create_admin;
pub mod healthcheck;
pub mod migrate;
pub mod progress;
pub mod reset;
pub mod seed;

use confab_shared::postgres::{DatabaseConfig, pool};
use sqlx::PgPool;

/// A pool for commands that take as long as they take, by whatever plan is best for all rows.
pub fn patient_pool(config: &DatabaseConfig) -> Result<PgPool, sqlx::Error> {
    let config = DatabaseConfig {
        // No limit.
        statement_timeout_ms: 0,
        max_connections: 2,
        ..config.clone()
    };
    pool(&config, "confab-command")
}
