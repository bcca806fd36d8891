//! The node's own beat: what it says to itself, on every slot, once a second and whenever somebody wants to know how far announcements are.
//!
//! A beat is heard behind everything that was announced before it, so a quiet node knows by it that it has missed nothing. On a cluster it
//! says so of one partition alone. A slot that moves takes its channels with it: its former server ends the subscriptions, no connection
//! breaks, and a command that would be told where the slot went is never sent by somebody who only listens. So the node has a channel on each
//! partition's slot, speaks there, and the server that has the slot says whether anybody listened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use confab_shared::id::{NodeId, Partition};
use confab_shared::model::position::{MalformedPosition, Position};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::PubsubInterface;
use fred::types::scripts::Script;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::metrics::Metrics;

/// How often the node speaks to itself.
const EVERY: Duration = Duration::from_secs(1);
/// How long a server of a cluster may take to say it. One that is silent holds up nobody who has nothing there.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long after a beat the next one is, on a cluster, where each is a command for every partition.
const APART: Duration = Duration::from_millis(50);
/// How many may wait for a beat.
pub(super) const ASKING: usize = 1_024;

/// Something that the node has said to itself.
#[derive(Debug)]
pub struct Beat {
    /// Which of its beats it is; the first is 1.
    pub(super) number: u64,
    /// Where announcements were, in each order; nowhere, if it could not be said there.
    positions: Vec<Option<Position>>,
    unheard: Vec<Partition>,
}

impl Beat {
    /// Where announcements were in this order.
    pub fn position(&self, order: Partition) -> Result<Position, Error> {
        let position = self.positions.get(usize::from(order.0)).copied().flatten();
        position.ok_or_else(|| {
            Error::new(
                ErrorKind::IO,
                format!("no beat on partition {order}'s slot"),
            )
        })
    }
}

/// Who wants to be given the next beat.
pub(super) type Asking = oneshot::Sender<Arc<Beat>>;

/// Subscribes to the node's own channels, on these partitions' slots; on one Redis there is one. A partition's comes before all other channels
/// on its slot, and again only when all of those are subscribed to again, or are known to be doubtful: what is heard there has to mean that they are heard, too.
pub(super) async fn listen(
    subscriber: &Client,
    keyspace: Keyspace,
    node: NodeId,
    orders: impl Iterator<Item = Partition>,
) -> Result<(), Error> {
    let channels: Vec<String> = orders.map(|order| channel(keyspace, node, order)).collect();
    let heard = channels.iter();
    let heard = heard.map(|channel| subscriber.ssubscribe(channel.as_str()));
    try_join_all(heard).await.map(|_| ())
}

/// The node's own channel in one order.
pub(super) fn channel(keyspace: Keyspace, node: NodeId, order: Partition) -> String {
    if keyspace.is_clustered() {
        keyspace.node_on(order, node)
    } else {
        keyspace.node(node)
    }
}

/// Who speaks.
pub(super) struct Pulse {
    pub(super) redis: Client,
    pub(super) keyspace: Keyspace,
    pub(super) node: NodeId,
    pub(super) metrics: Arc<Metrics>,
    /// The last beat that was begun.
    pub(super) beats: Arc<AtomicU64>,
}

/// Speaks until told to stop, and names the partitions on whose slots nobody heard it. Inputs: a clock; wishes for a beat.
pub(super) async fn run(
    pulse: Pulse,
    mut wishes: mpsc::Receiver<Asking>,
    deaf: mpsc::Sender<Vec<Partition>>,
) {
    let script = scripts::tick();
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut asking = Vec::new();
        tokio::select! {
            _ = turns.tick() => {}
            count = wishes.recv_many(&mut asking, ASKING) => if count == 0 {
                return;
            },
        }
        let beat = Arc::new(pulse.beat(&script).await);
        for one in asking {
            // Whoever asked may have given up.
            let _ = one.send(beat.clone());
        }
        if !pulse.keyspace.is_clustered() {
            // There, a connection that breaks tells for itself.
            continue;
        }
        if !beat.unheard.is_empty() && deaf.try_send(beat.unheard.clone()).is_ok() {
            // If not, some are being mended, and the next beat looks again.
            tracing::warn!(partitions = ?beat.unheard, "these partitions' slots are not heard; subscribing anew");
        }
        tokio::time::sleep(APART).await;
    }
}

impl Pulse {
    async fn beat(&self, script: &Script) -> Beat {
        let number = self.beats.fetch_add(1, Ordering::SeqCst) + 1;
        let said = self.keyspace.memories().map(async |order| {
            let saying = self.say(script, order, number);
            let said = if self.keyspace.is_clustered() {
                let silent = || Error::new(ErrorKind::Timeout, "no answer");
                let said = tokio::time::timeout(PATIENCE, saying).await;
                said.unwrap_or_else(|_| Err(silent()))
            } else {
                // Everybody has everything there: it may take as long as any other command.
                saying.await
            };
            said.inspect_err(|error| tracing::debug!(%error, %order, "no beat"))
        });
        let mut beat = Beat {
            number,
            positions: Vec::new(),
            unheard: Vec::new(),
        };
        for (order, said) in self.keyspace.memories().zip(join_all(said).await) {
            if let Ok((_, 0)) = said {
                beat.unheard.push(order);
            }
            beat.positions.push(said.ok().map(|(position, _)| position));
        }
        beat
    }

    /// Says it in one order. Where that was, and how many heard it.
    async fn say(
        &self,
        script: &Script,
        order: Partition,
        number: u64,
    ) -> Result<(Position, i64), Error> {
        let channel = channel(self.keyspace, self.node, order);
        let keys = vec![self.keyspace.position(order), channel];
        let said = scripts::run(script, &self.redis, keys, vec![number.to_string()]);
        let (position, heard): (String, i64) = self.metrics.redis.time("tick", said).await?;
        let position = position
            .parse()
            .map_err(|error: MalformedPosition| Error::new(ErrorKind::Parse, error.to_string()))?;
        Ok((position, heard))
    }
}
