//! The spans of a batch, for those of its commands that are traced.
//!
//! A command's span belongs to the trace that its gateway began. A batch is several commands' at once, so its span has a trace of its own,
//! with the statements below it; the two kinds are linked both ways.

use std::collections::HashMap;

use confab_shared::id::Partition;
use confab_shared::model::command::{CommandEnvelope, Outcome};
use confab_shared::model::error::Rejection;
use confab_shared::model::event::RoomBatch;
use confab_shared::telemetry::{Kind, Span, Traces};

use super::batch::Entry;

/// What becomes of a command here, until it is answered.
pub(super) fn command(traces: &Traces, envelope: &CommandEnvelope, partition: Partition) -> Span {
    let mut span = Span::default();
    if envelope.trace.is_some() {
        let name = format!("process {}", envelope.command.name());
        span = traces.after(envelope.trace, name, Kind::Consumer);
        span.messaging("process", "ingress");
        span.describe(|| {
            [
                (
                    "messaging.destination.partition.id",
                    partition.to_string().into(),
                ),
                ("messaging.message.id", envelope.id.to_string().into()),
                (
                    "confab.conversation",
                    envelope.conversation.to_string().into(),
                ),
            ]
        });
    }
    span
}

/// A batch, if any of its commands is traced.
pub(super) fn batch(traces: &Traces, batches: &mut [Vec<Entry>]) -> Span {
    if !traces.are_on() {
        return Span::default();
    }
    let entries = || batches.iter().flatten();
    let commands = entries().filter_map(|entry| entry.span.context());
    let mut span = traces.linked(commands, "process batch", Kind::Consumer);
    if span.is_recorded() {
        let count = i64::try_from(entries().count()).unwrap_or(i64::MAX);
        span.messaging("process", "ingress");
        span.set("messaging.batch.message_count", count);
        for entry in batches.iter_mut().flatten() {
            entry.span.link(span.context());
        }
    }
    span
}

/// A statement for a batch.
pub(super) fn statement(batch: &Span, name: &'static str, size: usize) -> Span {
    let mut span = batch.child(name, Kind::Client);
    span.describe(|| {
        [
            ("db.system.name", "postgresql".into()),
            ("db.operation.name", name.into()),
            (
                "db.operation.batch.size",
                i64::try_from(size).unwrap_or(i64::MAX).into(),
            ),
        ]
    });
    span
}

/// What commands brought about is announced: gateways go on from there. Rooms are told whose announcements they carry.
pub(super) fn announcements(
    entries: &[Entry],
    outcomes: &[Result<Outcome, Rejection>],
    rooms: &mut [RoomBatch],
) -> Vec<Span> {
    let mut announcing = Vec::new();
    let mut places = None;
    for (entry, outcome) in entries.iter().zip(outcomes) {
        if !entry.span.is_recorded() || outcome.is_err() {
            continue;
        }
        let places = places.get_or_insert_with(|| {
            let rooms = rooms.iter().enumerate();
            rooms
                .map(|(place, room)| (room.conversation, place))
                .collect::<HashMap<_, _>>()
        });
        let Some(place) = places.get(&entry.envelope.conversation) else {
            continue;
        };
        let mut span = entry.span.child("send room", Kind::Producer);
        span.messaging("send", "room");
        rooms[*place].traces.extend(span.context());
        announcing.push(span);
    }
    announcing
}

/// Gateways are told what became of their commands.
pub(super) fn replies(entries: &[Entry]) -> Vec<Span> {
    let recorded = entries.iter().filter(|entry| entry.span.is_recorded());
    recorded
        .map(|entry| {
            let mut span = entry.span.child("send reply", Kind::Producer);
            span.messaging("send", "node");
            span
        })
        .collect()
}
