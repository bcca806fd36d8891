//! Tokens and passwords.

use std::time::Duration;

use confab_shared::auth::TokenAuthority;
use confab_shared::config::{ConfigError, Environment, parse_duration};
use serde::Deserialize;

/// Tokens and passwords.
#[derive(Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct AuthConfig {
    pub jwt_secret: String,
    pub jwt_expires_in: String,
    pub password_concurrency: usize,
    pub login_timeout_seconds: u64,
    pub guests: bool,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("jwt_expires_in", &self.jwt_expires_in)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// How long a token is good for.
    pub fn token_lifetime(&self) -> Result<Duration, ConfigError> {
        parse_duration(&self.jwt_expires_in)
            .filter(|lifetime| !lifetime.is_zero())
            .ok_or_else(|| {
                ConfigError::invalid(
                    "auth.jwt_expires_in",
                    "expected a duration such as 7d or 60m",
                )
            })
    }

    /// Who issues and checks tokens there. Not asked for by whoever only looks at the settings: the secret may be elsewhere.
    pub fn tokens(&self, environment: Environment) -> Result<TokenAuthority, ConfigError> {
        let lifetime = self.token_lifetime()?;
        TokenAuthority::new(&self.jwt_secret, lifetime, environment)
            .map_err(|error| ConfigError::invalid("auth.jwt_secret", error.to_string()))
    }
}
