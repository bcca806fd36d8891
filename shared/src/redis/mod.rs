//! Redis: the typed keyspace, the scripts, and how connections are made.
//!
//! Nothing in Redis is needed to rebuild the truth. Whatever is kept here may vanish at any moment, without a connection being
//! lost (FLUSHALL); [`keyspace::Keyspace::epoch`] is how that is noticed.

pub mod keyspace;
pub mod scripts;

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use serde::Deserialize;

/// How Redis is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct RedisConfig {
    /// Where, as a `redis://` URL.
    pub url: String,
    /// How long one command may take before it fails.
    pub command_timeout_ms: u64,
    /// How long a connection attempt may take.
    pub connect_timeout_ms: u64,
}

/// How a connection treats commands that are under way when it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// They are sent again: for commands that may run twice.
    Idempotent,
    /// They fail at once, and whoever sent them decides.
    None,
}

/// A connection's builder: reconnects for ever with a bounded back-off, notices a dead peer within seconds.
pub fn builder(config: &RedisConfig, retries: Retries) -> Result<Builder, fred::error::Error> {
    let mut redis = Config::from_url(&config.url)?;
    // A script or a write that was half way when the connection broke must not be sent again behind its caller's back.
    redis.fail_fast = false;
    let mut builder = Builder::from_config(redis);
    builder
        .with_connection_config(|connection| {
            connection.connection_timeout = Duration::from_millis(config.connect_timeout_ms);
            connection.max_command_attempts = if retries == Retries::Idempotent { 3 } else { 1 };
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(Duration::from_millis(
                    config.command_timeout_ms.saturating_mul(2),
                )),
                interval: Duration::from_secs(1),
            };
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = Duration::from_millis(config.command_timeout_ms);
            // Pub/sub reaches subscribers through this channel: what does not fit is lost (and repaired, at a price).
            performance.broadcast_channel_capacity = 65_536;
        })
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 1_000, 2));
    Ok(builder)
}

/// A connected client with one connection, on which commands run in the order they were sent.
pub async fn connect(config: &RedisConfig, retries: Retries) -> Result<Client, fred::error::Error> {
    let client = builder(config, retries)?.build()?;
    client.init().await?;
    Ok(client)
}
