//! The commands by which channels are listened to, or no more.
//!
//! The library takes a server's answers for those to its commands, in order; so whoever unsubscribes has the connection to a cluster's server
//! to itself until that is answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::redis::keyspace::Keyspace;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, ClusterInterface, PubsubInterface};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, Value};
use fred::util::redis_keyslot;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::RwLock;

use crate::metrics::Metrics;

/// How many channels are asked for at a time, by all orders together,
const BATCH: usize = 512;
/// and by one of them at least.
const LEAST: usize = 32;
const RETRY: Duration = Duration::from_millis(200);

/// The way to all channels.
pub(super) struct Channels {
    subscriber: Client,
    metrics: Arc<Metrics>,
    is_clustered: bool,
    at_once: usize,
    /// Read by who subscribes there, written by who unsubscribes. Those that nobody has to do with are left out.
    servers: Mutex<HashMap<Option<Server>, Arc<RwLock<()>>>>,
}

impl Channels {
    pub(super) fn new(subscriber: Client, keyspace: Keyspace, metrics: Arc<Metrics>) -> Self {
        Self {
            subscriber,
            metrics,
            is_clustered: keyspace.is_clustered(),
            at_once: (BATCH / usize::from(keyspace.orders()).max(1)).max(LEAST),
            servers: Mutex::default(),
        }
    }

    /// SSUBSCRIBE to channels of one order until it succeeds, many at once.
    ///
    /// A command for each channel: the library takes the first confirmation for a command's answer, and those of further channels for the
    /// answers to the commands behind it.
    pub(super) async fn subscribe(&self, failed: &str, mut channels: Vec<String>) {
        while !channels.is_empty() {
            let (mut left, mut reason) = (Vec::new(), None);
            for batch in channels.chunks(self.at_once) {
                let server = self.server_of(batch);
                let _shared = server.read().await;
                let (begun, asked) = (Instant::now(), batch.iter());
                let asked = asked.map(|channel| self.subscriber.ssubscribe(channel.as_str()));
                for (channel, subscribed) in batch.iter().zip(join_all(asked).await) {
                    if let Err(error) = subscribed {
                        left.push(channel.clone());
                        reason = Some(error);
                    }
                }
                if reason.is_none() {
                    self.metrics.redis.took("subscribe", begun.elapsed());
                }
            }
            if let Some(error) = reason {
                self.failed(failed, &error);
                tokio::time::sleep(RETRY).await;
            }
            channels = left;
        }
    }

    /// SUNSUBSCRIBE from channels of one order. Events that nobody listens to are dropped by the hub; a failed farewell costs traffic, no more.
    pub(super) async fn unsubscribe(&self, channels: &[String]) {
        for batch in channels.chunks(BATCH) {
            let server = self.server_of(batch);
            let _alone = server.write().await;
            if let Err(error) = self.subscriber.sunsubscribe(batch.to_vec()).await {
                tracing::debug!(%error, "channels not unsubscribed");
            }
            if self.is_clustered {
                self.settle(slot_of(batch)).await;
            }
        }
    }

    /// Waits for the server's word on what was unsubscribed. The library expects none; but if the slot has moved there is one, and would be
    /// taken for the answer to the next command.
    async fn settle(&self, slot: u16) {
        let ping = CustomCommand::new_static("PING", ClusterHash::Custom(slot), false);
        let answered = self.subscriber.custom::<Value, Value>(ping, vec![]);
        if let Err(error) = answered.await {
            // It was taken for this one's, whose own answer is still to come: to nobody.
            tracing::debug!(%error, "channels were unsubscribed where they are no more");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Learns where slots are: commands go to where they were known to be.
    pub(super) async fn find_slots(&self) {
        if let Err(error) = self.subscriber.sync_cluster().await {
            self.failed("it is not known where slots are", &error);
        }
    }

    /// What stands for the server that has these channels' slot, or for the only one.
    fn server_of(&self, channels: &[String]) -> Arc<RwLock<()>> {
        let known = self.subscriber.cached_cluster_state();
        let server = known.and_then(|known| known.get_server(slot_of(channels)).cloned());
        let mut servers = self.servers.lock();
        servers.retain(|_, server| Arc::strong_count(server) > 1);
        servers.entry(server).or_default().clone()
    }

    fn failed(&self, what: &str, error: &Error) {
        self.metrics.redis.failed("subscribe");
        tracing::warn!(%error, "{what}; trying again");
    }
}

fn slot_of(channels: &[String]) -> u16 {
    redis_keyslot(channels.first().map_or(&[], |channel| channel.as_bytes()))
}
