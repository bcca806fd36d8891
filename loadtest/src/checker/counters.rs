//! What PostgreSQL counts: places, ranks, totals, and what each member has not read.

use std::collections::{HashMap, HashSet};

use confab_shared::id::ConversationId;

use super::Case;
use super::index::Index;
use super::report::{Report, Rule};
use super::sends::moments;
use crate::index::at;
use crate::log::{Change, ChangeKind, Outcome};
use crate::truth::{StoredConversation, StoredMember};

pub(super) fn check(case: &Case<'_>, index: &Index, report: &mut Report) {
    let shown: HashMap<(ConversationId, u32), i64> = case
        .shown
        .iter()
        .map(|shown| ((shown.conversation, shown.client), shown.unread))
        .collect();
    for ((conversation, stored), room) in (0..)
        .zip(&case.truth.conversations)
        .zip(&case.population.rooms)
    {
        places(conversation, stored, report);
        let clock = ReadClock::new(case, index, conversation);
        for client in &room.members {
            let user = case.population.users.get(at(*client)).map(|user| user.id);
            let Some(member) = stored
                .members
                .iter()
                .find(|member| Some(member.user) == user)
            else {
                report.add(Rule::MarkerExact, || {
                    format!("client {client} is no member of conversation {conversation}")
                });
                continue;
            };
            clock.compare(case, *client, member, report);
            let told = shown.get(&(room.id, *client)).copied();
            if told != Some(member.unread) {
                report.add(Rule::UnreadExact, || {
                    format!(
                        "client {client}, conversation {conversation}: it is told {told:?}, and {} rows are unread",
                        member.unread
                    )
                });
            }
        }
    }
}

fn places(conversation: u32, stored: &StoredConversation, report: &mut Report) {
    for (ordinal, row) in (1..).zip(&stored.messages) {
        if row.ordinal != ordinal {
            report.add(Rule::OrdinalsDense, || {
                format!("conversation {conversation}: {ordinal} expected at {row:?}")
            });
            break;
        }
    }
    let rows = i64::try_from(stored.messages.len()).unwrap_or(i64::MAX);
    if stored.message_count != rows {
        report.add(Rule::CountExact, || {
            format!(
                "conversation {conversation} counts {} messages, and has {rows}",
                stored.message_count
            )
        });
    }
    let mut used = HashSet::new();
    let messages = stored.messages.iter().flat_map(|row| {
        [
            Some(row.seq),
            (row.change_seq != row.seq).then_some(row.change_seq),
        ]
    });
    let readings = stored
        .members
        .iter()
        .map(|member| (member.read_seq > 0).then_some(member.read_seq));
    for seq in messages.chain(readings).flatten() {
        if !used.insert(seq) {
            report.add(Rule::SeqUnique, || {
                format!("conversation {conversation}: seq {seq} stands for two changes")
            });
        }
        if seq > stored.last_seq {
            report.add(Rule::LastSeqCovers, || {
                format!(
                    "conversation {conversation}: seq {seq} is beyond last_seq {}",
                    stored.last_seq
                )
            });
        }
    }
}

/// When each message of a conversation was sent and acknowledged: what a reading covers follows from when it was asked for.
struct ReadClock {
    conversation: u32,
    /// Ordinal, client, first sent, acknowledged.
    messages: Vec<(i64, u32, u64, Option<u64>)>,
    ordinals: HashMap<i64, i64>,
}

impl ReadClock {
    fn new(case: &Case<'_>, index: &Index, conversation: u32) -> Self {
        let mut messages = Vec::new();
        let mut ordinals = HashMap::new();
        for (row, origin, _) in index.sends(case, conversation) {
            ordinals.insert(row.id, row.ordinal);
            if let Some((sent, acknowledged)) = moments(case, origin) {
                messages.push((row.ordinal, origin.0, sent, acknowledged));
            }
        }
        Self {
            conversation,
            messages,
            ordinals,
        }
    }

    /// The marker is at least where what was confirmed put it, and at most where what was asked for can have put it.
    fn compare(&self, case: &Case<'_>, client: u32, member: &StoredMember, report: &mut Report) {
        let own = self
            .messages
            .iter()
            .filter(|(_, sender, ..)| *sender == client)
            .map(|(ordinal, ..)| *ordinal)
            .max();
        let (mut least, mut most) = (own.unwrap_or(0), own.unwrap_or(0));
        let changes = case
            .logs
            .get(at(client))
            .map_or(&[][..], |log| &log.changes);
        for change in changes
            .iter()
            .filter(|change| change.conversation == self.conversation)
        {
            let (low, high) = self.reach(change);
            least = least.max(low);
            most = most.max(high);
        }
        if !(least..=most).contains(&member.read_count) {
            report.add(Rule::MarkerExact, || {
                format!(
                    "client {client}, conversation {}: read up to {}, and what it sent and read puts it at {least} to {most}",
                    self.conversation, member.read_count
                )
            });
        }
    }

    /// How far a reading raises the marker for certain, and at most.
    fn reach(&self, change: &Change) -> (i64, i64) {
        let named = || self.ordinals.get(&change.message).copied().unwrap_or(0);
        let highest = |covers: &dyn Fn(u64, Option<u64>) -> bool| {
            let covered = self
                .messages
                .iter()
                .filter(|(_, _, sent, acknowledged)| covers(*sent, *acknowledged));
            covered.map(|(ordinal, ..)| *ordinal).max().unwrap_or(0)
        };
        match (change.kind, change.outcome) {
            (ChangeKind::Edit(_) | ChangeKind::Delete, _) | (_, Outcome::Refused(_)) => (0, 0),
            (ChangeKind::Read, Outcome::Done { .. }) => (named(), named()),
            (ChangeKind::Read, Outcome::Pending | Outcome::Unknown) => (0, named()),
            (ChangeKind::ReadAll, Outcome::Done { at, .. }) => (
                highest(&|_, acknowledged| {
                    acknowledged.is_some_and(|acknowledged| acknowledged < change.at)
                }),
                highest(&|sent, _| sent < at),
            ),
            (ChangeKind::ReadAll, Outcome::Pending | Outcome::Unknown) => {
                (0, highest(&|_, _| true))
            }
        }
    }
}
