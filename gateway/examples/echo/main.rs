//! The protocol layers without chat: an echo server that public Engine.IO and Socket.IO suites can be pointed at.
//!
//! Engine.IO at `/engine.io/` echoes text and binary messages. Socket.IO at `/socket.io/`: on `/` and `/custom` emits `auth` with
//! the handshake's credentials; on `/` answers `message` with `message-back` and the same arguments, and acknowledges
//! `message-with-ack` with them. `/sessions` says how many sessions are open.

mod applications;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use clap::Parser;
use confab_gateway::config::{EngineConfig, LimitsConfig, PeerProtocol};
use confab_gateway::http::accept::{self, AcceptConfig, Protocols};
use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Address, Directory, LeasedDirectory, NodeLease, StaticDirectory};
use confab_gateway::transport::admission::{Admission, TrustedProxies};
use confab_gateway::transport::endpoint::{Endpoint, EndpointParts};
use confab_gateway::transport::origin::AllowedOrigins;
use confab_gateway::transport::peers::{Peers, PeersConfig};
use confab_gateway::transport::sessions::Sessions;
use confab_gateway::transport::sid::SidAuthority;
use confab_gateway::transport::socketio::SocketIo;
use confab_shared::id::NodeId;
use confab_shared::redis::{self, RedisConfig, Retries};
use ipnet::IpNet;
use tikv_jemallocator::Jemalloc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use applications::{EngineEcho, SocketEcho};

/// As the gateway has it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How long Redis may take: tests stop it now and then, and that is not what they are about.
const SLOW: Duration = Duration::from_secs(30);
/// Over how long sessions are closed when the server is told to stop.
const DRAIN: Duration = Duration::from_millis(100);

/// How long a client may leave unread what it was sent.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// An echo server for protocol suites.
#[derive(Debug, Parser)]
struct Flags {
    /// The port to listen on, at 127.0.0.1; 0 for any.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// From one pong to the next ping.
    #[arg(long, default_value_t = 300)]
    ping_interval_ms: u64,
    /// From a ping to the latest pong.
    #[arg(long, default_value_t = 200)]
    ping_timeout_ms: u64,
    /// From the handshake to the first namespace.
    #[arg(long, default_value_t = 1_000)]
    connect_timeout_ms: u64,
    /// From a WebSocket's opening to the moment a polling session has moved over to it.
    #[arg(long, default_value_t = 10_000)]
    upgrade_timeout_ms: u64,
    /// The largest message, in bytes.
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: usize,
    /// How many bytes may wait for a client that reads slowly.
    #[arg(long, default_value_t = 4_194_304)]
    send_queue_bytes: usize,
    /// Answers to polls of more bytes than this are compressed; 0 for never.
    #[arg(long, default_value_t = 1_024)]
    compress_above: usize,
    /// The port for other nodes, at 127.0.0.1; 0 for any.
    #[arg(long, default_value_t = 0)]
    internal_port: u16,
    /// This node's number, where others are named by --peers.
    #[arg(long)]
    node: Option<u128>,
    /// The other nodes, as numbers and addresses of their internal ports: 2=127.0.0.1:9102,3=127.0.0.1:9103.
    #[arg(long, value_delimiter = ',', value_parser = peer)]
    peers: Vec<(NodeId, Address)>,
    /// Where the nodes find each other, instead of --peers: redis://127.0.0.1:6379.
    #[arg(long)]
    redis: Option<String>,
    /// The most sessions per client address; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    sessions_per_ip: u32,
    /// The most handshakes per client address and second; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    handshakes_per_ip: u32,
    /// The most sessions.
    #[arg(long, default_value_t = 50_000)]
    max_sessions: usize,
    /// The network whose X-Forwarded-For is believed.
    #[arg(long)]
    trusted_proxies: Option<IpNet>,
    /// Origins of browsers that may talk to us, comma-separated; * for all.
    #[arg(long, default_value = "*")]
    cors_origin: String,
}

fn engine_config(flags: &Flags) -> EngineConfig {
    EngineConfig {
        ping_interval_ms: flags.ping_interval_ms,
        ping_timeout_ms: flags.ping_timeout_ms,
        connect_timeout_ms: flags.connect_timeout_ms,
        upgrade_timeout_ms: flags.upgrade_timeout_ms,
        max_sessions: flags.max_sessions,
        max_payload: flags.max_payload,
        max_attachments: 10,
        send_queue_bytes: flags.send_queue_bytes,
        compress_above: flags.compress_above,
    }
}

fn node(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}

fn peer(text: &str) -> Result<(NodeId, Address), String> {
    let (number, address) = text.split_once('=').ok_or("expected NUMBER=ADDRESS")?;
    let number = number.parse().map_err(|_| "expected a number before =")?;
    Ok((node(number), address.into()))
}

/// Where this node finds the others. With a registry it announces itself there, for as long as the lease is kept.
async fn directory(
    flags: &Flags,
    node: NodeId,
    internal: SocketAddr,
) -> anyhow::Result<(Arc<dyn Directory>, Option<NodeLease>)> {
    let Some(url) = &flags.redis else {
        let peers: StaticDirectory = flags.peers.iter().cloned().collect();
        return Ok((Arc::new(peers), None));
    };
    let config = RedisConfig {
        command_timeout_ms: SLOW.as_millis().try_into()?,
        ..RedisConfig::at(url.clone())
    };
    // Nothing here has a partition; any number will do as long as all nodes have the same.
    let keyspace = config.keyspace(16)?;
    let redis = redis::connect(&config, Retries::Idempotent).await?;
    let (address, counted) = (internal.to_string().into(), Metrics::new()?.redis);
    let lease = NodeLease::announce(redis.clone(), keyspace, node, address, counted).await?;
    let directory = LeasedDirectory::new(redis, keyspace).with_patience(SLOW);
    Ok((Arc::new(directory), Some(lease)))
}

fn not_found() -> http::Response<Body> {
    http::StatusCode::NOT_FOUND.into_response()
}

type HttpRequest = http::Request<hyper::body::Incoming>;
type Endpoints = (Endpoint<EngineEcho>, Endpoint<SocketIo<SocketEcho>>);

/// Both endpoints on one node.
fn endpoints(
    flags: &Flags,
    node: NodeId,
    directory: Arc<dyn Directory>,
    draining: &CancellationToken,
) -> anyhow::Result<(Endpoints, EndpointParts<()>)> {
    let config = engine_config(flags);
    let (tasks, metrics) = (TaskTracker::new(), Arc::new(Metrics::new()?));
    let limits = LimitsConfig {
        sessions_per_ip: flags.sessions_per_ip,
        handshakes_per_ip: flags.handshakes_per_ip,
        sessions_per_user: 0,
    };
    let parts = EndpointParts {
        handler: (),
        origins: AllowedOrigins::parse(&flags.cors_origin),
        proxies: TrustedProxies::new(flags.trusted_proxies.into_iter().collect()),
        admission: Admission::new(&limits),
        sids: SidAuthority::new(node, b"an example has no secrets"),
        sessions: Sessions::default(),
        peers: Peers::new(
            directory,
            &PeersConfig::new(&config, PeerProtocol::H2c, PEER_TIMEOUT, DRAIN),
            draining.clone(),
            tasks.clone(),
            metrics.clone(),
        ),
        config,
        tasks,
        metrics,
    };
    let engine = Endpoint::new(parts.with(EngineEcho));
    let socket = Endpoint::new(parts.with(SocketIo::new(SocketEcho, &parts.config)));
    Ok(((engine, socket), parts))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let listen = |port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
    let internal = listen(flags.internal_port).await?;
    let node = flags.node.map_or_else(NodeId::generate, node);
    let (directory, lease) = directory(&flags, node, internal.local_addr()?).await?;
    let draining = CancellationToken::new();
    let ((engine, socket), parts) = endpoints(&flags, node, directory, &draining)?;
    let (sessions, tasks) = (parts.sessions.clone(), parts.tasks.clone());
    let listener = listen(flags.port).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    #[expect(
        clippy::print_stdout,
        reason = "with port 0, whoever started us reads it here"
    )]
    {
        println!("listening on {}", listener.local_addr()?);
    }
    let accept = AcceptConfig {
        protocols: Protocols::Http1,
        max_connections: 20_000,
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
        peer_timeout: PEER_TIMEOUT,
        tls: None,
    };
    let for_peers = AcceptConfig {
        protocols: Protocols::Http1AndHttp2,
        ..accept.clone()
    };
    let endpoints = (engine.clone(), socket.clone());
    let respond = move |request: HttpRequest, _, guard| {
        let (engine, socket) = endpoints.clone();
        async move {
            let path = request.uri().path();
            if path.starts_with("/engine.io/") {
                engine.respond_to_peer(request, guard).await.map(Body::new)
            } else if path.starts_with("/socket.io/") {
                socket.respond_to_peer(request, guard).await.map(Body::new)
            } else {
                not_found()
            }
        }
    };
    // Peers are served to the last: this node's sessions may be theirs to reach.
    let (never, apart) = (CancellationToken::new(), TaskTracker::new());
    tokio::spawn(accept::serve(
        internal, for_peers, None, respond, never, apart,
    ));
    let respond = move |request: HttpRequest, remote, guard| {
        let (engine, socket) = (engine.clone(), socket.clone());
        let (sessions, metrics) = (parts.sessions.clone(), parts.metrics.clone());
        async move {
            let path = request.uri().path();
            if path.starts_with("/engine.io/") {
                engine.respond(request, remote, guard).await.map(Body::new)
            } else if path.starts_with("/socket.io/") {
                socket.respond(request, remote, guard).await.map(Body::new)
            } else if path == "/sessions" {
                http::Response::new(Body::from(sessions.len().to_string()))
            } else if path == "/metrics" {
                http::Response::new(Body::from(metrics.scrape().unwrap_or_default()))
            } else {
                not_found()
            }
        }
    };
    let served = accept::serve(
        listener,
        accept,
        None,
        respond,
        draining.clone(),
        tasks.clone(),
    );
    let drained = async {
        terminated.recv().await;
        draining.cancel();
        sessions.drain(DRAIN).await;
        if let Some(lease) = lease {
            lease.release().await;
        }
        tasks.close();
        tokio::time::timeout(50 * DRAIN, tasks.wait()).await
    };
    let ((), drained) = tokio::join!(served, drained);
    Ok(drained?)
}
