//! Events as they are announced: into their rooms, and counted as they are shown, once per event, however many sockets listen.

use confab_shared::model::event::RoomBatch;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::telemetry::{Kind, Span};

use super::Actor;
use crate::hub::input::parse_published;
use crate::hub::room::Showing;
use crate::metrics::Metrics;

impl Actor {
    /// A room channel carried something.
    pub(super) fn published(&mut self, payload: &[u8]) {
        match parse_published(payload) {
            Ok((position, batch)) => {
                // Until its events are in the queues of all sockets here that are shown them; nothing is recorded per socket.
                let showing = self.showing(&batch);
                self.with_room(batch.conversation, |room, stage| {
                    room.receive(position, batch.events, stage)
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

/// Counts what rooms have shown since this was last done, and how long after its decision each of it was in the queues. What is announced
/// again or held back has not been shown.
pub(super) fn count_shown(metrics: &Metrics, shown: &mut Vec<Showing>) {
    if shown.is_empty() {
        return;
    }
    let now = Timestamp::now();
    for showing in shown.drain(..) {
        let label = [showing.event];
        metrics.events_shown_total.with_label_values(&label).inc();
        metrics
            .deliveries_total
            .with_label_values(&label)
            .inc_by(showing.listeners as u64);
        if let Some(since) = showing.since {
            metrics
                .delivery_seconds
                .observe(now.since(since).as_secs_f64());
        }
    }
}
