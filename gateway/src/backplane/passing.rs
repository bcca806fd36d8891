//! Says to rooms what is over as soon as it is said, without asking whether it was heard.

use std::sync::Arc;

use confab_shared::id::ConversationId;
use confab_shared::model::event::{Event, RoomBatch};
use confab_shared::model::position::Position;
use confab_shared::redis::keyspace::Keyspace;
use fred::clients::Client;
use fred::interfaces::PubsubInterface;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// How many sayings may wait. More are dropped: nobody misses what is over in a moment.
pub(super) const WAITING: usize = 1_024;
/// The most that are sent at a time.
const BATCH: usize = 64;

/// Publishes until nobody says anything any more, in order. They have no place among the announcements: their position is the beginning.
pub(super) async fn publish(
    redis: Client,
    keyspace: Keyspace,
    metrics: Arc<Metrics>,
    mut sayings: mpsc::Receiver<(ConversationId, Event)>,
) {
    let mut waiting = Vec::with_capacity(BATCH);
    while sayings.recv_many(&mut waiting, BATCH).await > 0 {
        let pipeline = redis.pipeline();
        for (conversation, event) in waiting.drain(..) {
            if let Err(error) = say(&pipeline, keyspace, conversation, event).await {
                tracing::debug!(%error, "something passing was not said");
            }
        }
        let said = metrics.redis.time("publish", pipeline.all::<()>());
        if let Err(error) = said.await {
            tracing::debug!(%error, "something passing was not said");
        }
    }
}

async fn say(
    redis: &impl PubsubInterface,
    keyspace: Keyspace,
    conversation: ConversationId,
    event: Event,
) -> Result<(), fred::error::Error> {
    let batch = RoomBatch {
        conversation,
        events: vec![event],
        traces: Vec::new(),
    };
    let json = serde_json::to_string(&batch).map_err(|error| {
        fred::error::Error::new(fred::error::ErrorKind::InvalidArgument, error.to_string())
    })?;
    let message = format!("{}\n{json}", Position::default());
    redis.spublish(keyspace.room(conversation), message).await
}
