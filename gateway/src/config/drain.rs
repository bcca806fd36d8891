//! Shutdown.

use std::time::Duration;

use confab_shared::config::ConfigError;
use serde::Deserialize;

use super::IngressConfig;
use crate::transport::sessions::LAST_LEAVE;

/// Shutdown.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct DrainConfig {
    pub spread_seconds: u64,
    pub limit_seconds: u64,
}

impl DrainConfig {
    /// Over how long sessions are closed.
    pub fn spread(&self) -> Duration {
        Duration::from_secs(self.spread_seconds)
    }

    /// After how long the gateway exits in any case.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_seconds)
    }

    /// Checks that the steps of a drain have the time that each may take. Cut short, it would drop sessions without a word and leave to
    /// others what stands in Redis under its name.
    pub(super) fn check(&self, ingress: &IngressConfig) -> Result<(), ConfigError> {
        let pending = ingress.reply_timeout_ms.div_ceil(1_000);
        let least = (self.spread_seconds)
            .saturating_add(LAST_LEAVE.as_secs())
            .saturating_add(pending);
        if self.limit_seconds < least {
            let reason = format!(
                "must be at least {least}: drain.spread_seconds, {} for the last sessions to leave, and ingress.reply_timeout_ms",
                LAST_LEAVE.as_secs()
            );
            return Err(ConfigError::invalid("drain.limit_seconds", reason));
        }
        Ok(())
    }
}
