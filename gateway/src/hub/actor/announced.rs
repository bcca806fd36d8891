//! What is counted of events that were announced: once per event, however many sockets listen.

use confab_shared::id::Seq;
use confab_shared::model::event::Event;
use confab_shared::model::timestamp::Timestamp;

use crate::hub::room::Room;
use crate::metrics::Metrics;

/// Events on their way into a room: what is left to count of them when the room has taken them.
pub(super) struct Announced(Vec<(&'static str, Option<Seq>, Timestamp)>);

impl Announced {
    /// What is to be known of these.
    pub(super) fn of(events: &[Event]) -> Self {
        let known = |event: &Event| (event.fact.name(), event.seq, event.at);
        Self(events.iter().map(known).collect())
    }

    /// Counts those that the room has shown to somebody, rather than held back; and how long after its time each was in the queues. What is
    /// said in passing is counted, but nobody waits for it.
    pub(super) fn count(self, metrics: &Metrics, room: &Room) {
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
