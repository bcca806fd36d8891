//! The server that the tests talk to, and its application.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use confab_gateway::config::{DEFAULTS, GatewayConfig, LimitsConfig, PeerProtocol};
use confab_gateway::http::accept::{self, AcceptConfig, Protocols};
use confab_gateway::metrics::Metrics;
use confab_gateway::registry::StaticDirectory;
use confab_gateway::session::DisconnectReason;
use confab_gateway::session::stomp::{Rules, Subscription, Topic};
use confab_gateway::transport::admission::{Admission, TrustedProxies};
use confab_gateway::transport::application::{
    ConnectError, Handshake, StompApplication, StompMessage,
};
use confab_gateway::transport::endpoint::EndpointParts;
use confab_gateway::transport::origin::AllowedOrigins;
use confab_gateway::transport::peers::{Peers, PeersConfig};
use confab_gateway::transport::sessions::Sessions;
use confab_gateway::transport::sid::SidAuthority;
use confab_gateway::transport::stomp::endpoint::StompEndpoint;
use confab_gateway::transport::stomp::{Reply, Stomp, StompLink};
use confab_gateway_protocol::{stomp, websocket};
use confab_shared::config::load;
use confab_shared::id::NodeId;
use confab_shared::model::error::{ErrorCode, Rejection};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use crate::raw::{PATIENCE, Raw};

/// How long what is sent to `slowly` takes: longer than three of the intervals in which tests want a sign of life.
pub(super) const SLOWLY: Duration = Duration::from_millis(6_500);

/// Settings that tests turn.
pub(super) struct Settings {
    pub rules: Rules,
    pub max_payload: usize,
    pub max_sessions: usize,
    pub send_queue_bytes: usize,
    pub limits: LimitsConfig,
    pub proxies: &'static str,
    pub origins: &'static str,
}

/// A server of its own, in this process.
pub(super) struct Server {
    pub address: SocketAddr,
    pub board: Arc<Mutex<Board>>,
    sessions: Sessions,
    runtime: Runtime,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(turn: impl FnOnce(&mut Settings)) -> Self {
        let config = load::<GatewayConfig>(DEFAULTS).unwrap().config;
        let mut settings = Settings {
            rules: config.stomp.rules(PATIENCE).unwrap(),
            max_payload: config.engine.max_payload,
            max_sessions: 100,
            send_queue_bytes: config.engine.send_queue_bytes,
            limits: LimitsConfig {
                sessions_per_ip: 0,
                handshakes_per_ip: 0,
                sessions_per_user: 0,
            },
            proxies: "192.0.2.0/24",
            origins: "*",
        };
        turn(&mut settings);
        let mut engine = config.engine;
        engine.max_payload = settings.max_payload;
        engine.max_sessions = settings.max_sessions;
        engine.send_queue_bytes = settings.send_queue_bytes;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (tasks, metrics) = (TaskTracker::new(), Arc::new(Metrics::new().unwrap()));
        let never = CancellationToken::new();
        let board = Arc::new(Mutex::new(Board::default()));
        let sessions = Sessions::default();
        let spread = Duration::from_millis(50);
        let peers = runtime.block_on(async {
            Peers::new(
                Arc::new(StaticDirectory::default()),
                &PeersConfig::new(&engine, PeerProtocol::H2c, PATIENCE, spread),
                never.clone(),
                tasks.clone(),
                metrics.clone(),
            )
        });
        let parts = EndpointParts {
            handler: Stomp::new(Chat(board.clone()), settings.rules, metrics.clone()),
            origins: AllowedOrigins::parse(settings.origins),
            proxies: TrustedProxies::new(vec![settings.proxies.parse().unwrap()]),
            admission: Admission::new(&settings.limits),
            sids: SidAuthority::new(NodeId::generate(), b"a test has no secrets"),
            sessions: sessions.clone(),
            peers,
            config: engine,
            tasks: tasks.clone(),
            metrics,
        };
        let endpoint = StompEndpoint::new(parts, "/ws");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let accept = AcceptConfig {
            protocols: Protocols::Http1,
            max_connections: 1_000,
            header_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            peer_timeout: PATIENCE,
            tls: None,
        };
        let respond = move |request: http::Request<hyper::body::Incoming>, remote, guard| {
            let endpoint = endpoint.clone();
            async move {
                assert!(endpoint.is_at(request.uri().path()));
                endpoint.respond(request, remote, guard).map(Body::new)
            }
        };
        runtime.spawn(accept::serve(listener, accept, None, respond, never, tasks));
        Self {
            address,
            board,
            sessions,
            runtime,
        }
    }

    /// A WebSocket that has said nothing.
    pub(super) fn open(&self) -> Client {
        Client(Raw::upgrade(self.address, "/ws"))
    }

    /// A client that has connected, with this version.
    pub(super) fn client(&self, version: &str) -> Client {
        let mut client = self.open();
        client.send(&format!("CONNECT\naccept-version:{version}\n\n\0"));
        let connected = client.frame();
        assert_eq!(connected.command, "CONNECTED", "{connected:?}");
        assert_eq!(connected.header("version"), version);
        client
    }

    /// The same, which wants to be told what is refused.
    pub(super) fn patient(&self) -> Client {
        let mut client = self.client("1.2");
        client.send("SUBSCRIBE\nid:e\ndestination:/user/queue/errors\nreceipt:e\n\n\0");
        assert_eq!(client.receipt(), "e");
        client
    }

    /// Tells all sessions to come back later.
    pub(super) fn drain(&self) {
        self.runtime
            .block_on(self.sessions.drain(Duration::from_millis(1)));
    }

    /// Why the sessions ended that had connected, once there are so many.
    pub(super) fn ended(&self, count: usize) -> Vec<DisconnectReason> {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let ended = self.board.lock().ended.clone();
            if ended.len() >= count {
                return ended;
            }
            assert!(std::time::Instant::now() < until, "{ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A client, and how it is shown what happens.
type Listener = (Arc<StompLink>, Arc<Subscription>);

/// What the application knows.
#[derive(Default)]
pub(super) struct Board {
    /// Who listens where.
    listeners: HashMap<String, Vec<Listener>>,
    /// Replies that are given later.
    pub waiting: Vec<Reply>,
    /// What was sent, by destination.
    pub sent: Vec<(String, Vec<u8>)>,
    pub ended: Vec<DisconnectReason>,
    messages: u64,
}

impl Board {
    fn show(&mut self, room: &str, body: &[u8]) {
        self.messages += 1;
        let id = self.messages.to_string();
        let rest = websocket::text_frame(|out| {
            stomp::message_rest(out, &id, "application/json", &[], |out| {
                out.extend_from_slice(body);
            });
        })
        .into_wire();
        for (link, subscription) in self.listeners.get(room).into_iter().flatten() {
            link.link().push(subscription.address(rest.clone()));
        }
    }
}

/// The application: rooms where everybody may say everything, apart from some.
struct Chat(Arc<Mutex<Board>>);

impl StompApplication for Chat {
    type Client = Arc<StompLink>;

    async fn connect(
        &self,
        _: &Arc<Handshake>,
        token: Option<&str>,
        link: &Arc<StompLink>,
    ) -> Result<(Arc<StompLink>, Option<String>), ConnectError> {
        match token {
            Some("bad") => Err(ConnectError::Refused {
                message: "Unauthorized".to_owned(),
                data: None,
            }),
            Some("elsewhere") => Err(ConnectError::Unavailable),
            name => Ok((link.clone(), name.map(str::to_owned))),
        }
    }

    async fn connected(&self, _: &mut Arc<StompLink>) {}

    async fn subscribe(
        &self,
        link: &mut Arc<StompLink>,
        topic: Topic<'_>,
        subscription: Arc<Subscription>,
        reply: Reply,
    ) {
        let room = match topic {
            Topic::Room("closed") => {
                return reply.refuse(&Rejection::not_found("room"));
            }
            Topic::Room(room) => room,
            Topic::DirectMessages => "direct messages",
            Topic::Notifications => "notifications",
        };
        let listener = (link.clone(), subscription);
        self.0
            .lock()
            .listeners
            .entry(room.to_owned())
            .or_default()
            .push(listener);
        reply.done();
    }

    async fn unsubscribe(&self, link: &mut Arc<StompLink>, id: &str) {
        for listeners in self.0.lock().listeners.values_mut() {
            listeners
                .retain(|(own, subscription)| !(Arc::ptr_eq(own, link) && subscription.id() == id));
        }
    }

    fn check(&self, message: &StompMessage<'_>) -> Result<(), Rejection> {
        match message.destination {
            "nonsense" => Err(Rejection::invalid("this is nonsense")),
            _ => Ok(()),
        }
    }

    async fn send(&self, link: &mut Arc<StompLink>, message: StompMessage<'_>, reply: Reply) {
        if let Err(rejection) = self.check(&message) {
            return reply.refuse(&rejection);
        }
        if message.destination == "slowly" {
            tokio::time::sleep(SLOWLY).await;
        }
        let mut board = self.0.lock();
        let sent = (message.destination.to_owned(), message.body.to_vec());
        board.sent.push(sent);
        match message.destination {
            "later" => board.waiting.push(reply),
            "too-often" => {
                reply.refuse(&Rejection::rate_limited(Duration::from_secs(3)));
            }
            "conflict" => reply.refuse(&Rejection::new(ErrorCode::Conflict, "not\nnow")),
            "log-out" => link.link().close(DisconnectReason::LoggedOut),
            "fail" => link.fatal("that was it", "for good", DisconnectReason::Unauthenticated),
            room => {
                board.show(room, message.body);
                reply.done();
            }
        }
    }

    async fn commit(
        &self,
        link: &mut Arc<StompLink>,
        messages: Vec<(StompMessage<'_>, Reply)>,
    ) -> Result<(), Rejection> {
        let full = |(message, _): &(StompMessage<'_>, Reply)| message.destination == "full";
        if messages.iter().any(full) {
            return Err(Rejection::new(ErrorCode::Conflict, "the room is full"));
        }
        for (message, reply) in messages {
            if link.link().queue().closing().is_some() {
                break;
            }
            self.send(link, message, reply).await;
        }
        Ok(())
    }

    async fn disconnected(&self, link: Arc<StompLink>, reason: DisconnectReason) {
        let mut board = self.0.lock();
        for listeners in board.listeners.values_mut() {
            listeners.retain(|(other, _)| !Arc::ptr_eq(other, &link));
        }
        board.ended.push(reason);
    }
}
