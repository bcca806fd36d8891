//! What was sent: stored where acknowledged, once, in order; and answered.

use std::collections::HashMap;

use super::Case;
use super::index::{Index, Origin, sent};
use super::report::{Report, Rule};
use crate::log::{ClientLog, Outcome};

pub(super) fn check(case: &Case<'_>, index: &Index, report: &mut Report) {
    for (client, log) in (0..).zip(case.logs) {
        for (send, sent) in (0..).zip(&log.sends) {
            let origin: Origin = (client, send);
            let told = format!(
                "send {send} of client {client} in conversation {}",
                sent.conversation
            );
            match sent.outcome {
                Outcome::Done { value, .. } if index.origin(value) == Some(origin) => {}
                Outcome::Done { value, .. } => report.add(Rule::AckedIsStored, || {
                    format!(
                        "{told} was acknowledged as {value}, and is stored as {:?}",
                        index.stored_as(origin)
                    )
                }),
                Outcome::Refused(code) => {
                    report.add(Rule::NotRefused, || {
                        format!("{told} was refused: {}", code.as_str())
                    });
                    if let Some(message) = index.stored_as(origin) {
                        report.add(Rule::RefusedIsNotStored, || {
                            format!(
                                "{told} was refused with {}, and is stored as {message}",
                                code.as_str()
                            )
                        });
                    }
                }
                Outcome::Pending => {
                    report.add(Rule::Answered, || {
                        format!("{told} was never answered (attempt {})", sent.attempts)
                    });
                }
                Outcome::Unknown => {}
            }
            let acknowledged = matches!(sent.outcome, Outcome::Done { .. });
            if acknowledged && sent.attempts == 1 && sent.notices != 1 && log.was_always_connected()
            {
                report.add(Rule::NoticedOnce, || {
                    format!("{told} had {} messageSent", sent.notices)
                });
            }
        }
        sender_order(case, index, client, log, report);
    }
    for conversation in (0..)
        .zip(&case.truth.conversations)
        .map(|(conversation, _)| conversation)
    {
        real_time_order(case, index, conversation, report);
    }
}

/// Only sends that were confirmed at their first attempt: one that was repeated may have taken either place.
fn sender_order(case: &Case<'_>, index: &Index, client: u32, log: &ClientLog, report: &mut Report) {
    let mut last: HashMap<u32, (i64, u32)> = HashMap::new();
    for (send, sent) in (0..).zip(&log.sends) {
        let Outcome::Done { value, .. } = sent.outcome else {
            continue;
        };
        let Some((conversation, position)) = index.row(value) else {
            continue;
        };
        if sent.attempts != 1 || conversation != sent.conversation {
            continue;
        }
        let Some(row) = case
            .truth
            .conversation(conversation)
            .and_then(|stored| stored.messages.get(position))
        else {
            continue;
        };
        if let Some((seq, earlier)) = last.insert(conversation, (row.seq, send))
            && seq > row.seq
        {
            report.add(Rule::SenderOrder, || {
                format!(
                    "client {client}, conversation {conversation}: send {earlier} has seq {seq}, and send {send}, made \
                     later, has {}",
                    row.seq
                )
            });
        }
    }
}

/// In order of `seq`, nothing may stand before what was acknowledged before it was sent.
fn real_time_order(case: &Case<'_>, index: &Index, conversation: u32, report: &mut Report) {
    let mut latest: Option<(u64, i64, Origin)> = None;
    for (row, origin, this) in index.sends(case, conversation) {
        if let Outcome::Done { at, .. } = this.outcome
            && let Some((begun, seq, other)) = latest
            && at < begun
        {
            report.add(Rule::RealTimeOrder, || {
                format!(
                    "conversation {conversation}: send {} of client {} has seq {seq}, and was made {} ms after send {} of \
                     client {} with seq {} was acknowledged",
                    other.1,
                    other.0,
                    (begun - at) / 1_000_000,
                    origin.1,
                    origin.0,
                    row.seq
                )
            });
        }
        if latest.is_none_or(|(begun, ..)| begun < this.at) {
            latest = Some((this.at, row.seq, origin));
        }
    }
}

/// When a row's message was first sent, and when it was acknowledged.
pub(super) fn moments(case: &Case<'_>, origin: Origin) -> Option<(u64, Option<u64>)> {
    let sent = sent(case, origin)?;
    let acknowledged = match sent.outcome {
        Outcome::Done { at, .. } => Some(at),
        Outcome::Pending | Outcome::Refused(_) | Outcome::Unknown => None,
    };
    Some((sent.at, acknowledged))
}
