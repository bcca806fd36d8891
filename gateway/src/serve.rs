//! A gateway's life: start the node, serve both listeners, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use confab_shared::lifecycle::{Shutdown, spawn_vital};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::chat::{Chat, show_notices};
use crate::config::GatewayConfig;
use crate::http::accept::{self, AcceptConfig};
use crate::http::ops::{self, Readiness};
use crate::node::Node;
use crate::rest;
use crate::transport::endpoint::{Endpoint, Origin};
use crate::transport::origin::AllowedOrigins;
use crate::transport::sessions::Sessions;
use crate::transport::sid::SidAuthority;
use crate::transport::socketio::SocketIo;

/// The path of the Engine.IO endpoint.
const ENGINE_PATH: &str = "/socket.io/";

/// Runs a gateway until it has drained.
pub async fn run(config: GatewayConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    let public = listen(
        &format!("{}:{}", config.http.bind, config.http.port),
        "http.port",
    )
    .await?;
    let internal = listen(&config.http.internal_listen, "http.internal_listen").await?;

    // `stop` ends the node's own tasks, after the drain; `accepting` ends with the drain's begin.
    let stop = CancellationToken::new();
    let (tasks, connections) = (TaskTracker::new(), TaskTracker::new());
    let (node, notices) = Node::start(config, &stop).await?;
    let node = Arc::new(node);
    spawn_vital("notices", &stop, show_notices(node.clone(), notices));

    let accept = AcceptConfig {
        max_connections: node.config.http.max_connections,
        header_timeout: Duration::from_secs(node.config.http.header_timeout_seconds),
    };
    let readiness = Readiness::default();
    let operations = ops::router(readiness.clone(), node.metrics.clone());
    let internal_server = accept::serve(
        internal,
        AcceptConfig {
            max_connections: 64,
            ..accept.clone()
        },
        None,
        move |request, _, _| answer(operations.clone(), request.map(Body::new)),
        stop.clone(),
        tasks.clone(),
    );
    tasks.spawn(internal_server);

    let sessions = Sessions::default();
    let endpoint = Endpoint::new(
        SocketIo::new(Chat::new(node.clone())?, &node.config.engine),
        node.config.engine.clone(),
        AllowedOrigins::parse(&node.config.http.cors_origin),
        SidAuthority::new(node.id, node.config.auth.jwt_secret.as_bytes()),
        sessions.clone(),
        connections.clone(),
        node.metrics.clone(),
    );
    let router = rest::router(node.clone());
    let respond = move |request: ::http::Request<hyper::body::Incoming>, remote, guard| {
        let (endpoint, router) = (endpoint.clone(), router.clone());
        async move {
            if request.uri().path().starts_with(ENGINE_PATH) {
                endpoint
                    .respond(request, Origin::Public { remote }, guard)
                    .await
                    .map(Body::new)
            } else {
                let mut request = request.map(Body::new);
                request
                    .extensions_mut()
                    .insert(axum::extract::ConnectInfo::<SocketAddr>(remote));
                answer(router, request).await
            }
        }
    };
    let gauge = Some(node.metrics.connections.clone());
    let server = accept::serve(
        public,
        accept,
        gauge,
        respond,
        shutdown.drain.clone(),
        connections.clone(),
    );
    let server = tokio::spawn(server);
    readiness.set(true);
    tracing::info!(node = %node.id, port = node.config.http.port, "gateway ready");

    shutdown.drain.cancelled().await;
    readiness.set(false);
    let limit = Duration::from_secs(node.config.drain.limit_seconds);
    let drained = tokio::select! {
        drained = tokio::time::timeout(limit, drain(&node, &sessions, server, &connections)) => drained.is_ok(),
        () = shutdown.abort.cancelled() => false,
    };
    stop.cancel();
    if drained {
        tracing::info!("drained");
    } else {
        tracing::warn!(
            sessions = sessions.len(),
            pending = node.ingress.pending(),
            "drain cut short"
        );
    }
    Ok(())
}

/// Unready → accept no more → close the transports, spread → finish what is pending.
async fn drain(
    node: &Node,
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
    node.ingress.drain().await;
    connections.close();
    connections.wait().await;
}

async fn answer(router: Router, request: ::http::Request<Body>) -> ::http::Response<Body> {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn listen(address: &str, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key}: cannot listen on {address}"))
}
