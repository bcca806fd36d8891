//! Events as they are announced: into their rooms, and counted, once per event, however many sockets listen.

use confab_shared::id::Seq;
use confab_shared::model::event::{Event, RoomBatch};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::telemetry::{Kind, Span};

use super::Actor;
use crate::hub::input::parse_published;
use crate::hub::room::Room;
use crate::metrics::Metrics;

impl Actor {
    /// A room channel carried something.
    pub(super) fn published(&mut self, payload: &[u8]) {
        match parse_published(payload) {
            Ok((position, batch)) => {
                let metrics = self.metrics.clone();
                // Until its events are in the queues of all sockets here that are shown them; nothing is recorded per socket.
                let showing = self.showing(&batch);
                self.with_room(batch.conversation, |room, stage| {
                    let announced = Announced::of(&batch.events);
                    let wish = room.receive(position, batch.events, stage);
                    announced.count(&metrics, room);
                    wish
                });
                drop(showing);
            }
            Err(error) => {
                tracing::error!(%error, "a room channel carried what is no batch of events");
            }
        }
    }

    fn showing(&self, batch: &RoomBatch) -> Vec<Span> {
        let announcements = batch.traces.iter();
        announcements
            .map(|announcement| {
                let mut span =
                    (self.traces).after(Some(*announcement), "process room", Kind::Consumer);
                span.messaging("process", "room");
                span.describe(|| [("confab.conversation", batch.conversation.to_string().into())]);
                span
            })
            .collect()
    }
}

/// Events on their way into a room: what is left to count of them when the room has taken them.
struct Announced(Vec<(&'static str, Option<Seq>, Timestamp)>);

impl Announced {
    /// What is to be known of these.
    fn of(events: &[Event]) -> Self {
        let known = |event: &Event| (event.fact.name(), event.seq, event.at);
        Self(events.iter().map(known).collect())
    }

    /// Counts those that the room has shown to somebody, rather than held back; and how long after its time each was in the queues. What is
    /// said in passing is counted, but nobody waits for it.
    fn count(self, metrics: &Metrics, room: &Room) {
        let listeners = room.listeners();
        if listeners == 0 {
            return;
        }
        let now = Timestamp::now();
        for (name, seq, at) in self.0 {
            if seq.is_some_and(|seq| !room.has_shown(seq)) {
                continue;
            }
            let label = [name];
            metrics.events_shown_total.with_label_values(&label).inc();
            metrics
                .deliveries_total
                .with_label_values(&label)
                .inc_by(listeners as u64);
            if seq.is_some() {
                metrics
                    .delivery_seconds
                    .observe(now.since(at).as_secs_f64());
            }
        }
    }
}
