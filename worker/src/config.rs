//! The worker's settings. `config.default.toml` says what each one means.

use std::time::Duration;

use confab_shared::config::{ConfigError, Environment, Loaded, load};
use confab_shared::postgres::DatabaseConfig;
use confab_shared::redis::RedisConfig;
use confab_shared::telemetry::{LogConfig, TracesConfig};
use serde::Deserialize;

/// The commented defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The most partitions a deployment may have: their ids are `smallint`s, and more would serve nobody.
const MAX_PARTITIONS: u16 = 1_024;

/// How many answers of Redis a lane waits for, one after the other, between two signs of life.
const ANSWERS: u32 = 3;

/// All settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Where the deployment stands.
    pub environment: Environment,
    /// The internal listener.
    pub http: HttpConfig,
    /// Partitions.
    pub partitions: PartitionsConfig,
    /// The consumer.
    pub worker: WorkerConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub traces: TracesConfig,
}

/// The internal listener.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct HttpConfig {
    pub internal_listen: String,
}

/// Partitions.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct PartitionsConfig {
    pub count: u16,
}

/// The consumer.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct WorkerConfig {
    pub lanes: u16,
    pub batch_size: usize,
    pub lease_ttl_ms: u64,
    pub heartbeat_ms: u64,
    pub drain_seconds: u64,
    pub history_window_seconds: u64,
    pub max_deliveries: u64,
    pub max_members: u32,
    pub applied_retention_seconds: u64,
}

impl WorkerConfig {
    /// From one renewal of the leases to the next.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// How long a lease holds after it was renewed.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_ms)
    }

    /// From the signal to the latest exit.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

impl Config {
    /// Reads the settings and checks what a type alone cannot.
    pub fn load() -> Result<Loaded<Self>, ConfigError> {
        let loaded = load::<Self>(DEFAULTS)?;
        loaded.config.check()?;
        Ok(loaded)
    }

    /// The longest of the steps after which a part of the worker gives a sign of life: waiting for PostgreSQL once, or for some answers of
    /// Redis.
    pub fn longest_step(&self) -> Duration {
        let redis = self.redis.command_timeout().saturating_mul(ANSWERS);
        self.database.patience().max(redis)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let worker = &self.worker;
        let positive = [
            ("partitions.count", u64::from(self.partitions.count)),
            ("worker.lanes", u64::from(worker.lanes)),
            ("worker.batch_size", worker.batch_size as u64),
            ("worker.heartbeat_ms", worker.heartbeat_ms),
            (
                "worker.history_window_seconds",
                worker.history_window_seconds,
            ),
            ("worker.max_deliveries", worker.max_deliveries),
            ("worker.max_members", u64::from(worker.max_members)),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::invalid(key, "must be at least 1"));
            }
        }
        if self.partitions.count > MAX_PARTITIONS {
            return Err(ConfigError::invalid(
                "partitions.count",
                format!("must be at most {MAX_PARTITIONS}"),
            ));
        }
        if worker.lease_ttl_ms < worker.heartbeat_ms.saturating_mul(2) {
            return Err(ConfigError::invalid(
                "worker.lease_ttl_ms",
                "must be at least twice worker.heartbeat_ms",
            ));
        }
        // Each lane holds a connection; taking a partition over and pruning need one beside.
        if self.database.max_connections <= u32::from(worker.lanes) {
            return Err(ConfigError::invalid(
                "database.max_connections",
                "must be more than worker.lanes",
            ));
        }
        self.redis.check()?;
        self.database.check()?;
        self.traces.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Config {
        load::<Config>(DEFAULTS).unwrap().config
    }

    #[test]
    fn the_defaults_are_complete_and_sound() {
        defaults().check().unwrap();
    }

    #[test]
    fn whoever_waits_for_redis_may_be_silent_for_as_long_as_redis_may() {
        let mut config = defaults();
        assert_eq!(config.longest_step(), config.database.patience());
        config.redis.command_timeout_ms = 40_000;
        assert_eq!(config.longest_step(), Duration::from_secs(120));
    }

    #[test]
    fn settings_that_cannot_work_name_their_key() {
        let mut config = defaults();
        config.worker.lease_ttl_ms = 900;
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("worker.lease_ttl_ms")
        );
        let mut config = defaults();
        config.partitions.count = 0;
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("partitions.count")
        );
        let mut config = defaults();
        config.worker.lanes = 8;
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("database.max_connections")
        );
    }
}
