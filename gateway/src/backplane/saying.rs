//! What the node says to others, and to itself.

use std::sync::Arc;

use confab_shared::id::{NodeId, UserId};
use confab_shared::model::event::UserSignal;
use fred::interfaces::{ClusterInterface, PubsubInterface};
use fred::util::redis_keyslot;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{Backplane, BackplaneClosed, Beat, GatewayMessage, Statuses};

impl Backplane {
    /// Says to the node itself, behind everything that has been announced, how far that is; it hears it when it has heard all that.
    pub async fn beat(&self) -> Result<Arc<Beat>, BackplaneClosed> {
        let (done, said) = oneshot::channel();
        let asked = self.pulse.send(done).await;
        asked.map_err(|_| BackplaneClosed)?;
        said.await.map_err(|_| BackplaneClosed)
    }

    /// Says something to another gateway. False if nobody is there to hear it.
    ///
    /// On a cluster that may be so on one slot alone, which has moved or whose server was replaced a moment ago: then it is said on a slot of
    /// each of the other servers. It may be heard more than once.
    pub async fn say(
        &self,
        node: NodeId,
        message: &GatewayMessage,
    ) -> Result<bool, fred::error::Error> {
        let json = serde_json::to_string(message).map_err(|error| {
            fred::error::Error::new(fred::error::ErrorKind::InvalidArgument, error.to_string())
        })?;
        let home: Result<i64, _> = (self.redis)
            .spublish(self.keyspace.node(node), json.as_str())
            .await;
        if !self.keyspace.is_clustered() || matches!(home, Ok(heard) if heard > 0) {
            return Ok(home? > 0);
        }
        let elsewhere = self.on_other_servers(node);
        let elsewhere = elsewhere
            .into_iter()
            .map(|channel| self.redis.spublish::<i64, _, _>(channel, json.as_str()));
        let mut failed = home.err();
        for heard in join_all(elsewhere).await {
            match heard {
                Ok(0) => {}
                Ok(_) => return Ok(true),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(false), Err)
    }

    /// A node's channels, one for each server of a cluster but that of the node's home.
    fn on_other_servers(&self, node: NodeId) -> Vec<String> {
        let Some(routing) = self.redis.cached_cluster_state() else {
            return Vec::new();
        };
        let server = |channel: &str| routing.get_server(redis_keyslot(channel.as_bytes()));
        let home = self.keyspace.node(node);
        let mut said: Vec<_> = server(&home).into_iter().collect();
        let mut channels = Vec::new();
        for partition in self.keyspace.partitions() {
            let channel = self.keyspace.node_on(partition, node);
            if let Some(server) = server(&channel)
                && !said.contains(&server)
            {
                said.push(server);
                channels.push(channel);
            }
        }
        channels
    }

    /// Says to other gateways, or to this one, what concerns the users that they have. Whoever is gone does not hear it.
    pub async fn tell(&self, messages: &[(NodeId, Statuses)]) -> Result<(), fred::error::Error> {
        if messages.is_empty() {
            return Ok(());
        }
        let pipeline = self.redis.pipeline();
        for (node, statuses) in messages {
            let json = serde_json::to_string(statuses).map_err(|error| {
                fred::error::Error::new(fred::error::ErrorKind::InvalidArgument, error.to_string())
            })?;
            let () = pipeline.spublish(self.keyspace.node(*node), json).await?;
        }
        let _heard: Vec<i64> = pipeline.all().await?;
        Ok(())
    }

    /// Says something to a user's sockets, wherever they are.
    pub async fn signal(
        &self,
        user: UserId,
        signal: &UserSignal,
    ) -> Result<(), fred::error::Error> {
        let json = serde_json::to_string(signal).map_err(|error| {
            fred::error::Error::new(fred::error::ErrorKind::InvalidArgument, error.to_string())
        })?;
        self.redis.spublish(self.keyspace.user(user), json).await
    }
}
