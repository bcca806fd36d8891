//! What every part of a node is built upon, without listeners: the hub, the way to Redis and back, and what comes from there.

use std::sync::Arc;
use std::time::Duration;

use confab_gateway::backplane::{self, Backplane, GatewayMessage, NoticeItem, OnlineInbox};
use confab_gateway::config::{DEFAULTS, GatewayConfig};
use confab_gateway::hub::Hub;
use confab_gateway::hub::places::Orders;
use confab_gateway::ingress::Ingress;
use confab_gateway::metrics::Metrics;
use confab_shared::id::NodeId;
use confab_shared::lifecycle::Vitals;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::{self, RedisConfig, Retries};
use confab_shared::telemetry::Traces;
use confab_shared::testing::defaults;
use fred::clients::Client;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// For how long PostgreSQL is waited for: longer than a slow machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node's insides. Notices that come are shown to nobody.
pub(crate) struct Insides {
    /// A vital part that ended by itself would take the test with it, so this goes before all others.
    pub(crate) stopping: DropGuard,
    pub(crate) id: NodeId,
    pub(crate) config: GatewayConfig,
    pub(crate) redis: Client,
    pub(crate) hub: Hub,
    pub(crate) backplane: Backplane,
    pub(crate) metrics: Arc<Metrics>,
    /// What other gateways say to this one.
    pub(crate) messages: mpsc::UnboundedReceiver<GatewayMessage>,
    pub(crate) online: OnlineInbox,
    pub(crate) stop: CancellationToken,
}

impl Insides {
    /// Those of a new node, which looks for another memory of Redis' every moment.
    pub(crate) async fn start(
        settings: &RedisConfig,
        keyspace: Keyspace,
        database: PgPool,
    ) -> Self {
        let mut config: GatewayConfig = defaults(DEFAULTS);
        config.hub.epoch_check_ms = 50;
        let (stop, vitals) = (CancellationToken::new(), Vitals::default());
        let id = NodeId::generate();
        let metrics = Arc::new(Metrics::new().unwrap());
        let redis = redis::connect(settings, Retries::Idempotent).await.unwrap();
        let ingress = Ingress::start(
            &config.ingress,
            id,
            keyspace,
            &redis,
            &metrics,
            &vitals,
            &stop,
        );
        let traces = Traces::default();
        let orders = if keyspace.is_clustered() {
            Orders::of_partitions(keyspace.orders())
        } else {
            Orders::ONE
        };
        let (hub, requests) =
            Hub::start(&config.hub, orders, true, &metrics, &traces, &vitals, &stop);
        let parts = backplane::Parts {
            node: id,
            keyspace,
            hub: hub.clone(),
            requests,
            ingress,
            database,
            patience: PATIENCE,
            redis: redis.clone(),
            metrics: metrics.clone(),
        };
        let (backplane, inbox) = Backplane::start(parts, settings, &config.hub, &stop)
            .await
            .unwrap();
        let mut notices = inbox.notices;
        tokio::spawn(async move {
            while let Some(notice) = notices.recv().await {
                if let NoticeItem::Flush(done) = notice {
                    let _ = done.send(());
                }
            }
        });
        let stopping = stop.clone().drop_guard();
        Self {
            id,
            config,
            redis,
            hub,
            backplane,
            metrics,
            messages: inbox.messages,
            online: inbox.online,
            stop,
            stopping,
        }
    }
}
