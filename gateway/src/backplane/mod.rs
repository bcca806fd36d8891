//! The backplane: what other nodes and the workers say, by Redis pub/sub.
//!
//! It is a hint, never the truth. Whenever something may have been lost (the connection broke, messages came faster than they were
//! read, Redis lost its memory) everything this node shows is compared with PostgreSQL; a slow sweep does so in any case.

mod reader;
mod repair;
mod subscriptions;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{NodeId, UserId};
use confab_shared::model::event::UserNotice;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::{self, RedisConfig, Retries};
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::HubConfig;
use crate::hub::{Hub, HubRequest};
use crate::ingress::Ingress;
use crate::metrics::Metrics;
use subscriptions::SubscriptionRequest;

/// A notice for a user of this node, to be shown by whoever knows how.
pub type Notice = (UserId, UserNotice);

/// How many notices may wait to be shown.
const NOTICES: usize = 4_096;

/// What the backplane's parts share.
#[derive(Clone)]
struct Shared {
    keyspace: Keyspace,
    hub: Hub,
    ingress: Ingress,
    database: PgPool,
    metrics: Arc<Metrics>,
    subscriber: Client,
    subscriptions: mpsc::UnboundedSender<SubscriptionRequest>,
    notices: mpsc::Sender<Notice>,
    resync: Arc<tokio::sync::Notify>,
    repairs: Arc<tokio::sync::Semaphore>,
}

/// The node's ear.
#[derive(Clone)]
pub struct Backplane {
    subscriptions: mpsc::UnboundedSender<SubscriptionRequest>,
}

/// The backplane is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the backplane is shutting down")]
pub struct BackplaneClosed;

/// What a backplane is made of.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// The names of keys and channels.
    pub keyspace: Keyspace,
    /// Where room events go.
    pub hub: Hub,
    /// What the hub asks for.
    pub requests: mpsc::UnboundedReceiver<HubRequest>,
    /// Where replies go.
    pub ingress: Ingress,
    /// The truth.
    pub database: PgPool,
    /// A connection for commands.
    pub redis: Client,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Backplane {
    /// Connects, subscribes to this node's own channel, and starts the tasks. Notices come out of the receiver.
    pub async fn start(
        parts: Parts,
        redis_config: &RedisConfig,
        config: &HubConfig,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<(Self, mpsc::Receiver<Notice>), fred::error::Error> {
        let subscriber = redis::builder(redis_config, Retries::Idempotent)?.build()?;
        // Before the connection is made, so that nothing goes unheard.
        let messages = subscriber.message_rx();
        subscriber.init().await?;
        subscriber.subscribe(Keyspace::node(parts.node)).await?;

        // From here on, so that the first connection is not taken for a return.
        let reconnections = subscriber.reconnect_rx();

        let (subscriptions, wanted) = mpsc::unbounded_channel();
        let (notices, receiver) = mpsc::channel(NOTICES);
        let shared = Shared {
            keyspace: parts.keyspace,
            hub: parts.hub,
            ingress: parts.ingress,
            database: parts.database,
            metrics: parts.metrics,
            subscriber,
            subscriptions: subscriptions.clone(),
            notices,
            resync: Arc::default(),
            repairs: Arc::new(tokio::sync::Semaphore::new(config.repair_concurrency)),
        };
        let spawn = |future: futures_util::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled_owned(future).await });
        };
        let linger = Duration::from_secs(config.linger_seconds);
        let sweep = Duration::from_secs(config.sweep_seconds);
        let epoch_check = Duration::from_millis(config.epoch_check_ms);
        spawn(Box::pin(reader::run(shared.clone(), messages)));
        spawn(Box::pin(subscriptions::run(
            shared.clone(),
            parts.node,
            wanted,
            reconnections,
            linger,
        )));
        spawn(Box::pin(repair::serve(shared.clone(), parts.requests)));
        spawn(Box::pin(repair::sweep(shared.clone(), sweep)));
        spawn(Box::pin(watch::run(shared, parts.redis, epoch_check)));
        Ok((Self { subscriptions }, receiver))
    }

    /// Subscribes to a user's own channel. When this returns, nothing that is said there goes unheard.
    pub async fn listen_to(&self, user: UserId) -> Result<(), BackplaneClosed> {
        let (done, subscribed) = oneshot::channel();
        self.subscriptions
            .send(SubscriptionRequest::User(user, done))
            .map_err(|_| BackplaneClosed)?;
        subscribed.await.map_err(|_| BackplaneClosed)
    }

    /// A user's last socket here is gone: its channel may be left, after a while.
    pub fn forget(&self, user: UserId) {
        if self
            .subscriptions
            .send(SubscriptionRequest::UserIdle(user))
            .is_err()
        {
            tracing::debug!("the backplane is shutting down");
        }
    }
}
