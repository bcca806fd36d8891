//! Nodes whose handler gives messages back, each in a runtime of its own, so that one can be killed; and clients that read exactly what comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
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

use crate::http::{Answer, Request};
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
                disconnect_delay_ms: 1_500,
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
        let _inside = runtime.enter();
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
        drop(_inside);
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
                tokio::time::sleep(Duration::from_millis(300)).await;
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

/// Sends a request with a body, and headers that each end in CRLF.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Request {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    Request::raw(address, head.as_bytes())
}

/// A session as its client has it.
#[derive(Clone)]
pub(crate) struct Client {
    pub address: SocketAddr,
    pub path: String,
}

impl Client {
    /// The same session by way of another node.
    pub(crate) fn at(&self, node: &Node) -> Self {
        Self {
            address: node.address,
            path: self.path.clone(),
        }
    }

    /// A session that has been opened by a poll.
    pub(crate) fn opened(self) -> Self {
        self.poll().is(200, "o\n");
        self
    }

    pub(crate) fn begin_poll(&self) -> Request {
        request(self.address, "POST", &format!("{}/xhr", self.path), "", "")
    }

    /// A poll that has had the time to arrive.
    pub(crate) fn waiting_poll(&self) -> Request {
        let mut poll = self.begin_poll();
        assert!(poll.is_waiting(Duration::from_millis(50)));
        poll
    }

    pub(crate) fn poll(&self) -> Answer {
        self.begin_poll().answer()
    }

    pub(crate) fn begin_send(&self, length: usize, body: &str) -> Request {
        let head = format!(
            "POST {}/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}",
            self.path
        );
        Request::raw(self.address, head.as_bytes())
    }

    pub(crate) fn try_send(&self, body: &str) -> Answer {
        self.begin_send(body.len(), body).answer()
    }

    /// Sends messages.
    #[track_caller]
    pub(crate) fn send(&self, messages: &[&str]) {
        let body = serde_json::to_string(messages).unwrap();
        self.try_send(&body).is(204, "");
    }

    pub(crate) fn stream(&self) -> Stream {
        self.receive("POST", "xhr_streaming")
    }

    pub(crate) fn events(&self) -> Stream {
        self.receive("GET", "eventsource")
    }

    fn receive(&self, method: &str, transport: &str) -> Stream {
        let path = format!("{}/{transport}", self.path);
        Stream::new(request(self.address, method, &path, "", "").into_stream())
    }
}

/// An answer that comes bit by bit.
pub(crate) struct Stream {
    pub head: String,
    stream: TcpStream,
    read: Vec<u8>,
    is_over: bool,
}

impl Stream {
    /// The answer to a request that was sent.
    pub(crate) fn new(mut stream: TcpStream) -> Self {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        Self {
            head: String::from_utf8(head).unwrap(),
            stream,
            read: Vec::new(),
            is_over: false,
        }
    }

    /// Its prelude and `o` read.
    #[track_caller]
    pub(crate) fn opened(mut self) -> Self {
        let prelude = self.prelude();
        assert!(self.head.starts_with("HTTP/1.1 200"), "{}", self.head);
        self.expect(&prelude);
        let open = if prelude.starts_with('h') {
            "o\n"
        } else {
            "data: o\r\n\r\n"
        };
        self.expect(open);
        self
    }

    /// Its prelude read.
    #[track_caller]
    pub(crate) fn begun(mut self) -> Self {
        let prelude = self.prelude();
        self.expect(&prelude);
        self
    }

    fn prelude(&self) -> String {
        if self.head.contains("event-stream") {
            "\r\n".into()
        } else {
            format!("{}\n", "h".repeat(2_048))
        }
    }

    /// Exactly this comes next.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        while self.read.len() < text.len() && self.more() {}
        let found = &self.read[..text.len().min(self.read.len())];
        assert_eq!(String::from_utf8_lossy(found), text);
        self.read.drain(..text.len());
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> String {
        while !self.read.contains(&b'\n') && self.more() {}
        let end = self.read.iter().position(|byte| *byte == b'\n').unwrap();
        String::from_utf8(self.read.drain(..=end).collect()).unwrap()
    }

    /// It ends as it should, and this is what was left of it.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Whether nothing comes for a while.
    pub(crate) fn is_silent(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.read.is_empty() && peeked.is_err()
    }

    /// Reads one chunk (RFC 9112, 7.1). False at the end.
    fn more(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let mut line = String::new();
        let mut byte = [0];
        if self.head.contains("content-length: ") {
            let length = self.head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let mut whole = vec![0; length];
            self.stream.read_exact(&mut whole).unwrap();
            self.read.extend(whole);
            self.is_over = true;
            return true;
        }
        while !line.ends_with("\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => line.push(char::from(byte[0])),
                Ok(_) => panic!("broken off after {:?}", String::from_utf8_lossy(&self.read)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing comes"),
                Err(error) => panic!("{error}"),
            }
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        self.read.extend(&chunk[..length]);
        self.is_over = length == 0;
        !self.is_over
    }

    pub(crate) fn into_stream(mut self) -> TcpStream {
        self.stream.flush().unwrap();
        self.stream
    }
}
