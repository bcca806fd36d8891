//! Tokens and passwords.
//!
//! Tokens are JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256; no other algorithm is accepted. Passwords are kept as argon2id
//! hashes in PHC format.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Environment;
use crate::id::UserId;

/// The shortest secret that signs tokens outside development, in bytes (RFC 7518, 3.2: as long as the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// The namespace of the ids that are derived from other issuers' tokens.
const FOREIGN_TOKENS: Uuid = Uuid::from_u128(0x1e0c_6a2b_7d52_4c0e_9a43_5b0f_2d6c_8e71);

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Whose it is.
    pub sub: UserId,
    /// When it was issued, in seconds since 1970.
    #[serde(default)]
    pub iat: u64,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// Which token; revocation names it. Other issuers' ids need not be UUIDs, if there are any: then it is derived from the token
    /// itself, so that a checked token always has one.
    #[serde(default, deserialize_with = "lenient_id")]
    pub jti: Option<Uuid>,
    /// Under which version of the account's tokens it was issued; other issuers' have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ver: Option<i32>,
}

fn lenient_id<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Uuid>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(value)?;
    Ok(value.and_then(|value| value.as_str().and_then(|text| Uuid::try_parse(text).ok())))
}

/// A token is not accepted. Why is nobody's business but the log's.
#[derive(Debug, thiserror::Error)]
#[error("token refused: {0}")]
pub struct InvalidToken(#[from] jsonwebtoken::errors::Error);

impl InvalidToken {
    /// Why, for metric labels: it is over, or no token of ours.
    pub fn as_str(&self) -> &'static str {
        match self.0.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => "expired",
            _ => "invalid",
        }
    }
}

/// Why a secret does not serve.
#[derive(Debug, thiserror::Error)]
pub enum WeakSecret {
    /// There is none.
    #[error("a secret is required (set JWT_SECRET)")]
    Missing,
    /// It is shorter than the hash.
    #[error("the secret must have at least {MIN_SECRET_BYTES} bytes outside development")]
    Short,
}

/// Issues and checks tokens.
#[derive(Clone)]
pub struct TokenAuthority {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    lifetime: Duration,
}

impl std::fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAuthority")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

impl TokenAuthority {
    /// An authority over tokens signed with `secret`, each good for `lifetime`.
    pub fn new(
        secret: &str,
        lifetime: Duration,
        environment: Environment,
    ) -> Result<Self, WeakSecret> {
        if secret.is_empty() {
            return Err(WeakSecret::Missing);
        }
        if secret.len() < MIN_SECRET_BYTES && environment != Environment::Development {
            return Err(WeakSecret::Short);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // The replaced backends name no audience; theirs and ours need not.
        validation.validate_aud = false;
        validation.leeway = 0;
        Ok(Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            lifetime,
        })
    }

    /// How long a new token is good for.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A new token for a user, under the version at which the account's tokens are.
    pub fn issue(&self, user: UserId, version: i32) -> Result<String, InvalidToken> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let claims = Claims {
            sub: user,
            iat: now,
            exp: now.saturating_add(self.lifetime.as_secs()),
            jti: Some(Uuid::new_v4()),
            ver: Some(version),
        };
        Ok(jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &self.encoding,
        )?)
    }

    /// What a token says, if it is ours and not over.
    pub fn verify(&self, token: &str) -> Result<Claims, InvalidToken> {
        let mut claims =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)?.claims;
        if claims.jti.is_none() {
            // Of what was signed alone: the signature can be spelled in several ways.
            let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
            claims.jti = Some(Uuid::new_v5(&FOREIGN_TOKENS, signed.as_bytes()));
        }
        Ok(claims)
    }
}

/// Hashes a password. Takes tens of milliseconds of CPU: call it off the async threads.
pub fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default()
        .hash_password(password.as_bytes())?
        .to_string())
}

/// Whether a password matches a hash. Takes as long as hashing; a malformed hash matches nothing.
pub fn verify_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(lifetime: u64) -> TokenAuthority {
        TokenAuthority::new(
            "a-test-secret-of-thirty-two-bytes",
            Duration::from_secs(lifetime),
            Environment::Production,
        )
        .unwrap()
    }

    #[test]
    fn a_token_says_whose_it_is() {
        let (authority, user) = (authority(60), UserId::generate());
        let token = authority.issue(user, 0).unwrap();
        assert_eq!(authority.verify(&token).unwrap().sub, user);
    }

    #[test]
    fn expired_foreign_and_unsigned_tokens_are_refused() {
        let user = UserId::generate();
        let other = TokenAuthority::new(
            "another-secret-of-thirty-two-byte",
            Duration::from_secs(60),
            Environment::Production,
        )
        .unwrap();
        assert!(
            authority(60)
                .verify(&other.issue(user, 0).unwrap())
                .is_err()
        );

        let past = Claims {
            sub: user,
            iat: 1,
            exp: 2,
            jti: None,
            ver: None,
        };
        let sign =
            |header: &Header| jsonwebtoken::encode(header, &past, &authority(60).encoding).unwrap();
        assert!(
            authority(60)
                .verify(&sign(&Header::new(Algorithm::HS256)))
                .is_err()
        );

        let future = Claims {
            sub: user,
            iat: 1,
            exp: u64::MAX / 2,
            jti: None,
            ver: None,
        };
        let hs384 = jsonwebtoken::encode(
            &Header::new(Algorithm::HS384),
            &future,
            &authority(60).encoding,
        )
        .unwrap();
        assert!(authority(60).verify(&hs384).is_err());
        // {"alg":"none","typ":"JWT"} with the same claims and no signature.
        let body = hs384.split('.').nth(1).unwrap();
        assert!(
            authority(60)
                .verify(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."))
                .is_err()
        );
    }

    #[test]
    fn other_issuers_tokens_have_an_id_too() {
        let (authority, user) = (authority(60), UserId::generate());
        let sign = |claims: serde_json::Value| {
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &authority.encoding)
                .unwrap()
        };
        let plain = sign(serde_json::json!({"sub": user, "exp": u64::MAX / 2}));
        let named = sign(serde_json::json!({"sub": user, "exp": u64::MAX / 2, "jti": "a1"}));
        let id = |token: &str| authority.verify(token).unwrap().jti.unwrap();
        assert_eq!(id(&plain), id(&plain));
        assert_ne!(id(&plain), id(&named));
        let ours = Uuid::new_v4();
        let ours_named = sign(serde_json::json!({"sub": user, "exp": u64::MAX / 2, "jti": ours}));
        assert_eq!(id(&ours_named), ours);
    }

    #[test]
    fn weak_secrets_are_refused_outside_development() {
        let make =
            |secret, environment| TokenAuthority::new(secret, Duration::from_secs(1), environment);
        assert!(make("", Environment::Development).is_err());
        assert!(make("short", Environment::Production).is_err());
        assert!(make("short", Environment::Test).is_err());
        assert!(make("short", Environment::Development).is_ok());
    }

    #[test]
    fn passwords_match_their_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify_password("correct horse", &hash));
        assert!(!verify_password("wrong horse", &hash));
        assert!(!verify_password("correct horse", "not a hash"));
    }
}
