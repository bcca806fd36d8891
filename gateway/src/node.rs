//! A node: everything that one gateway process shares between its connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use confab_shared::auth::TokenAuthority;
use confab_shared::id::NodeId;
use confab_shared::lifecycle::{Readiness, Vitals};
use confab_shared::postgres::{self, partitions};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::{self, Retries};
use confab_shared::telemetry::{Service, Traces, TracesConfig, TracesError};
use fred::clients::Client;
use fred::interfaces::ClientLike;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backplane::{self, Backplane, NoticeItem};
use crate::config::GatewayConfig;
use crate::hub::places::Orders;
use crate::hub::{Hub, HubRequest};
use crate::ingress::Ingress;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::presence::{self, Presence, Timing};
use crate::recovery::{self, Recovery};

/// What is known of a process before it is a node, and shown to operators from then on. Cheap to clone.
#[derive(Clone)]
pub struct Life {
    /// Whether it takes traffic.
    pub readiness: Readiness,
    /// Whether its parts get anywhere.
    pub vitals: Vitals,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Life {
    /// That of a process that begins.
    pub fn begin() -> prometheus::Result<Self> {
        Ok(Self {
            readiness: Readiness::default(),
            vitals: Vitals::default(),
            metrics: Arc::new(Metrics::new()?),
        })
    }
}

/// What one gateway process shares between its connections.
pub struct Node {
    /// Its name, for as long as it lives.
    pub id: NodeId,
    /// Its settings.
    pub config: GatewayConfig,
    /// The truth.
    pub database: PgPool,
    /// A connection for commands.
    pub redis: Client,
    /// The names of keys and channels.
    pub keyspace: Keyspace,
    /// Issues and checks tokens.
    pub tokens: TokenAuthority,
    /// The way to the workers.
    pub ingress: Ingress,
    /// How often users may do what.
    pub limits: Limits,
    /// Rooms and users.
    pub hub: Hub,
    /// The way back from the workers and other nodes.
    pub backplane: Backplane,
    /// What it takes for sockets to be recovered.
    pub recovery: Recovery,
    /// Who is connected anywhere, and who is in which public room.
    pub presence: Presence,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is traced.
    pub traces: Traces,
}

impl Node {
    /// Connects to PostgreSQL and Redis, waiting for either if it is away, and starts the node's tasks. Notices for its users come out of the
    /// receiver.
    pub async fn start(
        config: GatewayConfig,
        life: Life,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Self, mpsc::Receiver<NoticeItem>)> {
        let Life {
            readiness,
            vitals,
            metrics,
        } = life;
        let tokens = config.auth.tokens(config.environment)?;
        let id = NodeId::generate();
        let traces = traces(&config.traces, id)?;
        metrics.spans.watch(&metrics.pulls, &traces);
        tell_limits(&config, &metrics);
        let database = database(&config, &readiness, &metrics).await?;
        let (redis, keyspace) = redis(&config, &readiness).await?;
        // Appending has a connection of its own: order there must not depend on anybody else's commands.
        let appending = redis::connect(&config.redis, Retries::None)
            .await
            .context("Redis")?;
        let limits = limits(&config, keyspace, &metrics, stop).await?;
        let ingress = Ingress::start(
            &config.ingress,
            id,
            keyspace,
            &appending,
            &metrics,
            &vitals,
            stop,
        );
        let (hub, requests) = hub(&config, keyspace, &metrics, &traces, &vitals, stop);
        // If it comes no further the tasks end because they are told to, before they notice that nobody needs them, which would be their failure
        // and hide the reason.
        let ending = stop.clone().drop_guard();
        let parts = backplane::Parts {
            node: id,
            keyspace,
            hub: hub.clone(),
            requests,
            ingress: ingress.clone(),
            database: database.clone(),
            patience: config.database.patience(),
            redis: redis.clone(),
            metrics: metrics.clone(),
        };
        let (backplane, inbox) = Backplane::start(parts, &config.redis, &config.hub, stop)
            .await
            .context("Redis")?;
        let recovery = recovery::Parts {
            node: id,
            config: config.recovery.clone(),
            keyspace,
            redis: redis.clone(),
            hub: hub.clone(),
            backplane: backplane.clone(),
            metrics: metrics.clone(),
            messages: inbox.messages,
        };
        let recovery = Recovery::start(recovery, stop);
        let presence = presence::Parts {
            node: id,
            keyspace,
            redis: redis.clone(),
            database: database.clone(),
            patience: config.database.patience(),
            hub: hub.clone(),
            backplane: backplane.clone(),
            inbox: inbox.online,
            metrics: metrics.clone(),
            timing: Timing::new(
                Duration::from_secs(config.presence.linger_seconds),
                Duration::from_secs(config.rooms.linger_seconds),
            ),
            largest_group: config.presence.largest_group,
            most_conversations: config.presence.max_conversations,
        };
        let presence = Presence::start(presence, stop);
        ending.disarm();
        let node = Self {
            id,
            config,
            database,
            redis,
            keyspace,
            tokens,
            ingress,
            limits,
            hub,
            backplane,
            recovery,
            presence,
            metrics,
            traces,
        };
        Ok((node, inbox.notices))
    }

    /// How long a client waits for an answer before it is told that there is none.
    pub fn reply_timeout(&self) -> Duration {
        Duration::from_millis(self.config.ingress.reply_timeout_ms)
    }

    /// Whether Redis answers.
    pub async fn redis_alive(&self) -> bool {
        self.redis.ping::<String>(None).await.is_ok()
    }
}

/// PostgreSQL, with the partitions that the settings say. It is waited for.
async fn database(
    config: &GatewayConfig,
    readiness: &Readiness,
    metrics: &Metrics,
) -> anyhow::Result<PgPool> {
    let database = postgres::pool(&config.database, "confab-gateway").context("database.url")?;
    metrics.pool.watch(&metrics.pulls, &database);
    readiness.wait_for("PostgreSQL");
    let (count, patience) = (config.partitions.count, config.database.patience());
    partitions::check_when_there(&database, count, patience).await?;
    Ok(database)
}

/// Redis, if its servers are what Confab needs, and what everything is called there. It is waited for.
async fn redis(
    config: &GatewayConfig,
    readiness: &Readiness,
) -> anyhow::Result<(Client, Keyspace)> {
    readiness.wait_for("Redis");
    redis::examine(&config.redis).await?;
    let keyspace = (config.redis)
        .keyspace(config.partitions.count)
        .context("redis.url")?;
    let redis = redis::connect(&config.redis, Retries::Idempotent)
        .await
        .context("Redis")?;
    redis::examine_servers(&redis).await?;
    Ok((redis, keyspace))
}

/// The node's traces, under its name.
fn traces(config: &TracesConfig, id: NodeId) -> Result<Traces, TracesError> {
    let service = Service {
        program: "confab-gateway",
        version: env!("CARGO_PKG_VERSION"),
        instance: id.to_string(),
    };
    Traces::start(config, service)
}

/// What is known from the start.
fn tell_limits(config: &GatewayConfig, metrics: &Metrics) {
    let limit = |most: usize| i64::try_from(most).unwrap_or(i64::MAX);
    metrics
        .connections_limit
        .set(limit(config.http.max_connections));
    metrics
        .sessions_limit
        .set(limit(config.engine.max_sessions));
}

/// The hub, for as many orders of announcements as there are.
fn hub(
    config: &GatewayConfig,
    keyspace: Keyspace,
    metrics: &Arc<Metrics>,
    traces: &Traces,
    vitals: &Vitals,
    stop: &CancellationToken,
) -> (Hub, mpsc::UnboundedReceiver<HubRequest>) {
    let orders = if keyspace.is_clustered() {
        Orders::of_partitions(keyspace.orders())
    } else {
        Orders::ONE
    };
    let offsets = config.recovery.enabled;
    Hub::start(&config.hub, orders, offsets, metrics, traces, vitals, stop)
}

/// How often users may do what, over a connection of its own.
async fn limits(
    config: &GatewayConfig,
    keyspace: Keyspace,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<Limits> {
    let figures = config.rate_limits.figures()?;
    Ok(if figures.are_off() {
        Limits::off(metrics)
    } else {
        let asking = redis::connect(&config.redis, Retries::None)
            .await
            .context("Redis")?;
        Limits::start(&figures, asking, keyspace, metrics, stop)
    })
}
