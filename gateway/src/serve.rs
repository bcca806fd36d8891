//! A gateway's life: start the node, serve both listeners, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use anyhow::Context;
use axum::Router;
use axum::body::Body;
use confab_shared::lifecycle::{
    Drainage, InheritedSockets, Readiness, ServiceManager, Shutdown, Vitals, spawn_vital,
};
use confab_shared::telemetry::Levels;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::chat::show_notices;
use crate::config::GatewayConfig;
use crate::doors::Doors;
use crate::http::accept::{self, AcceptConfig, Protocols};
use crate::http::listen::Listeners;
use crate::http::log;
use crate::http::ops;
use crate::http::tls::{Certificates, Tls};
use crate::node::Node;
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
) -> anyhow::Result<()> {
    let certificates = Certificates::load(&config.http.tls)?;
    let Listeners { public, internal } = Listeners::open(&config.http, inherited).await?;

    // `stop` ends the node's own tasks, after the drain; `accepting` ends with the drain's begin.
    let stop = CancellationToken::new();
    let (tasks, connections) = (TaskTracker::new(), TaskTracker::new());
    let vitals = Vitals::default();
    let (node, notices) = Node::start(config, &vitals, &stop).await?;
    let node = Arc::new(node);
    spawn_vital("notices", &stop, show_notices(node.clone(), notices));

    let accept = accept_config(&node, certificates, &stop);
    let address = node.config.cluster.address(internal.local_addr()?)?;
    let lease = NodeLease::announce(
        node.redis.clone(),
        node.keyspace,
        node.id,
        address.clone().into(),
    )
    .await
    .context("node lease")?;
    let sessions = Sessions::default();
    let doors = Doors::open(&node, &sessions, &connections, &shutdown.drain, &stop)?;

    let readiness = Readiness::default();
    let operations =
        ops::router(readiness.clone(), node.metrics.clone()).merge(log::router(levels));
    let for_peers = doors.clone();
    let respond =
        move |request, _, guard| answer_peer(for_peers.clone(), operations.clone(), request, guard);
    // It outlives the drain: peers reach this node's sessions until the last one has left.
    tasks.spawn(accept::serve(
        internal,
        AcceptConfig {
            protocols: Protocols::Http1AndHttp2,
            max_connections: node.config.cluster.max_connections,
            // It is for the node's own network.
            tls: None,
            ..accept.clone()
        },
        None,
        respond,
        stop.clone(),
        tasks.clone(),
    ));

    let router = rest::router(node.clone())?;
    let respond = move |request, remote, guard| {
        answer_client(doors.clone(), router.clone(), request, remote, guard)
    };
    let gauge = Some(node.metrics.connections.clone());
    let port = public.local_addr()?.port();
    let server = accept::serve(
        public,
        accept,
        gauge,
        respond,
        shutdown.drain.clone(),
        connections.clone(),
    );
    let server = tokio::spawn(server);
    let limit = Duration::from_secs(node.config.drain.limit_seconds);
    let drainage = Drainage {
        begins: shutdown.drain.clone(),
        ended: stop.clone(),
        limit,
    };
    tasks.spawn(ServiceManager::from_environment().keep_informed(
        readiness.clone(),
        vitals,
        drainage,
        doing(node.clone(), sessions.clone()),
    ));
    readiness.set(true);
    tracing::info!(node = %node.id, port, peers = address, "gateway ready");

    shutdown.drain.cancelled().await;
    readiness.set(false);
    let drained = tokio::select! {
        drained = tokio::time::timeout(limit, drain(&node, lease, &sessions, server, &connections)) => drained.is_ok(),
        () = shutdown.abort.cancelled() => false,
    };
    // Not part of the drain's limit: it is short, and what is left of a drain that was cut short is what one wants to see.
    node.traces.flush(FLUSH).await;
    stop.cancel();
    tell_end(drained, &sessions, &node);
    Ok(())
}

/// What the gateway is doing, in a few words for whoever asks the service manager.
fn doing(node: Arc<Node>, sessions: Sessions) -> impl Fn() -> String {
    move || {
        let (open, pending) = (sessions.len(), node.ingress.pending());
        format!("{open} sessions, {pending} commands pending")
    }
}

/// Unready → accept no more → close the transports, spread → leave the registry → finish what is pending.
async fn drain(
    node: &Node,
    lease: NodeLease,
    sessions: &Sessions,
    server: tokio::task::JoinHandle<()>,
    connections: &TaskTracker,
) {
    if let Err(error) = server.await {
        tracing::error!(%error, "the listener ended badly");
    }
    sessions
        .drain(Duration::from_secs(node.config.drain.spread_seconds))
        .await;
    // Its clients are about to be somewhere else.
    node.presence.leave().await;
    lease.release().await;
    node.ingress.drain().await;
    connections.close();
    connections.wait().await;
}

/// TLS with these certificates, and with those that replace them, until `stop`.
fn tls(certificates: Certificates, node: &Node, stop: &CancellationToken) -> Arc<Tls> {
    let errors = node.metrics.tls_handshake_errors_total.clone();
    let tls = Arc::new(Tls::new(certificates, errors));
    spawn_vital("certificates", stop, tls.clone().keep_fresh());
    tls
}

/// What the public listener's connections may do.
fn accept_config(
    node: &Node,
    certificates: Option<Certificates>,
    stop: &CancellationToken,
) -> AcceptConfig {
    let http = &node.config.http;
    AcceptConfig {
        protocols: Protocols::Http1,
        max_connections: http.max_connections,
        header_timeout: Duration::from_secs(http.header_timeout_seconds),
        idle_timeout: Duration::from_secs(http.idle_timeout_seconds),
        peer_timeout: http.peer_timeout(),
        tls: certificates.map(|certificates| tls(certificates, node, stop)),
    }
}

/// The answer to another gateway, or to whoever runs this one.
async fn answer_peer(
    doors: Doors,
    operations: Router,
    request: Request<Incoming>,
    guard: ConnectionGuard,
) -> ::http::Response<Body> {
    match doors.respond_to_peer(request, guard).await {
        Ok(response) => response,
        Err(request) => answer(operations, request.map(Body::new)).await,
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

async fn answer(router: Router, request: Request<Body>) -> ::http::Response<Body> {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
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
