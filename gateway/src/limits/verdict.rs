//! What is answered to somebody who wants to do something that is limited.

use std::time::Duration;

use confab_shared::model::error::{ErrorCode, Rejection};

/// How somebody stands with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many may come at once.
    pub most: u32,
    /// How many of them are left.
    pub remaining: u32,
    /// After how long all of them are free again.
    pub reset: Duration,
}

/// Why something may not be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its author has done too much of it.
    Limited {
        /// How it stands.
        standing: Standing,
        /// After how long it makes sense to try again.
        retry_after: Duration,
    },
    /// Too many wait to be told.
    Overloaded,
}

impl Refusal {
    /// What the client is told.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Limited { retry_after, .. } => Rejection::rate_limited(*retry_after),
            Self::Overloaded => Rejection::new(
                ErrorCode::Overloaded,
                "too many requests are waiting; retry later",
            ),
        }
    }
}

/// Whether something may be done. There is no standing where nothing is counted, or it is not known.
pub type Verdict = Result<Option<Standing>, Refusal>;
