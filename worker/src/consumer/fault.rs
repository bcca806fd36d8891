//! What a failure says about the batch that met it.

use confab_shared::id::Partition;
use confab_shared::model::error::is_outage;

/// Why an attempt stored nothing.
pub(super) enum Failure {
    Fenced(Vec<Partition>),
    Stale,
    Database(Fault, sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Fault::of(&error), error)
    }
}

/// Whose fault it is that a batch was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The database is away, or does not take changes: no batch would fare better.
    Away,
    /// The batch took longer, or more memory, than the server gives. Perhaps the server is busy; perhaps a smaller batch fares better.
    Overrun,
    /// The batch itself is refused, so one of its commands has to be.
    Entry,
}

impl Fault {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        // The statement's time-out; out of memory.
        let exceeds = |code: &str| matches!(code, "57014" | "53200");
        match error {
            sqlx::Error::Database(database) if database.code().as_deref().is_some_and(exceeds) => {
                Self::Overrun
            }
            _ if is_outage(error) => Self::Away,
            _ => Self::Entry,
        }
    }
}
