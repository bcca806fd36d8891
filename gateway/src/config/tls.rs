//! TLS of the public listener.

use std::time::Duration;

use confab_shared::config::ConfigError;
use confab_shared::tls::Setting;
use serde::Deserialize;

/// TLS of the public listener.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct TlsConfig {
    pub cert_file: String,
    pub key_file: String,
    pub client_ca_file: String,
    pub reload_seconds: u64,
}

impl TlsConfig {
    /// Whether the listener speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.certificate().is_none()
    }

    /// From one look at the files to the next.
    pub fn reload(&self) -> Duration {
        Duration::from_secs(self.reload_seconds)
    }

    /// The file with our certificate and those between it and an authority.
    pub fn certificate(&self) -> Setting<'_> {
        Setting::new("http.tls.cert_file", &self.cert_file)
    }

    /// The file with its key.
    pub fn key(&self) -> Setting<'_> {
        Setting::new("http.tls.key_file", &self.key_file)
    }

    /// The file with the authorities of clients' certificates.
    pub fn client_ca(&self) -> Setting<'_> {
        Setting::new("http.tls.client_ca_file", &self.client_ca_file)
    }

    /// Checks what can be seen without the files.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.reload_seconds == 0 {
            let key = "http.tls.reload_seconds";
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if self.is_on() {
            return if self.key().is_none() {
                Err(self.key().invalid("required with http.tls.cert_file"))
            } else {
                Ok(())
            };
        }
        // Half of the settings would leave in the clear what was meant to be secret.
        for given in [self.key(), self.client_ca()] {
            if !given.is_none() {
                let reason = format!("required with {}", given.key);
                return Err(self.certificate().invalid(reason));
            }
        }
        Ok(())
    }
}
