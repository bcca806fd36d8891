//! Rooms on this node.

use std::time::Duration;

use confab_shared::config::ConfigError;
use serde::Deserialize;

use super::SocketsConfig;

/// The longest time between two sweeps: recovery takes for shown what is half as old again, so that one may also take its time.
const LONGEST_SWEEP: Duration = Duration::from_secs(60);
/// The shortest time between two looks at what Redis's memory is called: each is a command for every partition.
const SHORTEST_CHECK: Duration = Duration::from_millis(50);

/// Rooms on this node.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct HubConfig {
    pub max_held_events: usize,
    pub linger_seconds: u64,
    pub sweep_seconds: u64,
    pub epoch_check_ms: u64,
    pub repair_concurrency: usize,
    pub typing_timeout_ms: u64,
    pub badge_interval_ms: u64,
    pub max_watched: usize,
}

impl HubConfig {
    /// How often every room is compared with PostgreSQL.
    pub fn sweep(&self) -> Duration {
        Duration::from_secs(self.sweep_seconds)
    }

    /// How often Redis is asked whether it lost its memory.
    pub fn epoch_check(&self) -> Duration {
        Duration::from_millis(self.epoch_check_ms)
    }

    /// Checks what others rely on, and that nothing runs without a pause.
    pub(super) fn check(&self, sockets: &SocketsConfig) -> Result<(), ConfigError> {
        if !(Duration::from_secs(1)..=LONGEST_SWEEP).contains(&self.sweep()) {
            let longest = LONGEST_SWEEP.as_secs();
            let reason = format!("must be 1 to {longest}: recovery relies on it");
            return Err(ConfigError::invalid("hub.sweep_seconds", reason));
        }
        if self.epoch_check() < SHORTEST_CHECK {
            let reason = format!("must be at least {}", SHORTEST_CHECK.as_millis());
            return Err(ConfigError::invalid("hub.epoch_check_ms", reason));
        }
        if self.repair_concurrency == 0 {
            let key = "hub.repair_concurrency";
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if sockets.typing_interval_ms >= self.typing_timeout_ms {
            // Who goes on typing would be forgotten before it is said again.
            return Err(ConfigError::invalid(
                "hub.typing_timeout_ms",
                "must be longer than sockets.typing_interval_ms",
            ));
        }
        Ok(())
    }
}
