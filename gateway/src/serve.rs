//! A gateway's life: serve the internal listener, start the node, serve clients, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use anyhow::Context;
use axum::Router;
use axum::body::Body;
use confab_shared::lifecycle::{Drainage, InheritedSockets, ServiceManager, Shutdown, spawn_vital};
use confab_shared::telemetry::Levels;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chat::show_notices;
use crate::config::GatewayConfig;
use crate::doors::Doors;
use crate::http::accept::{self, AcceptConfig, Closing, Protocols};
use crate::http::listen::Listeners;
use crate::http::log;
use crate::http::ops;
use crate::http::tls::{Certificates, Tls};
use crate::internal::{Internal, answer};
use crate::metrics::Metrics;
use crate::node::{Life, Node};
use crate::registry::NodeLease;
use crate::rest;
use crate::transport::endpoint::ConnectionGuard;
use crate::transport::sessions::Sessions;

/// How long the last spans may take to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// Runs a gateway until it has drained, on the sockets that it inherited, if any.
pub async fn run(
    config: GatewayConfig,
    inherited: InheritedSockets,
    shutdown: Shutdown,
    levels: Levels,
    commit: Option<&str>,
) -> anyhow::Result<()> {
    let certificates = Certificates::load(&config.http.tls)?;
    let Listeners { public, internal } = Listeners::open(&config.http, inherited).await?;
    let address = config.cluster.address(internal.local_addr()?)?;
    let limit = config.drain.limit();

    // `stop` ends the node's own tasks, after the drain.
    let stop = CancellationToken::new();
    let life = Life::begin()?;
    life.metrics.is_built_from(commit);
    let sessions = Sessions::default();
    tokio::spawn(ServiceManager::from_environment().keep_informed(
        life.readiness.clone(),
        life.vitals.clone(),
        Drainage {
            begins: shutdown.drain.clone(),
            ended: stop.clone(),
            limit,
        },
        doing(life.metrics.clone(), sessions.clone()),
    ));
    let operations = ops::router(life.clone()).merge(log::router(levels));
    let accept = accept_config(&config, certificates, &life.metrics, &stop);
    // It outlives the drain: peers reach this node's sessions until the last one has left.
    let internal = Internal::serve(
        internal,
        for_peers(&accept, &config),
        operations,
        stop.clone(),
    );

    let connections = TaskTracker::new();
    let starting = start(config, &life, &address, &stop);
    let (node, lease) = tokio::select! {
        started = starting => started?,
        () = shutdown.drain.cancelled() => {
            tracing::info!("told to stop before it was ready");
            stop.cancel();
            return Ok(());
        }
    };
    let doors = Doors::open(&node, &sessions, &connections, &shutdown.drain, &stop)?;
    internal.open(doors.clone());
    let router = rest::router(node.clone())?;
    let respond = move |request, remote, guard| {
        answer_client(doors.clone(), router.clone(), request, remote, guard)
    };
    let closing = Closing {
        begins: shutdown.drain.clone(),
        ends: CancellationToken::new(),
    };
    let public = public.listen().context("http.port: cannot listen")?;
    let port = public.local_addr()?.port();
    let server = tokio::spawn(accept::serve(
        public,
        accept,
        Some(node.metrics.connections.clone()),
        respond,
        closing.clone(),
        connections.clone(),
    ));
    life.readiness.set(true);
    tracing::info!(node = %node.id, port, peers = address, "gateway ready");

    shutdown.drain.cancelled().await;
    life.readiness.set(false);
    let listening = Listening {
        server,
        closing,
        connections,
    };
    let drained = tokio::select! {
        drained = tokio::time::timeout(limit, drain(&node, lease, &sessions, listening)) => drained.is_ok(),
        () = shutdown.abort.cancelled() => false,
    };
    // Not part of the drain's limit: it is short, and what is left of a drain that was cut short is what one wants to see.
    node.traces.flush(FLUSH).await;
    stop.cancel();
    tell_end(drained, &sessions, &node);
    Ok(())
}

/// Starts the node, and announces it to the others. Takes as long as PostgreSQL and Redis are away.
async fn start(
    config: GatewayConfig,
    life: &Life,
    address: &str,
    stop: &CancellationToken,
) -> anyhow::Result<(Arc<Node>, NodeLease)> {
    // Boxed: nothing in it is needed once it has begun.
    let (node, notices) = Box::pin(Node::start(config, life.clone(), stop)).await?;
    let node = Arc::new(node);
    spawn_vital("notices", stop, show_notices(node.clone(), notices));
    let (redis, keyspace) = (node.redis.clone(), node.keyspace);
    let metrics = node.metrics.redis.clone();
    let lease = NodeLease::announce(redis, keyspace, node.id, address.into(), metrics)
        .await
        .context("node lease")?;
    Ok((node, lease))
}

/// What the gateway is doing, in a few words for whoever asks the service manager.
fn doing(metrics: Arc<Metrics>, sessions: Sessions) -> impl Fn() -> String {
    move || {
        let (open, pending) = (sessions.len(), metrics.commands_pending.get());
        format!("{open} sessions, {pending} commands pending")
    }
}

/// The clients' listener, being served.
struct Listening {
    server: tokio::task::JoinHandle<()>,
    closing: Closing,
    connections: TaskTracker,
}

/// Unready → accept no more → close the transports, spread → leave the registry → finish what is pending.
async fn drain(node: &Node, lease: NodeLease, sessions: &Sessions, listening: Listening) {
    let Listening {
        server,
        closing,
        connections,
    } = listening;
    if let Err(error) = server.await {
        tracing::error!(%error, "the listener ended badly");
    }
    sessions.drain(node.config.drain.spread()).await;
    closing.ends.cancel();
    // Its clients are about to be somewhere else.
    node.presence.leave().await;
    lease.release().await;
    node.ingress.drain().await;
    connections.close();
    connections.wait().await;
}

/// TLS with these certificates, and with those that replace them, until `stop`.
fn tls(certificates: Certificates, metrics: &Metrics, stop: &CancellationToken) -> Arc<Tls> {
    let tls = Arc::new(Tls::new(certificates, metrics.tls.clone()));
    spawn_vital("certificates", stop, tls.clone().keep_fresh());
    tls
}

/// What the public listener's connections may do.
fn accept_config(
    config: &GatewayConfig,
    certificates: Option<Certificates>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> AcceptConfig {
    let http = &config.http;
    AcceptConfig {
        protocols: Protocols::Http1,
        max_connections: http.max_connections,
        header_timeout: Duration::from_secs(http.header_timeout_seconds),
        idle_timeout: Duration::from_secs(http.idle_timeout_seconds),
        peer_timeout: http.peer_timeout(),
        tls: certificates.map(|certificates| tls(certificates, metrics, stop)),
    }
}

/// What the internal listener's may.
fn for_peers(clients: &AcceptConfig, config: &GatewayConfig) -> AcceptConfig {
    AcceptConfig {
        protocols: Protocols::Http1AndHttp2,
        max_connections: config.cluster.max_connections,
        // It is for the node's own network.
        tls: None,
        ..clients.clone()
    }
}

/// The answer to a client.
async fn answer_client(
    doors: Doors,
    router: Router,
    request: Request<Incoming>,
    remote: SocketAddr,
    guard: ConnectionGuard,
) -> ::http::Response<Body> {
    match doors.respond(request, remote, guard).await {
        Ok(response) => response,
        Err(request) => {
            let mut request = request.map(Body::new);
            request
                .extensions_mut()
                .insert(axum::extract::ConnectInfo::<SocketAddr>(remote));
            answer(router, request).await
        }
    }
}

/// Says how the drain went.
fn tell_end(drained: bool, sessions: &Sessions, node: &Node) {
    if drained {
        tracing::info!("drained");
    } else {
        tracing::warn!(
            sessions = sessions.len(),
            pending = node.ingress.pending(),
            "drain cut short"
        );
    }
}
