//! Sessions that were recovered, and those that were not.
//!
//! What a recovered session's client saw is checked with everything else that was delivered; here is who it is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::Case;
use super::report::{Report, Rule};
use crate::log::Link;

/// How many reconnections that were not recovered are kept as evidence.
const KEPT: usize = 8;

/// How many reconnections were recovered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// By kind of client, in their names' order: reconnections, and how many of them were recovered.
    counts: BTreeMap<&'static str, (usize, usize)>,
    /// The first few that were not.
    missed: Vec<String>,
}

impl Recoveries {
    /// How many reconnections there were.
    pub fn reconnections(&self) -> usize {
        self.counts.values().map(|(all, _)| all).sum()
    }

    /// How many of them were recovered.
    pub fn recovered(&self) -> usize {
        self.counts.values().map(|(_, recovered)| recovered).sum()
    }

    /// The first few reconnections that were not recovered.
    pub fn missed(&self) -> &[String] {
        &self.missed
    }

    fn note(&mut self, client: u32, before: &Link, link: &Link) {
        let count = self.counts.entry(link.kind.name()).or_default();
        count.0 += 1;
        count.1 += usize::from(link.recovered);
        if !link.recovered && self.missed.len() < KEPT {
            let gap = link.opened.saturating_sub(before.closed.unwrap_or(0)) / 1_000_000;
            self.missed.push(format!(
                "client {client} ({}), {gap} ms from gateway {} to gateway {}",
                link.kind.name(),
                before.gateway,
                link.gateway
            ));
        }
    }
}

impl fmt::Display for Recoveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recovered, all) = (self.recovered(), self.reconnections());
        write!(f, "{recovered} of {all} reconnections recovered")?;
        for (kind, (all, recovered)) in &self.counts {
            write!(f, ", {kind} {recovered} of {all}")?;
        }
        Ok(())
    }
}

pub(super) fn check(case: &Case<'_>, report: &mut Report) {
    let mut recoveries = Recoveries::default();
    // Which client has an id, and from which of its connections on.
    let mut known: HashMap<&str, (u32, usize)> = HashMap::new();
    for (client, log) in (0..).zip(case.logs) {
        for (index, link) in log.connections.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .and_then(|index| log.connections.get(index));
            if let Some(before) = before {
                recoveries.note(client, before, link);
            }
            if link.recovered {
                let same = before.is_some_and(|before| {
                    link.pid.is_some() && (&link.sid, &link.pid) == (&before.sid, &before.pid)
                });
                if !same {
                    report.add(Rule::RecoveredIsTheSame, || {
                        format!("client {client}: {link:?} was recovered from {before:?}")
                    });
                }
                continue;
            }
            for id in [Some(link.sid.as_str()), link.pid.as_deref()]
                .into_iter()
                .flatten()
            {
                if let Some((other, earlier)) = known.insert(id, (client, index)) {
                    report.add(Rule::RecoveredIsTheSame, || {
                        format!(
                            "client {client}: {link:?} was not recovered, and has an id of client {other}'s connection \
                             {earlier}"
                        )
                    });
                }
            }
        }
    }
    report.set_recoveries(recoveries);
}
