//! Compares what every client did and saw with what PostgreSQL holds, and names every promise that a run broke.
//!
//! Owns the rules and nothing else: it reads no database and opens no connection, so that bad logs can be fed to it in tests.
//!
//! All clients of a run are in one process and share one clock, so it also knows what came before what across clients.

mod changes;
mod counters;
mod deliveries;
mod index;
mod recoveries;
mod report;
mod sends;
#[cfg(test)]
mod tests;

pub use recoveries::Recoveries;
pub use report::{Report, Rule, Violation};

use crate::log::ClientLog;
use crate::setup::Population;
use crate::truth::{ShownUnread, Truth};
use index::Index;

/// A run, after it has come to rest: nothing is asked for any more, and what was to arrive has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Who took part.
    pub population: &'a Population,
    /// What each client did and saw, in the population's order.
    pub logs: &'a [ClientLog],
    /// What is stored.
    pub truth: &'a Truth,
    /// What the members are told about what they have not read.
    pub shown: &'a [ShownUnread],
}

impl Case<'_> {
    /// Checks every rule.
    pub fn check(&self) -> Report {
        let mut report = Report::default();
        recoveries::check(self, &mut report);
        let index = Index::build(self, &mut report);
        sends::check(self, &index, &mut report);
        deliveries::check(self, &index, &mut report);
        changes::check(self, &index, &mut report);
        counters::check(self, &index, &mut report);
        report
    }
}
