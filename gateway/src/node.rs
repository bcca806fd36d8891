//! A node: everything that one gateway process shares between its connections.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use confab_shared::auth::TokenAuthority;
use confab_shared::id::NodeId;
use confab_shared::lifecycle::Vitals;
use confab_shared::postgres;
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
use crate::hub::Hub;
use crate::ingress::Ingress;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::presence::{self, Presence, Timing};
use crate::recovery::{self, Recovery};

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
    /// Connects to PostgreSQL and Redis and starts the node's tasks. Notices for its users come out of the receiver.
    pub async fn start(
        config: GatewayConfig,
        vitals: &Vitals,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Self, mpsc::Receiver<NoticeItem>)> {
        let tokens = TokenAuthority::new(
            &config.auth.jwt_secret,
            config.auth.token_lifetime()?,
            config.environment,
        )
        .context("auth.jwt_secret")?;
        let id = NodeId::generate();
        let traces = traces(&config.traces, id)?;
        let database =
            postgres::pool(&config.database, "confab-gateway").context("database.url")?;
        let metrics = metrics(&config, &database)?;
        postgres::partitions::check(&database, config.partitions.count).await?;
        redis::examine(&config.redis).await?;
        let keyspace = (config.redis)
            .keyspace(config.partitions.count)
            .context("redis.url")?;
        let redis = redis::connect(&config.redis, Retries::Idempotent)
            .await
            .context("Redis")?;
        // Appending has a connection of its own: order there must not depend on anybody else's commands.
        let appending = redis::connect(&config.redis, Retries::None)
            .await
            .context("Redis")?;
        let ingress = Ingress::start(
            &config.ingress,
            id,
            keyspace,
            &appending,
            &metrics,
            vitals,
            stop,
        );
        let limits = limits(&config, keyspace, &metrics, stop).await?;
        let offsets = config.recovery.enabled;
        let (hub, requests) = Hub::start(&config.hub, offsets, &metrics, &traces, vitals, stop);
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

/// The node's traces, under its name.
fn traces(config: &TracesConfig, id: NodeId) -> Result<Traces, TracesError> {
    let service = Service {
        program: "confab-gateway",
        version: env!("CARGO_PKG_VERSION"),
        instance: id.to_string(),
    };
    Traces::start(config, service)
}

/// What is counted, with what is known from the start.
fn metrics(config: &GatewayConfig, database: &PgPool) -> anyhow::Result<Arc<Metrics>> {
    let metrics = Metrics::new()?;
    metrics.pool.watch(&metrics.pulls, database);
    let limit = |most: usize| i64::try_from(most).unwrap_or(i64::MAX);
    metrics
        .connections_limit
        .set(limit(config.http.max_connections));
    metrics
        .sessions_limit
        .set(limit(config.engine.max_sessions));
    Ok(Arc::new(metrics))
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
