//! The gateway's settings. `config.default.toml` says what each one means.

use std::time::Duration;

use confab_shared::config::{ConfigError, Environment, Loaded, load, parse_duration};
use confab_shared::postgres::DatabaseConfig;
use confab_shared::redis::RedisConfig;
use confab_shared::telemetry::LogConfig;
use serde::Deserialize;

/// The commented defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// All settings.
#[derive(Debug, Clone, Deserialize)]
pub struct GatewayConfig {
    /// Where the deployment stands.
    pub environment: Environment,
    /// Listeners.
    pub http: HttpConfig,
    /// REST limits.
    pub rest: RestConfig,
    /// Tokens and passwords.
    pub auth: AuthConfig,
    /// Engine.IO timings and limits.
    pub engine: EngineConfig,
    /// Limits of one socket.
    pub sockets: SocketsConfig,
    /// The way of commands to the workers.
    pub ingress: IngressConfig,
    /// Rooms on this node.
    pub hub: HubConfig,
    /// Partitions.
    pub partitions: PartitionsConfig,
    /// Shutdown.
    pub drain: DrainConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// Logs.
    pub log: LogConfig,
}

/// Listeners.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct HttpConfig {
    pub bind: String,
    pub port: u16,
    pub internal_listen: String,
    pub max_connections: usize,
    pub header_timeout_seconds: u64,
    pub cors_origin: String,
}

/// REST limits.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct RestConfig {
    pub max_body_bytes: usize,
    pub timeout_seconds: u64,
}

/// Tokens and passwords.
#[derive(Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct AuthConfig {
    pub jwt_secret: String,
    pub jwt_expires_in: String,
    pub password_concurrency: usize,
    pub login_timeout_seconds: u64,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("jwt_expires_in", &self.jwt_expires_in)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// How long a token is good for.
    pub fn token_lifetime(&self) -> Result<Duration, ConfigError> {
        parse_duration(&self.jwt_expires_in)
            .filter(|lifetime| !lifetime.is_zero())
            .ok_or_else(|| {
                ConfigError::invalid(
                    "auth.jwt_expires_in",
                    "expected a duration such as 7d or 60m",
                )
            })
    }
}

/// Engine.IO timings and limits.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct EngineConfig {
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub upgrade_timeout_ms: u64,
    pub max_payload: usize,
    pub max_attachments: usize,
    pub send_queue_bytes: usize,
    pub compress_above: usize,
}

impl EngineConfig {
    /// From one pong to the next ping.
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    /// From a ping to the latest pong.
    pub fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms)
    }

    /// From the handshake to the first namespace.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// From a WebSocket's opening to the moment a polling session has moved over to it.
    pub fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms)
    }
}

/// Limits of one socket.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct SocketsConfig {
    pub max_in_flight: usize,
    pub max_rooms: usize,
    pub root_dialect: String,
    pub chat_dialect: String,
}

/// The way of commands to the workers.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct IngressConfig {
    pub reply_timeout_ms: u64,
    pub max_pending: usize,
    pub max_stream_length: usize,
    pub append_batch: usize,
}

/// Rooms on this node.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct HubConfig {
    pub shards: usize,
    pub max_held_events: usize,
    pub linger_seconds: u64,
    pub sweep_seconds: u64,
    pub epoch_check_ms: u64,
    pub repair_concurrency: usize,
}

/// Partitions.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct PartitionsConfig {
    pub count: u16,
}

/// Shutdown.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct DrainConfig {
    pub spread_seconds: u64,
    pub limit_seconds: u64,
}

impl GatewayConfig {
    /// Reads the settings and checks what a type alone cannot.
    pub fn load() -> Result<Loaded<Self>, ConfigError> {
        let loaded = load::<Self>(DEFAULTS)?;
        loaded.config.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("partitions.count", usize::from(self.partitions.count)),
            ("hub.shards", self.hub.shards),
            ("hub.repair_concurrency", self.hub.repair_concurrency),
            ("http.max_connections", self.http.max_connections),
            ("auth.password_concurrency", self.auth.password_concurrency),
            ("ingress.append_batch", self.ingress.append_batch),
            ("ingress.max_pending", self.ingress.max_pending),
            ("ingress.max_stream_length", self.ingress.max_stream_length),
            ("engine.max_payload", self.engine.max_payload),
            ("engine.send_queue_bytes", self.engine.send_queue_bytes),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::invalid(key, "must be at least 1"));
            }
        }
        if self.environment == Environment::Production && self.http.cors_origin.trim() == "*" {
            return Err(ConfigError::invalid(
                "http.cors_origin",
                "\"*\" is for development only",
            ));
        }
        self.auth.token_lifetime().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_shared::config::ConfigError;

    #[test]
    fn the_defaults_file_has_every_setting() {
        let loaded: Result<Loaded<GatewayConfig>, ConfigError> = load(DEFAULTS);
        loaded.unwrap().config.check().unwrap();
    }
}
