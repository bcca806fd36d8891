//! How Redis is reached: where, as whom, and whose word is taken for it that it is Redis.
//!
//! The URL's scheme decides on TLS: `rediss://`, `rediss-cluster://` and `rediss-sentinel://` have it, on every connection.

use std::fmt;
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::types::config::{Config, ServerConfig, TlsConnector};
use serde::Deserialize;

use crate::config::ConfigError;
use crate::tls::{ClientFiles, Setting};

/// How URLs may begin.
const SCHEMES: [&str; 6] = [
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "redis-sentinel",
    "rediss-sentinel",
];

/// How Redis is reached.
#[derive(Clone, Deserialize)]
pub struct RedisConfig {
    /// Where, as a `redis://` or `rediss://` URL.
    pub url: String,
    /// How long one command may take before it fails.
    pub command_timeout_ms: u64,
    /// How long a connection attempt may take.
    pub connect_timeout_ms: u64,
    /// The user of its access control list, if the URL does not have it.
    pub username: String,
    /// The password, if the URL does not have it.
    pub password: String,
    /// The user of the sentinels' own list, if the URL does not have it.
    pub sentinel_username: String,
    /// That one's password.
    pub sentinel_password: String,
    /// Whose word about servers is taken, instead of that of the system's authorities.
    pub tls_ca_file: String,
    /// The client's own certificate.
    pub tls_cert_file: String,
    /// Its key.
    pub tls_key_file: String,
}

/// Says nothing of where and as whom: a URL may have a password inside.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("command_timeout_ms", &self.command_timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .finish_non_exhaustive()
    }
}

impl RedisConfig {
    /// A server with both time-outs at five seconds, for tests and tools.
    pub fn at(url: impl Into<String>) -> Self {
        let none = String::new;
        Self {
            url: url.into(),
            command_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            username: none(),
            password: none(),
            sentinel_username: none(),
            sentinel_password: none(),
            tls_ca_file: none(),
            tls_cert_file: none(),
            tls_key_file: none(),
        }
    }

    /// How long one command may take before it fails.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms)
    }

    /// Checks what a type alone cannot, files included.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.command_timeout_ms == 0 {
            // The library takes it for none, and a server that is silent would be waited for without end.
            return Err(ConfigError::invalid(
                "redis.command_timeout_ms",
                "must be at least 1",
            ));
        }
        self.files().check()?;
        self.checked_client().map(|_| ())
    }

    /// What the client library is told.
    pub(super) fn client(&self) -> Result<Config, Error> {
        self.checked_client()
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    }

    fn checked_client(&self) -> Result<Config, ConfigError> {
        let files = self.files();
        let scheme = self.url.split_once("://").map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| SCHEMES.contains(&scheme)) {
            // The library takes any other for a server in the clear.
            let reason = format!("expected one of {}, and ://", SCHEMES.join(", "));
            return Err(ConfigError::invalid("redis.url", reason));
        }
        let secured = self.url.strip_prefix("rediss");
        // The library would look for the system's authorities, and insist on finding them.
        let plain = secured
            .filter(|_| !files.ca.is_none())
            .map(|rest| format!("redis{rest}"));
        let mut client = Config::from_url(plain.as_ref().unwrap_or(&self.url))
            .map_err(|error| ConfigError::invalid("redis.url", error.details().to_owned()))?;
        if plain.is_some() {
            client.tls = Some(TlsConnector::from(files.client()?).into());
        } else if !files.are_none() {
            return Err(if secured.is_none() {
                let given = [files.ca, files.certificate, files.key];
                let first = given.into_iter().find(|setting| !setting.is_none());
                first
                    .unwrap_or(files.ca)
                    .invalid("redis.url is not encrypted; rediss:// is")
            } else {
                files.ca.invalid(
                    "required with a client certificate; the system's authorities are mostly in /etc/ssl/certs/ca-certificates.crt",
                )
            });
        }
        let over = |given: &String, into: &mut Option<String>| {
            if !given.is_empty() {
                *into = Some(given.clone());
            }
        };
        over(&self.username, &mut client.username);
        over(&self.password, &mut client.password);
        match &mut client.server {
            ServerConfig::Sentinel {
                username, password, ..
            } => {
                over(&self.sentinel_username, username);
                over(&self.sentinel_password, password);
            }
            _ if !self.sentinel_username.is_empty() || !self.sentinel_password.is_empty() => {
                return Err(ConfigError::invalid(
                    "redis.sentinel_password",
                    "redis.url names no sentinels; redis-sentinel:// and rediss-sentinel:// do",
                ));
            }
            _ => {}
        }
        Ok(client)
    }

    fn files(&self) -> ClientFiles<'_> {
        ClientFiles {
            ca: Setting::new("redis.tls_ca_file", &self.tls_ca_file),
            certificate: Setting::new("redis.tls_cert_file", &self.tls_cert_file),
            key: Setting::new("redis.tls_key_file", &self.tls_key_file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut RedisConfig);

    #[test]
    fn a_password_beside_the_url_goes_over_the_one_in_it() {
        let mut config = RedisConfig::at("redis://old:older@cache:6380/3");
        config.username = "confab".into();
        config.password = "p@ss:word/".into();
        let client = config.client().unwrap();
        assert_eq!(client.username.as_deref(), Some("confab"));
        assert_eq!(client.password.as_deref(), Some("p@ss:word/"));
        assert_eq!(client.database, Some(3));
        assert!(client.tls.is_none());
    }

    #[test]
    fn sentinels_have_credentials_of_their_own() {
        let mut config = RedisConfig::at("redis-sentinel://u:p@one:26379?sentinelServiceName=main");
        config.sentinel_password = "theirs".into();
        let ServerConfig::Sentinel {
            username, password, ..
        } = config.client().unwrap().server
        else {
            panic!("no sentinels");
        };
        assert_eq!((username, password.as_deref()), (None, Some("theirs")));
        config.url = "redis://u:p@one:6379".into();
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains("redis.sentinel_password:"), "{refused}");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_said() {
        let said = format!("{:?}", RedisConfig::at("redis://u:s3cret@cache"));
        assert!(
            !said.contains("s3cret") && !said.contains("cache"),
            "{said}"
        );
        let cases: [(&str, Change); 7] = [
            ("redis.command_timeout_ms", |config| {
                config.command_timeout_ms = 0;
            }),
            ("redis.url", |config| {
                config.url = "redis://u:s3cret@cache:port".into();
            }),
            ("redis.url", |config| {
                config.url = "redis://u:s3cret@cache/s3cret".into();
            }),
            ("redis.url", |config| {
                config.url = "http://u:s3cret@cache:1".into();
            }),
            ("redis.tls_ca_file", |config| {
                config.tls_ca_file = "/nowhere".into();
            }),
            ("redis.tls_key_file", |config| {
                config.tls_cert_file = "c".into();
            }),
            ("redis.tls_cert_file", |config| {
                config.tls_key_file = "k".into();
            }),
        ];
        for (key, change) in cases {
            let mut config = RedisConfig::at("rediss://u:s3cret@cache");
            change(&mut config);
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(&format!("{key}:")), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        // A file that nobody would look at.
        let mut config = RedisConfig::at("redis://u:s3cret@cache");
        config.tls_ca_file = "/etc/hosts".into();
        assert!(
            config
                .client()
                .unwrap_err()
                .to_string()
                .contains("rediss://")
        );
    }
}
