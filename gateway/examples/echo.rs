//! The protocol layers without chat: an echo server that public Engine.IO and Socket.IO suites can be pointed at.
//!
//! Engine.IO at `/engine.io/` echoes text and binary messages. Socket.IO at `/socket.io/`: on `/` and `/custom` emits `auth` with
//! the handshake's credentials; on `/` answers `message` with `message-back` and the same arguments, and acknowledges
//! `message-with-ack` with them. `/sessions` says how many sessions are open, `/metrics` how others
//! ended. SIGTERM closes them all, as a gateway does, and ends the process when they have left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clap::Parser;
use confab_gateway::config::EngineConfig;
use confab_gateway::http::accept::{self, AcceptConfig};
use confab_gateway::metrics::Metrics;
use confab_gateway::session::DisconnectReason;
use confab_gateway::transport::application::{
    Application, ConnectError, Connected, EngineHandler, Handshake, Incoming, Link,
};
use confab_gateway::transport::endpoint::{Endpoint, Origin, random_id};
use confab_gateway::transport::origin::AllowedOrigins;
use confab_gateway::transport::sessions::Sessions;
use confab_gateway::transport::sid::SidAuthority;
use confab_gateway::transport::socketio::SocketIo;
use confab_gateway_protocol::json::{Args, Json};
use confab_gateway_protocol::{engineio, socketio, websocket};
use confab_shared::id::NodeId;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    /// Origins of browsers that may talk to us, comma-separated; * for all.
    #[arg(long, default_value = "*")]
    cors_origin: String,
}

/// Gives Engine.IO messages back.
struct EngineEcho;

impl EngineHandler for EngineEcho {
    type Session = Link;

    fn open(&self, _: Arc<Handshake>, link: Link) -> Link {
        link
    }

    async fn text(&self, link: &mut Link, text: &str) -> Result<(), DisconnectReason> {
        let frame = websocket::text_frame(|out| {
            engineio::begin_message(out);
            out.extend_from_slice(text.as_bytes());
        });
        link.push(frame.into_wire());
        Ok(())
    }

    async fn binary(&self, link: &mut Link, bytes: Bytes) -> Result<(), DisconnectReason> {
        link.push(websocket::binary_frame(|out| out.extend_from_slice(&bytes)).into_wire());
        Ok(())
    }

    fn has_begun(&self, _: &Link) -> bool {
        true
    }

    async fn closed(&self, _: Link, _: DisconnectReason) {}
}

/// Gives Socket.IO events back.
struct SocketEcho;

/// A socket of the echo application.
struct EchoSocket {
    namespace: String,
    auth: String,
    link: Link,
}

impl EchoSocket {
    fn send(&self, write: impl FnOnce(&mut bytes::BytesMut), attachments: &[Bytes]) {
        let frame = websocket::text_frame(|out| {
            engineio::begin_message(out);
            write(out);
        });
        self.link.push(frame.into_wire());
        for attachment in attachments {
            let frame = websocket::binary_frame(|out| out.extend_from_slice(attachment));
            self.link.push(frame.into_wire());
        }
    }

    fn emit(&self, name: &str, args: Args<'_>, attachments: &[Bytes]) {
        let namespace = &self.namespace;
        self.send(
            |out| {
                if attachments.is_empty() {
                    socketio::event(out, namespace, None, name)
                        .args(args)
                        .finish();
                } else {
                    let count = attachments.len();
                    socketio::binary_event(out, namespace, None, name, count)
                        .args(args)
                        .finish();
                }
            },
            attachments,
        );
    }

    fn ack(&self, id: u64, args: Args<'_>, attachments: &[Bytes]) {
        let namespace = &self.namespace;
        self.send(
            |out| {
                if attachments.is_empty() {
                    socketio::ack(out, namespace, id).args(args).finish();
                } else {
                    socketio::binary_ack(out, namespace, id, attachments.len())
                        .args(args)
                        .finish();
                }
            },
            attachments,
        );
    }
}

impl Application for SocketEcho {
    type Socket = EchoSocket;

    async fn connect(
        &self,
        _: &Arc<Handshake>,
        namespace: &str,
        auth: Option<Json<'_>>,
        link: &Link,
    ) -> Result<Option<Connected<EchoSocket>>, ConnectError> {
        let known = matches!(namespace, "/" | "/custom");
        Ok(known.then(|| Connected {
            socket: EchoSocket {
                namespace: namespace.to_owned(),
                auth: auth.map_or("{}", Json::as_str).to_owned(),
                link: link.clone(),
            },
            sid: random_id(),
            pid: None,
        }))
    }

    async fn connected(&self, socket: &mut EchoSocket) {
        let auth = format!("[{}]", socket.auth);
        if let Some(args) = Json::check(&auth).ok().and_then(Json::elements) {
            socket.emit("auth", args, &[]);
        }
    }

    async fn event(&self, socket: &mut EchoSocket, event: Incoming<'_>) {
        match (event.name, event.ack_id) {
            ("message", _) => socket.emit("message-back", event.args, event.attachments),
            ("message-with-ack", Some(id)) => socket.ack(id, event.args, event.attachments),
            _ => {}
        }
    }

    async fn disconnected(&self, _: EchoSocket, _: DisconnectReason) {}
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let config = EngineConfig {
        ping_interval_ms: flags.ping_interval_ms,
        ping_timeout_ms: flags.ping_timeout_ms,
        connect_timeout_ms: flags.connect_timeout_ms,
        upgrade_timeout_ms: flags.upgrade_timeout_ms,
        max_payload: flags.max_payload,
        max_attachments: 10,
        send_queue_bytes: flags.send_queue_bytes,
        compress_above: flags.compress_above,
    };
    let origins = AllowedOrigins::parse(&flags.cors_origin);
    let sids = SidAuthority::new(NodeId::generate(), b"an example has no secrets");
    let (sessions, tasks, metrics) = (
        Sessions::default(),
        TaskTracker::new(),
        Arc::new(Metrics::new()?),
    );
    let engine = Endpoint::new(
        EngineEcho,
        config.clone(),
        origins.clone(),
        sids.clone(),
        sessions.clone(),
        tasks.clone(),
        metrics.clone(),
    );
    let socket = Endpoint::new(
        SocketIo::new(SocketEcho, &config),
        config,
        origins,
        sids,
        sessions.clone(),
        tasks.clone(),
        metrics.clone(),
    );
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], flags.port))).await?;
    // With port 0 the system chose one: whoever started us reads it here.
    #[expect(clippy::print_stdout, reason = "the one line this example says")]
    {
        println!("listening on {}", listener.local_addr()?);
    }
    let accept = AcceptConfig {
        max_connections: 1_000,
        header_timeout: Duration::from_secs(5),
    };
    let open = sessions.clone();
    let respond = move |request: http::Request<hyper::body::Incoming>, remote, guard| {
        let (engine, socket) = (engine.clone(), socket.clone());
        let (sessions, metrics) = (open.clone(), metrics.clone());
        async move {
            let path = request.uri().path();
            let origin = Origin::Public { remote };
            if path.starts_with("/engine.io/") {
                engine.respond(request, origin, guard).await.map(Body::new)
            } else if path.starts_with("/socket.io/") {
                socket.respond(request, origin, guard).await.map(Body::new)
            } else if path == "/sessions" {
                http::Response::new(Body::from(sessions.len().to_string()))
            } else if path == "/metrics" {
                http::Response::new(Body::from(metrics.scrape().unwrap_or_default()))
            } else {
                let mut response = http::Response::new(Body::empty());
                *response.status_mut() = http::StatusCode::NOT_FOUND;
                response
            }
        }
    };
    let stop = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate())?;
    let served = accept::serve(listener, accept, None, respond, stop.clone(), tasks.clone());
    let drained = async {
        terminated.recv().await;
        stop.cancel();
        sessions.drain(Duration::from_millis(100)).await;
    };
    tokio::join!(served, drained);
    tasks.close();
    tasks.wait().await;
    Ok(())
}
