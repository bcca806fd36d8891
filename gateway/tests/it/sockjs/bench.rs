//! Nodes whose handler gives messages back, each in a runtime of its own, so that one can be killed.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_gateway::config::{EngineConfig, LimitsConfig, PeerProtocol, SockJsConfig};
use confab_gateway::http::accept::{self, Protocols};
use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Address, Claims, SoleNode, StaticDirectory};
use confab_gateway::session::DisconnectReason;
use confab_gateway::session::stomp::Framing;
use confab_gateway::transport::admission::{Admission, TrustedProxies};
use confab_gateway::transport::application::{Handshake, Link, MessageHandler};
use confab_gateway::transport::endpoint::EndpointParts;
use confab_gateway::transport::origin::AllowedOrigins;
use confab_gateway::transport::peers::{Peers, PeersConfig};
use confab_gateway::transport::sessions::Sessions;
use confab_gateway::transport::sid::SidAuthority;
use confab_gateway::transport::sockjs::{SockJs, SockJsParts};
use confab_shared::id::NodeId;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, request};
use crate::http::Answer;
use crate::peers::accept_config;
use crate::raw::PATIENCE;

/// What Redis's memory is called, for nodes that have one.
pub(crate) type Memory = watch::Receiver<Option<Arc<str>>>;

/// What a node is like.
pub(crate) struct Setup {
    pub config: SockJsConfig,
    pub limits: LimitsConfig,
    pub max_sessions: usize,
    pub send_queue_bytes: usize,
    pub origins: &'static str,
    pub id: NodeId,
    pub directory: StaticDirectory,
    pub claims: Option<(Arc<dyn Claims>, Memory)>,
    pub protocol: PeerProtocol,
    pub internal: Option<TcpListener>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: SockJsConfig {
                enabled: true,
                heartbeat_ms: 60_000,
                disconnect_delay_ms: 60_000,
                response_limit: 4_096,
                max_payload: 10_000,
                base_url: String::new(),
            },
            limits: LimitsConfig {
                sessions_per_ip: 0,
                handshakes_per_ip: 0,
                sessions_per_user: 0,
            },
            max_sessions: 1_000,
            send_queue_bytes: 100_000,
            origins: "https://app.example",
            id: NodeId::generate(),
            directory: StaticDirectory::default(),
            claims: None,
            protocol: PeerProtocol::H2c,
            internal: None,
        }
    }
}

/// A node.
pub(crate) struct Node {
    runtime: Option<Runtime>,
    pub address: SocketAddr,
    pub internal: SocketAddr,
    draining: CancellationToken,
    sessions: Sessions,
    closed: Arc<Mutex<Vec<DisconnectReason>>>,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (public, internal) = (bind(), setup.internal.unwrap_or_else(bind));
        let (address, internal_address) =
            (public.local_addr().unwrap(), internal.local_addr().unwrap());
        let (tasks, metrics) = (TaskTracker::new(), Arc::new(Metrics::new().unwrap()));
        let (draining, sessions) = (CancellationToken::new(), Sessions::default());
        let engine = EngineConfig {
            ping_interval_ms: 25_000,
            ping_timeout_ms: 2_000,
            connect_timeout_ms: 45_000,
            upgrade_timeout_ms: 10_000,
            max_sessions: setup.max_sessions,
            max_payload: 100_000,
            max_attachments: 10,
            send_queue_bytes: setup.send_queue_bytes,
            compress_above: 1_024,
        };
        let peers = PeersConfig::new(
            &engine,
            setup.protocol,
            Duration::from_secs(30),
            Duration::from_millis(100),
        );
        let closed = Arc::<Mutex<Vec<_>>>::default();
        let parts = EndpointParts {
            handler: Echo {
                closed: closed.clone(),
            },
            config: engine,
            origins: AllowedOrigins::parse(setup.origins),
            proxies: TrustedProxies::default(),
            admission: Admission::new(&setup.limits),
            sids: SidAuthority::new(setup.id, b"secret"),
            sessions: sessions.clone(),
            peers: Peers::new(
                Arc::new(setup.directory),
                &peers,
                draining.clone(),
                tasks.clone(),
                metrics.clone(),
            ),
            tasks: tasks.clone(),
            metrics,
        };
        let (claims, memory) = match setup.claims {
            Some((claims, memory)) => (claims, Some(memory)),
            None => (Arc::new(SoleNode(setup.id)) as Arc<dyn Claims>, None),
        };
        let own = SockJsParts {
            config: setup.config,
            path: "/ws".into(),
            claims,
        };
        let endpoint = SockJs::new(Arc::new(parts), own);
        if let Some(memory) = memory {
            tokio::spawn(endpoint.clone().keep(memory));
        }
        let listener = |listener: TcpListener| {
            listener.set_nonblocking(true).unwrap();
            tokio::net::TcpListener::from_std(listener).unwrap()
        };
        let for_clients = endpoint.clone();
        tokio::spawn(accept::serve(
            listener(public),
            accept_config(Protocols::Http1),
            None,
            move |request, remote, guard| {
                let endpoint = for_clients.clone();
                async move { endpoint.respond(request, remote, guard).await }
            },
            draining.clone(),
            tasks.clone(),
        ));
        tokio::spawn(accept::serve(
            listener(internal),
            accept_config(Protocols::Http1AndHttp2),
            None,
            move |request, _, _| {
                let endpoint = endpoint.clone();
                async move { endpoint.respond_to_peer(request).await }
            },
            CancellationToken::new(),
            TaskTracker::new(),
        ));
        drop(inside);
        Self {
            runtime: Some(runtime),
            address,
            internal: internal_address,
            draining,
            sessions,
            closed,
        }
    }

    /// As if the process had been killed.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// As when it is told to stop.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
        let sessions = self.sessions.clone();
        self.runtime
            .as_ref()
            .unwrap()
            .spawn(async move { sessions.drain(Duration::from_millis(50)).await });
    }

    /// As when it is told to stop, but for its own sessions.
    pub(crate) fn leave(&self) {
        self.draining.cancel();
    }

    /// Waits until so many sessions are open.
    #[track_caller]
    pub(crate) fn has(&self, sessions: usize) {
        until(|| self.sessions.len() == sessions);
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Waits until as many sessions have ended, for these reasons.
    #[track_caller]
    pub(crate) fn ended(&self, reasons: &[DisconnectReason]) {
        until(|| self.closed.lock().len() >= reasons.len());
        assert_eq!(*self.closed.lock(), reasons);
    }

    /// A session, so far only a name.
    pub(crate) fn session(&self) -> Client {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Client {
            address: self.address,
            path: format!("/ws/000/s{number}-{}", std::process::id()),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        request(self.address, method, path, headers, body).answer()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Another node's directory entry.
pub(crate) fn at(id: NodeId, internal: SocketAddr) -> (NodeId, Address) {
    (id, Address::from(internal.to_string()))
}

/// Gives messages back. Some mean something else.
struct Echo {
    closed: Arc<Mutex<Vec<DisconnectReason>>>,
}

struct EchoSession {
    link: Link,
    last: Option<Bytes>,
}

impl EchoSession {
    fn say(&self, text: &str) {
        self.link.push(Framing::SockJs.frame(text.as_bytes()));
    }
}

impl MessageHandler for Echo {
    type Session = EchoSession;

    fn open(
        &self,
        _: Arc<Handshake>,
        link: Link,
        framing: Framing,
    ) -> (EchoSession, BoxFuture<'static, DisconnectReason>) {
        assert_eq!(framing, Framing::SockJs);
        let session = EchoSession { link, last: None };
        (session, std::future::pending().boxed())
    }

    async fn message(
        &self,
        session: &mut EchoSession,
        bytes: Bytes,
    ) -> Result<(), DisconnectReason> {
        let text = std::str::from_utf8(&bytes).unwrap();
        match text.split_once(' ').unwrap_or((text, "")) {
            ("bye", "") => return Err(DisconnectReason::ClientClosed),
            ("bye", word) => {
                session.say(word);
                session.last = Some(Framing::SockJs.frame(b"the last"));
                return Err(DisconnectReason::LoggedOut);
            }
            ("slow", word) => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                session.say(word);
            }
            ("flood", count) => {
                for _ in 0..count.parse::<u32>().unwrap() {
                    session.say(&"x".repeat(1_000));
                }
            }
            _ => session.say(text),
        }
        Ok(())
    }

    async fn closed(&self, session: EchoSession, reason: DisconnectReason) -> Option<Bytes> {
        self.closed.lock().push(reason);
        session.last
    }
}
