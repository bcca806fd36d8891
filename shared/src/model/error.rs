//! Why a request was refused, in the words every dialect shares.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The codes of a refusal. Their spelling is part of the wire contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// No valid token.
    Unauthorized,
    /// Known to the user, but not theirs to do.
    Forbidden,
    /// It does not exist, or the user may not know that it does.
    NotFound,
    /// The request does not have the required form.
    ValidationFailed,
    /// The request is larger than what is accepted.
    PayloadTooLarge,
    /// The user asked too often.
    RateLimited,
    /// The system sheds load. Nothing was done; retry later.
    Overloaded,
    /// Not confirmed in time. It may yet happen; safe to retry with the same client-chosen id.
    Timeout,
    /// It contradicts what is there.
    Conflict,
    /// A fault of ours.
    Internal,
}

impl ErrorCode {
    /// The code as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::ValidationFailed => "VALIDATION_FAILED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::RateLimited => "RATE_LIMITED",
            Self::Overloaded => "OVERLOADED",
            Self::Timeout => "TIMEOUT",
            Self::Conflict => "CONFLICT",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Rejection {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// What is wrong, for a person to read. Never contains a secret or another user's data.
    pub message: String,
    /// After how many milliseconds it makes sense to ask again, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Rejection {
    /// A refusal with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The user asked too often, and may ask again after this long.
    pub fn rate_limited(retry_after: Duration) -> Self {
        let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        Self {
            retry_after_ms: Some(milliseconds),
            ..Self::new(ErrorCode::RateLimited, "too many requests; slow down")
        }
    }

    /// The request does not have the required form.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ValidationFailed, message)
    }

    /// It does not exist, or the user may not know that it does.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} not found"))
    }

    /// Known to the user, but not theirs to do.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }
}

/// What went wrong when something was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request was understood and refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// PostgreSQL did not answer as it should.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Redis did not answer as it should.
    #[error("redis: {0}")]
    Redis(#[from] fred::error::Error),
}

impl RequestError {
    /// What the client is told: a refusal as it is; a fault of a dependency as a retryable one, without its details.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Rejected(rejection) => rejection.clone(),
            Self::Database(error) if is_outage(error) => Rejection::new(
                ErrorCode::Timeout,
                "the database does not answer; try again",
            ),
            Self::Redis(_) => Rejection::new(
                ErrorCode::Timeout,
                "the message bus does not answer; try again",
            ),
            Self::Database(_) => Rejection::new(ErrorCode::Internal, "internal error"),
        }
    }
}

/// Whether an error means that PostgreSQL is away, restarting or not as it should be, rather than that the statement is wrong.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_) => true,
        // Class 57P: operator intervention (shutdown, crash, starting up); 08: connection exceptions; 53: no resources;
        // 25P03: the server ended an idle transaction; 40: serialization failure or deadlock, both cured by a retry;
        // 55P03: a lock was not had in time; 57014: nor the time. Not of the statement's making either: 25006, a standby that is read
        // only; 28 and 3D000: the server does not let us in or has no such database; 58: its disk failed.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            [
                "57P", "08", "53", "25P03", "25006", "28", "3D000", "40", "55P03", "57014", "58",
            ]
            .iter()
            .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}
