//! The settings of traces.

use serde::Deserialize;

use crate::config::ConfigError;

/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";
/// Whether spans are made, and where they are sent.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct TracesConfig {
    pub endpoint: String,
    pub sample_ratio: f64,
    pub trust_parent: bool,
    pub service_name: String,
    pub timeout_ms: u64,
    pub interval_ms: u64,
    pub queue: usize,
    pub batch: usize,
}

impl TracesConfig {
    /// Checks what a type alone cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(ConfigError::invalid(
                "traces.sample_ratio",
                "must be 0 to 1",
            ));
        }
        for (key, value) in [
            ("traces.timeout_ms", self.timeout_ms),
            ("traces.interval_ms", self.interval_ms),
        ] {
            if !(1..=60_000).contains(&value) {
                return Err(ConfigError::invalid(key, "must be 1 to 60000"));
            }
        }
        if !(1..=1_000_000).contains(&self.queue) {
            return Err(ConfigError::invalid("traces.queue", "must be 1 to 1000000"));
        }
        if !(1..=self.queue).contains(&self.batch) {
            return Err(ConfigError::invalid(
                "traces.batch",
                "must be at least 1, and at most traces.queue",
            ));
        }
        self.url().map(|_| ())
    }

    /// Where to send spans; none: nowhere.
    pub(super) fn url(&self) -> Result<Option<String>, ConfigError> {
        let endpoint = self.endpoint.trim().trim_end_matches('/');
        if endpoint.is_empty() {
            return Ok(None);
        }
        let invalid = |reason: &str| Err(ConfigError::invalid("traces.endpoint", reason));
        let Some(rest) = endpoint.strip_prefix("http://") else {
            return invalid(
                "must begin with http://: send to a collector on this machine or in this pod, and have it speak TLS to the rest",
            );
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#');
        if rest.is_empty() || rest.starts_with('/') || rest.contains(odd) {
            return invalid("must be an address such as http://127.0.0.1:4318");
        }
        Ok(Some(if endpoint.ends_with(PATH) {
            endpoint.to_owned()
        } else {
            format!("{endpoint}{PATH}")
        }))
    }
}
