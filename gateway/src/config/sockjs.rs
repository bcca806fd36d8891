//! SockJS' settings.

use std::time::Duration;

use confab_shared::config::ConfigError;
use serde::Deserialize;

/// SockJS timings and limits.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct SockJsConfig {
    pub enabled: bool,
    pub heartbeat_ms: u64,
    pub disconnect_delay_ms: u64,
    pub response_limit: usize,
    pub max_payload: usize,
    pub base_url: String,
}

impl SockJsConfig {
    /// For how long a client hears nothing before it is told that it will.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// How long a session lasts whose client does not ask for what there is to say.
    pub fn disconnect_delay(&self) -> Duration {
        Duration::from_millis(self.disconnect_delay_ms)
    }

    /// Where clients should come for their sessions, if it is not where they came first.
    pub fn base_url(&self) -> Option<&str> {
        (!self.base_url.is_empty()).then_some(self.base_url.as_str())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // Requests that wait longer are cut by proxies, and by nodes that pass them on.
        if !(1_000..=60_000).contains(&self.heartbeat_ms) {
            return Err(ConfigError::invalid(
                "sockjs.heartbeat_ms",
                "must be 1000 to 60000",
            ));
        }
        if !(1_000..=60_000).contains(&self.disconnect_delay_ms) {
            return Err(ConfigError::invalid(
                "sockjs.disconnect_delay_ms",
                "must be 1000 to 60000",
            ));
        }
        for (key, value) in [
            ("sockjs.response_limit", self.response_limit),
            ("sockjs.max_payload", self.max_payload),
        ] {
            if value == 0 {
                return Err(ConfigError::invalid(key, "must be at least 1"));
            }
        }
        if self.base_url().is_some_and(|url| !is_address(url)) {
            return Err(ConfigError::invalid(
                "sockjs.base_url",
                "expected a URL such as https://chat.example/ws",
            ));
        }
        Ok(())
    }
}

fn is_address(url: &str) -> bool {
    let is_absolute = url.starts_with("https://") || url.starts_with("http://");
    is_absolute && url.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SockJsConfig {
        SockJsConfig {
            enabled: true,
            heartbeat_ms: 25_000,
            disconnect_delay_ms: 5_000,
            response_limit: 131_072,
            max_payload: 524_288,
            base_url: String::new(),
        }
    }

    #[test]
    fn a_bad_setting_is_named() {
        assert!(config().check().is_ok());
        let named = |change: fn(&mut SockJsConfig)| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        for (found, key) in [
            (named(|it| it.heartbeat_ms = 60_001), "sockjs.heartbeat_ms"),
            (
                named(|it| it.disconnect_delay_ms = 0),
                "sockjs.disconnect_delay_ms",
            ),
            (named(|it| it.response_limit = 0), "sockjs.response_limit"),
            (named(|it| it.max_payload = 0), "sockjs.max_payload"),
            (named(|it| it.base_url = "/ws".into()), "sockjs.base_url"),
        ] {
            assert!(found.contains(key), "{found}");
        }
    }

    #[test]
    fn an_address_is_told_where_one_is_set() {
        let mut config = config();
        assert_eq!(config.base_url(), None);
        config.base_url = "https://chat.example/ws".into();
        assert!(config.check().is_ok());
        assert_eq!(config.base_url(), Some("https://chat.example/ws"));
    }
}
