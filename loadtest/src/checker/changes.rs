//! Edits, deletions and readings: stored where confirmed, and shown.

use std::collections::{HashMap, HashSet};

use super::Case;
use super::index::{Index, sent};
use super::report::{Report, Rule};
use crate::log::{ChangeKind, ClientLog, Outcome, Seen, Sight, TOMBSTONE};
use crate::truth::StoredMessage;

pub(super) fn check(case: &Case<'_>, index: &Index, report: &mut Report) {
    let asked = Asked::collect(case, report);
    for (conversation, stored) in (0..).zip(&case.truth.conversations) {
        for row in &stored.messages {
            asked.compare(conversation, row, report);
        }
    }
    for (client, log) in (0..).zip(case.logs) {
        shown(case, index, client, log, report);
        if log.had_one_session() {
            last_versions(case, client, log, report);
            readings(case, client, log, report);
        }
    }
}

/// What was asked for each message.
#[derive(Default)]
struct Asked {
    confirmed_version: HashMap<i64, u16>,
    confirmed_deletions: HashSet<i64>,
    deletions: HashSet<i64>,
}

impl Asked {
    fn collect(case: &Case<'_>, report: &mut Report) -> Self {
        let mut asked = Self::default();
        for (client, log) in (0_u32..).zip(case.logs) {
            for change in &log.changes {
                let confirmed = matches!(change.outcome, Outcome::Done { .. });
                match change.outcome {
                    Outcome::Pending => report.add(Rule::Answered, || {
                        format!("client {client}: {change:?} was never answered")
                    }),
                    Outcome::Refused(_) => {
                        report.add(Rule::NotRefused, || format!("client {client}: {change:?}"));
                    }
                    Outcome::Done { .. } | Outcome::Unknown => {}
                }
                match change.kind {
                    ChangeKind::Edit(version) if confirmed => {
                        let highest = asked.confirmed_version.entry(change.message).or_default();
                        *highest = version.max(*highest);
                    }
                    ChangeKind::Delete => {
                        asked.deletions.insert(change.message);
                        if confirmed {
                            asked.confirmed_deletions.insert(change.message);
                        }
                    }
                    ChangeKind::Edit(_) | ChangeKind::Read | ChangeKind::ReadAll => {}
                }
            }
        }
        asked
    }

    fn compare(&self, conversation: u32, row: &StoredMessage, report: &mut Report) {
        let mut wrong = |what: &str| {
            report.add(Rule::ChangeStored, || {
                format!("conversation {conversation}: {what}: {row:?}")
            });
        };
        if row.deleted && !self.deletions.contains(&row.id) {
            wrong("nobody asked for this deletion");
        }
        if !row.deleted && self.confirmed_deletions.contains(&row.id) {
            wrong("its deletion was confirmed");
        }
        let version = self.confirmed_version.get(&row.id).copied().unwrap_or(0);
        if row.stamp.is_some_and(|stamp| stamp.version < version) {
            wrong(&format!("its edit to version {version} was confirmed"));
        }
    }
}

/// What one session has shown of a message.
#[derive(Default, Clone, Copy)]
struct View {
    /// On which of its connections last.
    connection: u16,
    shown: Option<u16>,
    edited: u16,
    deleted: bool,
}

/// Once, and in order, in each session.
fn shown(case: &Case<'_>, index: &Index, client: u32, log: &ClientLog, report: &mut Report) {
    let changed: HashSet<i64> = log
        .seen
        .iter()
        .filter(|seen| matches!(seen.sight, Sight::Edited | Sight::Deleted))
        .map(|seen| seen.message)
        .collect();
    if changed.is_empty() {
        return;
    }
    let sessions = log.sessions();
    let mut views: HashMap<(u16, i64), View> = HashMap::new();
    for seen in log
        .seen
        .iter()
        .filter(|seen| seen.sight != Sight::Read && changed.contains(&seen.message))
    {
        let session = sessions
            .get(usize::from(seen.connection))
            .copied()
            .unwrap_or(seen.connection);
        let view = views
            .entry((session, seen.message))
            .or_insert_with(|| View {
                connection: seen.connection,
                ..View::default()
            });
        let (once, in_order) = if view.connection == seen.connection {
            (Rule::ChangeShownOnce, Rule::ChangeShownInOrder)
        } else {
            (Rule::RecoveredOnce, Rule::RecoveredInOrder)
        };
        view.connection = seen.connection;
        let told = || format!("client {client}: {seen:?}");
        match seen.sight {
            Sight::Message => view.shown = Some(seen.version),
            Sight::Edited => {
                if !exists(case, index, seen) {
                    report.add(Rule::OnlyStored, || {
                        format!("{}: no such message, or no such version", told())
                    });
                }
                if view.edited == seen.version {
                    report.add(once, told);
                } else if view.deleted || seen.version < view.edited.max(view.shown.unwrap_or(0)) {
                    report.add(in_order, || {
                        format!("{} after version {}", told(), view.edited)
                    });
                }
                view.edited = view.edited.max(seen.version);
            }
            Sight::Deleted => {
                if view.deleted {
                    report.add(once, told);
                }
                view.deleted = true;
            }
            Sight::Read => {}
        }
        if seen.sight != Sight::Message && view.shown.is_none() && log.had_one_session() {
            report.add(in_order, || format!("{} before the message itself", told()));
        }
    }
}

fn exists(case: &Case<'_>, index: &Index, seen: &Seen) -> bool {
    let Some((conversation, position)) = index.row(seen.message) else {
        return false;
    };
    let origin = case
        .truth
        .conversation(conversation)
        .and_then(|stored| stored.messages.get(position))
        .and_then(|row| row.stamp)
        .map(|stamp| (stamp.client, stamp.send));
    // A tombstone does not say what it was.
    origin.is_none_or(|origin| sent(case, origin).is_some_and(|sent| seen.version <= sent.version))
}

/// The last version that a client was shown of each message is the stored one.
fn last_versions(case: &Case<'_>, client: u32, log: &ClientLog, report: &mut Report) {
    let mut views: HashMap<i64, u16> = HashMap::new();
    for conversation in case.population.rooms_of(client) {
        let rows = case
            .truth
            .conversation(conversation)
            .map_or(&[][..], |stored| &stored.messages);
        views.extend(
            rows.iter()
                .filter(|row| row.change_seq != row.seq)
                .map(|row| (row.id, 0)),
        );
    }
    if views.is_empty() {
        return;
    }
    for seen in log.seen.iter().filter(|seen| seen.sight != Sight::Read) {
        if let Some(view) = views.get_mut(&seen.message) {
            *view = seen.version;
        }
    }
    for conversation in case.population.rooms_of(client) {
        for row in case
            .truth
            .conversation(conversation)
            .map_or(&[][..], |stored| &stored.messages)
        {
            let stored = row.stamp.map_or(TOMBSTONE, |stamp| stamp.version);
            if let Some(shown) = views.get(&row.id)
                && *shown != stored
            {
                report.add(Rule::ChangeShown, || {
                    format!("client {client}, conversation {conversation}: was last shown version {shown} of {row:?}")
                });
            }
        }
    }
}

/// Each member's last durable reading was shown to the others.
fn readings(case: &Case<'_>, client: u32, log: &ClientLog, report: &mut Report) {
    let shown: HashSet<(u32, u32, i64)> = log
        .seen
        .iter()
        .filter(|seen| seen.sight == Sight::Read)
        .map(|seen| (seen.conversation, seen.place, seen.message))
        .collect();
    for conversation in case.population.rooms_of(client) {
        let members = case
            .truth
            .conversation(conversation)
            .map_or(&[][..], |stored| &stored.members);
        for member in members.iter().filter(|member| member.read_seq > 0) {
            let reader = case
                .population
                .client_of(&crate::setup::spelled(member.user.0));
            let Some(reader) = reader.filter(|reader| *reader != client) else {
                continue;
            };
            if !shown.contains(&(conversation, reader, member.read_message.unwrap_or(0))) {
                report.add(Rule::ChangeShown, || {
                    format!(
                        "client {client}, conversation {conversation}: was not shown that client {reader} has read up to \
                         message {:?} (seq {})",
                        member.read_message, member.read_seq
                    )
                });
            }
        }
    }
}
