//! How PostgreSQL is reached: where, as whom, and how much is believed of who answers.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::config::ConfigError;
use crate::tls::{ClientFiles, Setting};

/// How PostgreSQL is reached.
#[derive(Clone, Deserialize)]
pub struct DatabaseConfig {
    /// Where, as a `postgres://` URL.
    pub url: String,
    /// The most connections this process holds.
    pub max_connections: u32,
    /// How long a request waits for a free connection before it fails, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long one statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long a transaction may sit idle before the server ends it, in milliseconds. A worker that is stopped in the middle of one
    /// holds its partition's row for no longer than this.
    pub idle_in_transaction_timeout_ms: u64,
    /// The password, if the URL does not have it.
    pub password: String,
    /// How much TLS, as libpq's `sslmode`. Empty: as the URL says, or `verify-full` with a CA.
    pub tls_mode: String,
    /// Whose word about the server is taken, beside the system's authorities.
    pub tls_ca_file: String,
    /// The client's own certificate.
    pub tls_cert_file: String,
    /// Its key.
    pub tls_key_file: String,
}

/// Says nothing of where and as whom: a URL may have a password inside.
impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl DatabaseConfig {
    /// A server with all time-outs at five seconds, for tests and tools.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 6,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 5_000,
            idle_in_transaction_timeout_ms: 5_000,
            password: String::new(),
            tls_mode: String::new(),
            tls_ca_file: String::new(),
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
        }
    }

    /// How long to wait for an answer that the server itself should have cut short: longer than that, and nobody is there.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(
            self.statement_timeout_ms
                .saturating_add(self.acquire_timeout_ms),
        ) + Duration::from_secs(2)
    }

    /// Checks what a type alone cannot, files included.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.files().check()?;
        self.mode()?;
        self.options()
            .map(|_| ())
            .map_err(|error| ConfigError::invalid("database.url", error.to_string()))
    }

    pub(super) fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let mut options: PgConnectOptions = self.url.parse()?;
        if !self.password.is_empty() {
            options = options.password(&self.password);
        }
        if let Some(mode) = self
            .mode()
            .map_err(|error| sqlx::Error::Configuration(error.into()))?
        {
            options = options.ssl_mode(mode);
        }
        let files = self.files();
        if !files.ca.is_none() {
            options = options.ssl_root_cert(files.ca.path);
        }
        if !files.certificate.is_none() {
            options = options
                .ssl_client_cert(files.certificate.path)
                .ssl_client_key(files.key.path);
        }
        Ok(options)
    }

    fn mode(&self) -> Result<Option<PgSslMode>, ConfigError> {
        let has_ca = !self.tls_ca_file.is_empty();
        let mode = match self.tls_mode.as_str() {
            // Whoever names an authority wants the server to be looked at.
            "" => return Ok(has_ca.then_some(PgSslMode::VerifyFull)),
            "disable" => PgSslMode::Disable,
            "prefer" => PgSslMode::Prefer,
            "require" => PgSslMode::Require,
            "verify-ca" => PgSslMode::VerifyCa,
            "verify-full" => PgSslMode::VerifyFull,
            _ => {
                return Err(ConfigError::invalid(
                    "database.tls_mode",
                    "expected disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        if has_ca && !matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            return Err(ConfigError::invalid(
                "database.tls_ca_file",
                format!(
                    "database.tls_mode = {:?} does not look at it; verify-full does",
                    self.tls_mode
                ),
            ));
        }
        Ok(Some(mode))
    }

    fn files(&self) -> ClientFiles<'_> {
        ClientFiles {
            ca: Setting::new("database.tls_ca_file", &self.tls_ca_file),
            certificate: Setting::new("database.tls_cert_file", &self.tls_cert_file),
            key: Setting::new("database.tls_key_file", &self.tls_key_file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &DatabaseConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_ca_means_that_the_server_is_looked_at() {
        let mut config = DatabaseConfig::at("postgres://confab@db/confab");
        assert!(config.mode().unwrap().is_none());
        config.tls_ca_file = "ca.crt".into();
        assert!(matches!(
            config.mode().unwrap(),
            Some(PgSslMode::VerifyFull)
        ));
        config.tls_mode = "require".into();
        let refused = config.mode().unwrap_err().to_string();
        assert!(refused.contains("database.tls_ca_file:"), "{refused}");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_said() {
        let good = DatabaseConfig::at("postgres://confab:s3cret@db/confab?sslmode=require");
        good.check().unwrap();
        let said = format!("{good:?}");
        assert!(!said.contains("s3cret") && !said.contains("db"), "{said}");
        for (key, change) in [
            (
                "database.url",
                (|config| config.url = "postgres://u:s3cret@db:port/x".into())
                    as fn(&mut DatabaseConfig),
            ),
            ("database.url", |config| {
                config.url = "postgres://u:s3cret@db/x?sslmode=some".into();
            }),
            ("database.tls_mode", |config| {
                config.tls_mode = "allow".into();
            }),
            ("database.tls_ca_file", |config| {
                config.tls_ca_file = "/nowhere".into();
            }),
            ("database.tls_key_file", |config| {
                config.tls_cert_file = "c".into();
            }),
            ("database.tls_cert_file", |config| {
                config.tls_key_file = "k".into();
            }),
        ] {
            let mut config = good.clone();
            change(&mut config);
            let refused = refused(&config);
            assert!(refused.contains(&format!("{key}:")), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
