//! Telling the gateways: events to rooms, notices to users, replies to nodes.
//!
//! Owns the formats of what is published. Comes strictly after the commit. Everything here may be said twice: readers ignore
//! what they have.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use confab_shared::id::{NodeId, Partition, UserId, WorkerId};
use confab_shared::lifecycle::Sign;
use confab_shared::model::command::Reply;
use confab_shared::model::event::{RoomBatch, UserNotice};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::PubsubInterface;
use fred::types::Value;
use fred::types::scripts::Script;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::pause::Pause;

/// The most notices of one call: a large group is made in several.
const MAX_NOTICES: usize = 512;

/// For how long it is tried to announce a partition's events on a cluster: for longer than a failover takes. The others' events wait as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a partition's events were announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOut {
    /// They were.
    Announced,
    /// Another worker owns the partition now and will announce what matters.
    Lost,
    /// The partition's server on a cluster does not take them. Their commands are to be handed out again, as if this worker had died.
    Refused,
}

/// Publishes on one connection, in order.
#[derive(Debug, Clone)]
pub struct Broadcast {
    client: Client,
    keyspace: Keyspace,
    worker: WorkerId,
    window: Duration,
    fan_out: Script,
    notify: Script,
    metrics: Metrics,
    sign: Sign,
}

impl Broadcast {
    /// Publishes as `worker`; histories keep what happened within `window`. `sign` is given while Redis is waited for.
    pub fn new(
        client: Client,
        keyspace: Keyspace,
        worker: WorkerId,
        window: Duration,
        metrics: Metrics,
        sign: Sign,
    ) -> Self {
        Self {
            client,
            keyspace,
            worker,
            window,
            fan_out: scripts::fan_out(),
            notify: scripts::notify(),
            metrics,
            sign,
        }
    }

    /// Announces a partition's events, however long Redis takes to come back, unless the partition is lost meanwhile. On a cluster it may be
    /// but the partition's server that is out of order: then there is an end to it.
    pub async fn rooms(&self, partition: Partition, rooms: &[RoomBatch]) -> FanOut {
        if rooms.is_empty() {
            return FanOut::Announced;
        }
        let mut keys = vec![
            Keyspace::lease(partition),
            self.keyspace.position(partition),
            self.keyspace.history_window(partition),
        ];
        let mut arguments = vec![
            Value::from(self.worker.to_string()),
            Value::from(self.window.as_millis().to_string()),
        ];
        for room in rooms {
            let Some(json) = encode(room) else { continue };
            keys.extend([
                self.keyspace.room(room.conversation),
                self.keyspace.history(room.conversation),
            ]);
            arguments.extend([json, Value::from(room.events.len().to_string())]);
        }
        let (mut pause, begun) = (Pause::default(), Instant::now());
        loop {
            let call = scripts::run(&self.fan_out, &self.client, keys.clone(), arguments.clone());
            match self.metrics.redis.time("fan_out", call).await {
                Ok(position) if String::as_str(&position) == "lost" => return FanOut::Lost,
                Ok::<String, _>(_) => return FanOut::Announced,
                Err(error) => {
                    self.failed(&error, "events cannot be announced", &mut pause)
                        .await;
                    if self.keyspace.is_clustered() && begun.elapsed() > PATIENCE {
                        return FanOut::Refused;
                    }
                }
            }
        }
    }

    /// Sends notices and replies, however long Redis takes to come back.
    pub async fn notices_and_replies(
        &self,
        notices: &[(UserId, UserNotice)],
        replies: Vec<(NodeId, Reply)>,
    ) {
        self.notices(notices).await;
        let mut by_node: HashMap<NodeId, Vec<Reply>> = HashMap::new();
        for (node, reply) in replies {
            by_node.entry(node).or_default().push(reply);
        }
        let messages: Vec<(String, Value)> = by_node
            .iter()
            .filter_map(|(node, replies)| Some((self.keyspace.node(*node), encode(replies)?)))
            .collect();
        if messages.is_empty() {
            return;
        }
        let mut pause = Pause::default();
        let redis = &self.metrics.redis;
        while let Err(error) = redis.time("reply", self.publish(&messages)).await {
            self.failed(&error, "replies cannot be sent", &mut pause)
                .await;
        }
    }

    /// Puts notices into their users' histories and on their channels: by one call, or on a cluster by one for each slot.
    async fn notices(&self, notices: &[(UserId, UserNotice)]) {
        let mut homes: BTreeMap<Partition, Vec<&(UserId, UserNotice)>> = BTreeMap::new();
        for notice in notices {
            let home = if self.keyspace.is_clustered() {
                self.keyspace.home_of_user(notice.0)
            } else {
                Partition(0)
            };
            homes.entry(home).or_default().push(notice);
        }
        let calls = homes.into_iter().map(async |(home, notices)| {
            for notices in notices.chunks(MAX_NOTICES) {
                self.notices_at(home, notices).await;
            }
        });
        join_all(calls).await;
    }

    async fn notices_at(&self, home: Partition, notices: &[&(UserId, UserNotice)]) {
        let mut keys = vec![
            self.keyspace.position(home),
            self.keyspace.history_window(home),
        ];
        let mut arguments = vec![Value::from(self.window.as_millis().to_string())];
        for (user, notice) in notices {
            let Some(json) = encode(notice) else { continue };
            keys.extend([self.keyspace.user(*user), self.keyspace.user_history(*user)]);
            arguments.push(json);
        }
        let mut pause = Pause::default();
        while let Err(error) = self.notify(keys.clone(), arguments.clone()).await {
            self.failed(&error, "notices cannot be sent", &mut pause)
                .await;
        }
    }

    async fn notify(
        &self,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<(), fred::error::Error> {
        let call = scripts::run(&self.notify, &self.client, keys, arguments);
        let _position: String = self.metrics.redis.time("notify", call).await?;
        Ok(())
    }

    async fn publish(&self, messages: &[(String, Value)]) -> Result<(), fred::error::Error> {
        let pipeline = self.client.pipeline();
        for (channel, message) in messages {
            let () = pipeline.spublish(channel.as_str(), message.clone()).await?;
        }
        let _receivers: Vec<Value> = pipeline.all().await?;
        Ok(())
    }

    async fn failed(&self, error: &fred::error::Error, what: &'static str, pause: &mut Pause) {
        self.sign.give();
        if pause.first() {
            tracing::warn!(%error, "{what}; trying until Redis is back");
        }
        pause.wait().await;
    }
}

/// A value as JSON. None of ours can fail to be written; one that did would be worth an error, not a crash.
fn encode(value: &impl serde::Serialize) -> Option<Value> {
    match serde_json::to_string(value) {
        Ok(text) => Some(Value::from(text)),
        Err(error) => {
            tracing::error!(%error, "an announcement cannot be written as JSON");
            None
        }
    }
}
