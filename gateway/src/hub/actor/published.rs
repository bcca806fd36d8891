//! What room channels carry.

use confab_shared::model::event::RoomBatch;
use confab_shared::telemetry::{Kind, Span};

use super::Actor;
use super::announced::Announced;
use crate::hub::input::parse_published;

impl Actor {
    /// A room channel carried this.
    pub(super) fn published(&mut self, payload: &[u8]) {
        match parse_published(payload) {
            Ok((position, batch)) => {
                // Until its events are in the queues of all sockets here that are shown them; nothing is recorded per socket.
                let showing = self.showing(&batch);
                let metrics = self.metrics.clone();
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
