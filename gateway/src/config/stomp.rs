//! STOMP's settings.

use std::time::Duration;

use confab_gateway_protocol::stomp::{self, HeartBeat};
use confab_shared::config::ConfigError;
use serde::Deserialize;

use crate::session::stomp::transactions::TransactionLimits;
use crate::session::stomp::{Destinations, Limits, Prefixes, Rules};

/// Paths that are somebody else's.
const TAKEN: [&str; 2] = ["/socket.io", "/api"];

/// STOMP.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct StompConfig {
    pub path: String,
    pub application_prefixes: String,
    pub topic_prefixes: String,
    pub user_prefixes: String,
    pub heart_beat_send_ms: u32,
    pub heart_beat_receive_ms: u32,
    pub connect_timeout_ms: u64,
    pub max_frame_bytes: usize,
    pub max_headers: usize,
    pub max_header_bytes: usize,
    pub max_subscriptions: usize,
    pub max_transactions: usize,
    pub max_transaction_messages: usize,
    pub max_transaction_bytes: usize,
}

impl StompConfig {
    /// Where it is; none if it is nowhere.
    pub fn path(&self) -> Option<&str> {
        (!self.path.is_empty()).then_some(&*self.path)
    }

    /// What sessions go by. A DISCONNECT waits as long for earlier answers as these take at the most.
    pub fn rules(&self, reply_timeout: Duration) -> Result<Rules, ConfigError> {
        let prefixes = |key, list: &str| {
            Prefixes::parse(list).map_err(|error| ConfigError::invalid(key, error.to_string()))
        };
        Ok(Rules {
            frames: stomp::Limits {
                max_frame: self.max_frame_bytes,
                max_headers: self.max_headers,
                max_header: self.max_header_bytes,
            },
            session: Limits {
                subscriptions: self.max_subscriptions,
                transactions: TransactionLimits {
                    transactions: self.max_transactions,
                    messages: self.max_transaction_messages,
                    bytes: self.max_transaction_bytes,
                },
            },
            destinations: Destinations {
                application: prefixes("stomp.application_prefixes", &self.application_prefixes)?,
                topics: prefixes("stomp.topic_prefixes", &self.topic_prefixes)?,
                user: prefixes("stomp.user_prefixes", &self.user_prefixes)?,
            },
            heart_beat: HeartBeat {
                sends_ms: self.heart_beat_send_ms,
                wants_ms: self.heart_beat_receive_ms,
            },
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            last_answers: reply_timeout,
        })
    }

    /// Checks what a type alone cannot.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(path) = self.path() {
            let is_path = path.len() > 1
                && path.starts_with('/')
                && !path.ends_with('/')
                && !path.contains(['?', '#', '%']);
            if !is_path {
                let reason = format!("{path:?} is no path such as /ws");
                return Err(ConfigError::invalid("stomp.path", reason));
            }
            let first = path.split('/').nth(1).unwrap_or_default();
            if TAKEN.iter().any(|taken| taken[1..] == *first) {
                return Err(ConfigError::invalid("stomp.path", "this path is taken"));
            }
        }
        for (key, value) in [
            ("stomp.max_frame_bytes", self.max_frame_bytes),
            ("stomp.max_headers", self.max_headers),
            ("stomp.max_header_bytes", self.max_header_bytes),
            ("stomp.max_subscriptions", self.max_subscriptions),
        ] {
            if value == 0 {
                return Err(ConfigError::invalid(key, "must be at least 1"));
            }
        }
        if self.connect_timeout_ms == 0 {
            let key = "stomp.connect_timeout_ms";
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        self.rules(Duration::ZERO).map(|_| ())
    }
}
