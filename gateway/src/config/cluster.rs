//! How gateways reach each other.

use std::net::SocketAddr;

use confab_shared::config::ConfigError;
use http::uri::Authority;
use serde::Deserialize;

/// Other gateways.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct ClusterConfig {
    pub advertise: String,
    pub protocol: PeerProtocol,
    pub max_connections: usize,
}

impl ClusterConfig {
    /// Where other gateways reach the internal listener, which is at `listening`.
    pub fn address(&self, listening: SocketAddr) -> Result<String, ConfigError> {
        let invalid = |reason: &str| Err(ConfigError::invalid("cluster.advertise", reason));
        if self.advertise.is_empty() {
            if listening.ip().is_unspecified() {
                return invalid("required where http.internal_listen is a wildcard");
            }
            return Ok(listening.to_string());
        }
        match self.advertise.parse::<Authority>() {
            Ok(address)
                if address.port_u16().is_some()
                    && !address.host().is_empty()
                    && !self.advertise.contains('@') =>
            {
                Ok(self.advertise.clone())
            }
            _ => invalid("expected host:port"),
        }
    }
}

/// What gateways speak to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerProtocol {
    /// HTTP/2 in the clear: one connection from each node to each other one.
    H2c,
    /// HTTP/1.1: a pool of connections.
    H1,
}
