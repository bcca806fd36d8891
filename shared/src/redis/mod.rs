//! Redis: the typed keyspace, the scripts, and how connections are made.
//!
//! Nothing in Redis is needed to rebuild the truth. Whatever is kept here may vanish at any moment, without a connection being
//! lost (FLUSHALL); [`keyspace::Keyspace::memory`] is how that is noticed.

mod access;
pub mod keyspace;
pub mod presence;
mod refusal;
pub mod scripts;
mod topology;

use std::time::Duration;

use fred::clients::Client;
use fred::socket2::TcpKeepalive;
use fred::types::Builder;
use fred::types::config::{ReconnectPolicy, TcpConfig};

pub use self::access::RedisConfig;
pub use self::refusal::begin;
pub use self::topology::{Topology, Unsuitable, examine, examine_servers};

/// How a connection treats commands that are under way when it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// They are sent again: for commands that may run twice.
    Idempotent,
    /// They fail at once, and whoever sent them decides.
    None,
}

/// A connection's builder: reconnects for ever with a bounded back-off, and notices a peer that is gone without a word.
pub fn builder(config: &RedisConfig, retries: Retries) -> Result<Builder, fred::error::Error> {
    let mut redis = config.client()?;
    // The first connection is waited for like any other.
    redis.fail_fast = false;
    let timeout = config.command_timeout();
    let mut builder = Builder::from_config(redis);
    builder
        .with_connection_config(|connection| {
            connection.connection_timeout = Duration::from_millis(config.connect_timeout_ms);
            // A script or a write that was half way when the connection broke is not sent again behind its caller's back.
            connection.max_command_attempts = match retries {
                Retries::Idempotent => 3,
                Retries::None => 1,
            };
            // On a cluster: a command whose slot has moved fails, and is sent by its caller to where the slot is now. fred would follow by
            // itself, but where a slot is just being moved it takes the next answer for that of its ASKING, whosever it is.
            connection.max_redirections = 0;
            connection.tcp = TcpConfig {
                nodelay: Some(true),
                // A subscriber only listens: without these it would never notice that nobody speaks any more.
                keepalive: Some(
                    TcpKeepalive::new()
                        .with_time(timeout)
                        .with_interval(Duration::from_secs(1))
                        .with_retries(3),
                ),
                user_timeout: Some(timeout),
                ..TcpConfig::default()
            };
        })
        .with_performance_config(|performance| performance.default_command_timeout = timeout)
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 1_000, 2));
    Ok(builder)
}

/// A builder for the connection that listens. What comes faster than it is read, up to some thousands of messages, is kept; beyond
/// that it is lost, and the reader is told so.
pub fn subscriber(config: &RedisConfig) -> Result<Builder, fred::error::Error> {
    let mut builder = builder(config, Retries::Idempotent)?;
    builder.with_performance_config(|performance| {
        // Memory for all of them is taken at once, and by several channels: no more than a burst needs.
        performance.broadcast_channel_capacity = 16_384;
    });
    Ok(builder)
}

/// A connected client with one connection, on which commands run in the order they were sent.
pub async fn connect(config: &RedisConfig, retries: Retries) -> Result<Client, fred::error::Error> {
    let client = builder(config, retries)?.build()?;
    begin(&client).await?;
    Ok(client)
}
