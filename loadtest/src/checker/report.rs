//! The rules, and what was found against them.

use std::collections::BTreeMap;
use std::fmt;

use super::Recoveries;

/// How many violations of one rule are kept with their evidence; the others are counted.
const KEPT: usize = 8;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An acknowledged message has its row, and the row is that message's.
    AckedIsStored,
    /// A message has one row however often it was sent.
    StoredOnce,
    /// Every row was sent, by its sender, to its conversation.
    NothingInvented,
    /// What is asked for on a connection that lives is answered.
    Answered,
    /// What should succeed is not refused, other than for the time being.
    NotRefused,
    /// A refused message is not stored.
    RefusedIsNotStored,
    /// An acknowledged message has one `messageSent`.
    NoticedOnce,
    /// One sender's messages are in the order in which they were sent.
    SenderOrder,
    /// A message that was sent after another was acknowledged comes after it.
    RealTimeOrder,
    /// A message is delivered once on a connection.
    DeliveredOnce,
    /// Messages are delivered in the order of `seq`.
    DeliveredInOrder,
    /// Nothing is missing between two messages delivered on a connection.
    NoGap,
    /// A client has every message: live, or, after a reconnection, by the history.
    Complete,
    /// Nothing is delivered but what is stored, as it is stored.
    OnlyStored,
    /// What is received makes sense to a member of the conversation.
    Understood,
    /// Every client is connected at the end.
    Connected,
    /// A recovered session has the ids that it had, and no other session has them.
    RecoveredIsTheSame,
    /// Nothing is missing between the last message before a recovered gap and the first after it.
    RecoveredComplete,
    /// What came before a gap does not come again after it was recovered.
    RecoveredOnce,
    /// What was missed in a recovered gap comes in order, and before what happened later.
    RecoveredInOrder,
    /// A confirmed edit or deletion is stored, and none is that was not asked for.
    ChangeStored,
    /// An edit or a deletion is shown once on a connection.
    ChangeShownOnce,
    /// A message, its edits and its deletion are shown in this order.
    ChangeShownInOrder,
    /// Who was connected all the time, or always recovered, has seen each message's last version, and each member's last reading.
    ChangeShown,
    /// The messages' ranks are 1, 2, 3… in the order of `seq`.
    OrdinalsDense,
    /// A conversation counts its messages rightly.
    CountExact,
    /// No two changes have one `seq`.
    SeqUnique,
    /// A conversation's last change is not before its messages' changes.
    LastSeqCovers,
    /// A member's read marker is where its sends and readings put it.
    MarkerExact,
    /// The unread count that a member is shown is the number of rows it has not read.
    UnreadExact,
}

/// A promise broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where, and by what it shows.
    pub evidence: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    counts: BTreeMap<Rule, usize>,
    kept: Vec<Violation>,
    recoveries: Recoveries,
}

impl Report {
    /// Notes a violation. The evidence is only put into words if it is kept.
    pub(super) fn add(&mut self, rule: Rule, evidence: impl FnOnce() -> String) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= KEPT {
            self.kept.push(Violation {
                rule,
                evidence: evidence(),
            });
        }
    }

    pub(super) fn set_recoveries(&mut self, recoveries: Recoveries) {
        self.recoveries = recoveries;
    }

    /// How many reconnections were recovered.
    pub fn recoveries(&self) -> &Recoveries {
        &self.recoveries
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// How often each broken promise was broken.
    pub fn counts(&self) -> &BTreeMap<Rule, usize> {
        &self.counts
    }

    /// The first few violations of each rule.
    pub fn violations(&self) -> &[Violation] {
        &self.kept
    }

    /// How many violations there are.
    pub fn total(&self) -> usize {
        self.counts.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("every promise was kept");
        }
        writeln!(f, "{} violations:", self.total())?;
        for (rule, count) in &self.counts {
            writeln!(f, "  {rule:?}: {count}")?;
            for violation in self.kept.iter().filter(|violation| violation.rule == *rule) {
                writeln!(f, "    - {}", violation.evidence)?;
            }
            if *count > KEPT {
                writeln!(f, "    - and {} more", count - KEPT)?;
            }
        }
        Ok(())
    }
}
