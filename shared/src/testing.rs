//! What tests share: settings as their files have them, and a database of their own on the server of a running cluster.
//!
//! The cluster is named by `CONFAB_TEST_STATE`, the path of its `state.json`; `deploy/test` starts one and sets it. Nothing here is
//! compiled into the programs.

use std::env;
use std::fs;
use std::future::Future;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::postgres::{self, DatabaseConfig};
use crate::redis::RedisConfig;

/// No time-out that a test is not about ends anything before this: a machine that stands still is no fault.
const TIMEOUT_MS: u64 = 60_000;

/// A Redis that may be slow.
pub fn redis_at(url: impl Into<String>) -> RedisConfig {
    RedisConfig {
        command_timeout_ms: TIMEOUT_MS,
        connect_timeout_ms: TIMEOUT_MS,
        ..RedisConfig::at(url)
    }
}

/// The settings of a defaults file, whatever the environment says.
///
/// # Panics
/// If the file does not have all of them.
#[expect(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its set-up as well"
)]
pub fn defaults<T: DeserializeOwned>(file: &str) -> T {
    Figment::from(Toml::string(file)).extract().unwrap()
}

/// Runs a test on a fresh, migrated database that is dropped after it, whether it passed or not. `connect` makes the test's pool.
///
/// # Panics
/// If there is no cluster, if its server refuses, or if the test does.
#[expect(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its set-up as well"
)]
pub fn on_fresh_database<F: Future<Output = ()> + Send + 'static>(
    connect: impl FnOnce(&DatabaseConfig, &str) -> Result<PgPool, sqlx::Error>,
    test: impl FnOnce(PgPool) -> F,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = server_url();
        let name = format!("confab_it_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.unwrap();
        // Behind the question mark is how the server is to be trusted.
        let (path, trust) = server.split_at(server.find('?').unwrap_or(server.len()));
        let (base, _) = path.rsplit_once('/').unwrap();
        let config = DatabaseConfig {
            acquire_timeout_ms: TIMEOUT_MS,
            statement_timeout_ms: TIMEOUT_MS,
            idle_in_transaction_timeout_ms: TIMEOUT_MS,
            ..DatabaseConfig::at(format!("{base}/{name}{trust}"))
        };
        let pool = connect(&config, "confab-it").unwrap();
        postgres::migrate(&pool).await.unwrap();
        let outcome = tokio::spawn(test(pool.clone())).await;
        pool.close().await;
        // The server's own processes, which may be tidying up in it, cannot be told to go: they are waited for, and if that takes long, the
        // database goes with the cluster.
        for _ in 0..50 {
            let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
            if sqlx::query(drop).execute(&mut admin).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if let Err(failed) = outcome {
            std::panic::resume_unwind(failed.into_panic());
        }
    });
}

#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise, in its set-up as well"
)]
fn state() -> serde_json::Value {
    let path = env::var("CONFAB_TEST_STATE")
        .expect("CONFAB_TEST_STATE names the state file of a running cluster");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[expect(
    clippy::expect_used,
    reason = "a test stops at the first surprise, in its set-up as well"
)]
fn server_url() -> String {
    state()["postgres"]["url"]
        .as_str()
        .expect("postgres.url in the state file")
        .to_owned()
}

/// Where the running cluster's Redis is.
///
/// # Panics
/// If there is no cluster.
#[expect(
    clippy::expect_used,
    reason = "a test stops at the first surprise, in its set-up as well"
)]
pub fn redis_url() -> String {
    state()["redis"]["url"]
        .as_str()
        .expect("redis.url in the state file")
        .to_owned()
}
