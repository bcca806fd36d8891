//! The gateway's settings. `config.default.toml` says what each one means.

mod auth;
mod cluster;
mod drain;
mod hub;
mod sockjs;
mod stomp;
#[cfg(test)]
mod tests;
mod tls;

use std::net::IpAddr;
use std::time::Duration;

use confab_shared::config::{ConfigError, Environment, Loaded, load};
use confab_shared::postgres::DatabaseConfig;
use confab_shared::redis::RedisConfig;
use confab_shared::telemetry::{LogConfig, TracesConfig};
use ipnet::IpNet;
use serde::Deserialize;

pub use self::auth::AuthConfig;
pub use self::cluster::{ClusterConfig, PeerProtocol};
pub use self::drain::DrainConfig;
pub use self::hub::HubConfig;
pub use self::sockjs::SockJsConfig;
pub use self::stomp::StompConfig;
pub use self::tls::TlsConfig;
pub use crate::limits::RateLimitsConfig;
use crate::transport::origin::AllowedOrigins;

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
    /// STOMP.
    pub stomp: StompConfig,
    /// SockJS timings and limits.
    pub sockjs: SockJsConfig,
    /// Other gateways.
    pub cluster: ClusterConfig,
    /// Limits of one address or user.
    pub limits: LimitsConfig,
    /// How often users may do what.
    pub rate_limits: RateLimitsConfig,
    /// Limits of one socket.
    pub sockets: SocketsConfig,
    /// Public rooms.
    pub rooms: RoomsConfig,
    /// Who is online.
    pub presence: PresenceConfig,
    /// The way of commands to the workers.
    pub ingress: IngressConfig,
    /// Rooms on this node.
    pub hub: HubConfig,
    /// Sockets that come back.
    pub recovery: RecoveryConfig,
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
    /// Traces.
    pub traces: TracesConfig,
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
    pub idle_timeout_seconds: u64,
    pub peer_timeout_seconds: u64,
    pub trusted_proxies: String,
    pub cors_origin: String,
    pub tls: TlsConfig,
}

impl HttpConfig {
    /// How long a peer may leave unacknowledged what it was sent.
    pub fn peer_timeout(&self) -> Duration {
        Duration::from_secs(self.peer_timeout_seconds)
    }

    /// The networks whose word about a client's address is taken.
    pub fn trusted_proxies(&self) -> Result<Vec<IpNet>, ConfigError> {
        self.trusted_proxies
            .split(',')
            .map(str::trim)
            .filter(|network| !network.is_empty())
            .map(|network| {
                let single = || network.parse::<IpAddr>().map(IpNet::from);
                network.parse().or_else(|_| single()).map_err(|_| {
                    ConfigError::invalid(
                        "http.trusted_proxies",
                        format!("{network:?} is no network such as 10.0.0.0/8"),
                    )
                })
            })
            .collect()
    }
}

/// REST limits.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct RestConfig {
    pub max_body_bytes: usize,
    pub timeout_seconds: u64,
}

/// Engine.IO timings and limits.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct EngineConfig {
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub upgrade_timeout_ms: u64,
    pub max_sessions: usize,
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

/// Limits of one address or user.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct LimitsConfig {
    pub sessions_per_ip: u32,
    pub handshakes_per_ip: u32,
    pub sessions_per_user: u32,
}

/// Limits of one socket.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct SocketsConfig {
    pub max_in_flight: usize,
    pub max_rooms: usize,
    pub max_followed: usize,
    pub typing_interval_ms: u64,
    pub root_dialect: String,
    pub chat_dialect: String,
}

/// Public rooms.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct RoomsConfig {
    pub auto_create: bool,
    pub linger_seconds: u64,
}

/// Who is online.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct PresenceConfig {
    pub linger_seconds: u64,
    pub largest_group: u32,
    pub max_conversations: usize,
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

/// Sockets that come back.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct RecoveryConfig {
    pub enabled: bool,
    pub window_seconds: u64,
    pub max_events: usize,
    pub cluster_slack_ms: u64,
}

impl RecoveryConfig {
    /// For how long after its connection was lost a socket can be recovered.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds)
    }

    /// How far the clock of a server that takes another's place may be behind that one's.
    pub fn cluster_slack(&self) -> Duration {
        Duration::from_millis(self.cluster_slack_ms)
    }
}

/// Partitions.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct PartitionsConfig {
    pub count: u16,
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
            ("http.max_connections", self.http.max_connections),
            ("cluster.max_connections", self.cluster.max_connections),
            ("auth.password_concurrency", self.auth.password_concurrency),
            ("ingress.append_batch", self.ingress.append_batch),
            ("ingress.max_pending", self.ingress.max_pending),
            ("ingress.max_stream_length", self.ingress.max_stream_length),
            ("recovery.max_events", self.recovery.max_events),
            ("engine.max_sessions", self.engine.max_sessions),
            (
                "presence.max_conversations",
                self.presence.max_conversations,
            ),
            ("engine.max_payload", self.engine.max_payload),
            ("engine.send_queue_bytes", self.engine.send_queue_bytes),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::invalid(key, "must be at least 1"));
            }
        }
        for (key, seconds) in [
            (
                "http.header_timeout_seconds",
                self.http.header_timeout_seconds,
            ),
            ("http.idle_timeout_seconds", self.http.idle_timeout_seconds),
            ("http.peer_timeout_seconds", self.http.peer_timeout_seconds),
        ] {
            if seconds == 0 {
                return Err(ConfigError::invalid(key, "must be at least 1"));
            }
        }
        if self.presence.linger_seconds > 300 {
            return Err(ConfigError::invalid(
                "presence.linger_seconds",
                "must be at most 300",
            ));
        }
        if !(2..=100_000).contains(&self.presence.largest_group) {
            return Err(ConfigError::invalid(
                "presence.largest_group",
                "must be 2 to 100000: a direct conversation has two",
            ));
        }
        let heartbeat = self.engine.ping_interval() + self.engine.ping_timeout();
        if self.http.peer_timeout() <= heartbeat {
            // A client that pauses for less than a heartbeat is to keep its session, and what the kernel holds for it.
            return Err(ConfigError::invalid(
                "http.peer_timeout_seconds",
                "must be longer than engine.ping_interval_ms and engine.ping_timeout_ms together",
            ));
        }
        self.hub.check(&self.sockets)?;
        self.drain.check(&self.ingress)?;
        self.http.tls.check()?;
        self.redis.check()?;
        self.database.check()?;
        self.sockjs.check()?;
        self.http.trusted_proxies()?;
        self.rate_limits.figures()?;
        self.stomp.check()?;
        self.traces.check()?;
        let origins = AllowedOrigins::parse(&self.http.cors_origin);
        if self.environment != Environment::Development && matches!(origins, AllowedOrigins::Any) {
            return Err(ConfigError::invalid(
                "http.cors_origin",
                "\"*\" is for development only",
            ));
        }
        self.auth.token_lifetime().map(|_| ())
    }
}
