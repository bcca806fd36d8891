//! Which row came from which send.

use std::collections::HashMap;

use super::Case;
use super::report::{Report, Rule};
use crate::index::at;
use crate::log::{Outcome, Sent};
use crate::truth::StoredMessage;

/// A message sent: the client, and the index among its sends.
pub(super) type Origin = (u32, u32);

/// Rows and sends, each found from the other.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Where a message's row is: conversation, and position among its rows.
    rows: HashMap<i64, (u32, usize)>,
    /// By conversation and position.
    origins: Vec<Vec<Option<Origin>>>,
    /// A send's row.
    stored: HashMap<Origin, i64>,
}

impl Index {
    pub(super) fn build(case: &Case<'_>, report: &mut Report) -> Self {
        let acknowledged = acknowledged(case);
        let mut index = Self::default();
        for (conversation, stored) in (0..).zip(&case.truth.conversations) {
            let mut origins = Vec::with_capacity(stored.messages.len());
            for (position, row) in stored.messages.iter().enumerate() {
                index.rows.insert(row.id, (conversation, position));
                // A tombstone's content says nothing; whoever had it deleted had it acknowledged first.
                let said = row.stamp.map(|stamp| (stamp.client, stamp.send));
                let deleted = || acknowledged.get(&row.id).copied().filter(|_| row.deleted);
                let origin = said.or_else(deleted);
                let origin = origin.filter(|origin| is_its_send(case, conversation, row, *origin));
                if let Some(origin) = origin {
                    let first = *index.stored.entry(origin).or_insert(row.id);
                    if first != row.id {
                        report.add(Rule::StoredOnce, || {
                            format!(
                                "send {} of client {} is stored as {first} and as {}",
                                origin.1, origin.0, row.id
                            )
                        });
                    }
                } else {
                    report.add(Rule::NothingInvented, || {
                        format!(
                            "conversation {conversation}, seq {}: nobody sent {}",
                            row.seq,
                            describe(row)
                        )
                    });
                }
                origins.push(origin);
            }
            index.origins.push(origins);
        }
        index
    }

    /// Where a message's row is.
    pub(super) fn row(&self, message: i64) -> Option<(u32, usize)> {
        self.rows.get(&message).copied()
    }

    /// The send that a message came from.
    pub(super) fn origin(&self, message: i64) -> Option<Origin> {
        let (conversation, position) = self.row(message)?;
        *self.origins.get(at(conversation))?.get(position)?
    }

    /// The message that a send is stored as; the first, if there are several.
    pub(super) fn stored_as(&self, origin: Origin) -> Option<i64> {
        self.stored.get(&origin).copied()
    }

    /// The sends of a conversation's rows, in order of `seq`, with the rows.
    pub(super) fn sends<'a>(
        &'a self,
        case: &'a Case<'_>,
        conversation: u32,
    ) -> impl Iterator<Item = (&'a StoredMessage, Origin, &'a Sent)> {
        let rows = case
            .truth
            .conversation(conversation)
            .map_or(&[][..], |stored| &stored.messages);
        let origins = self
            .origins
            .get(at(conversation))
            .map_or(&[][..], Vec::as_slice);
        rows.iter().zip(origins).filter_map(|(row, origin)| {
            let origin = (*origin)?;
            Some((row, origin, sent(case, origin)?))
        })
    }
}

/// A message sent.
pub(super) fn sent<'a>(case: &Case<'a>, (client, send): Origin) -> Option<&'a Sent> {
    case.logs.get(at(client))?.sends.get(at(send))
}

fn acknowledged(case: &Case<'_>) -> HashMap<i64, Origin> {
    let mut found = HashMap::new();
    for (client, log) in (0..).zip(case.logs) {
        for (send, sent) in (0..).zip(&log.sends) {
            if let Outcome::Done { value, .. } = sent.outcome {
                found.insert(value, (client, send));
            }
        }
    }
    found
}

/// Whether a row can have come from a send: the conversation and the user are the same, and its version was asked for.
fn is_its_send(case: &Case<'_>, conversation: u32, row: &StoredMessage, origin: Origin) -> bool {
    let Some(sent) = sent(case, origin) else {
        return false;
    };
    let user = case.population.users.get(at(origin.0)).map(|user| user.id);
    let version = row
        .stamp
        .is_none_or(|stamp| stamp.version <= sent.version && stamp.at == sent.at);
    sent.conversation == conversation && user == Some(row.sender) && version
}

fn describe(row: &StoredMessage) -> String {
    let what = if row.deleted {
        "the tombstone"
    } else {
        "the message"
    };
    format!(
        "{what} {} with {:?} of user {}",
        row.id, row.stamp, row.sender
    )
}
