//! Whether this node hears what is said on every slot of a Redis Cluster.
//!
//! A slot that moves takes its channels with it: its former server ends the subscriptions, no connection breaks, and a command that would
//! be told where the slot went is never sent by somebody who only listens. So the node has a channel on each partition's slot, speaks there
//! every second, and the server that has the slot says whether anybody listened.

use std::time::Duration;

use confab_shared::id::{NodeId, Partition};
use confab_shared::redis::keyspace::Keyspace;
use fred::clients::Client;
use fred::interfaces::PubsubInterface;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often the node speaks to itself.
const EVERY: Duration = Duration::from_secs(1);

/// Subscribes to the node's own channels: on one Redis there is one; on a cluster, one on each partition's slot.
pub(super) async fn listen(
    subscriber: &Client,
    keyspace: Keyspace,
    node: NodeId,
) -> Result<(), fred::error::Error> {
    subscriber.ssubscribe(keyspace.node(node)).await?;
    if keyspace.is_clustered() {
        for partition in keyspace.partitions() {
            let channel = keyspace.node_on(partition, node);
            subscriber.ssubscribe(channel).await?;
        }
    }
    Ok(())
}

/// Speaks until told to stop, and names the partitions on whose slots nobody heard it.
pub(super) async fn run(
    redis: Client,
    keyspace: Keyspace,
    node: NodeId,
    deaf: mpsc::Sender<Vec<Partition>>,
) {
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        match speak(&redis, keyspace, node).await {
            Ok(unheard) if unheard.is_empty() => {}
            Ok(unheard) => {
                tracing::warn!(partitions = ?unheard, "these partitions' slots are not heard; subscribing anew");
                // While one is being mended the next waits, and looks again after that.
                if deaf.send(unheard).await.is_err() {
                    return;
                }
            }
            // The connection that listens tells for itself when it breaks.
            Err(error) => tracing::debug!(%error, "no pulse"),
        }
    }
}

/// Says nothing on each partition's slot. Where nobody listened.
async fn speak(
    redis: &Client,
    keyspace: Keyspace,
    node: NodeId,
) -> Result<Vec<Partition>, fred::error::Error> {
    let pipeline = redis.pipeline();
    for partition in keyspace.partitions() {
        let channel = keyspace.node_on(partition, node);
        let () = pipeline.spublish(channel, "").await?;
    }
    let heard: Vec<i64> = pipeline.all().await?;
    let unheard = keyspace.partitions().zip(heard);
    Ok(unheard
        .filter(|(_, heard)| *heard == 0)
        .map(|(partition, _)| partition)
        .collect())
}
