//! Nodes in one process, against a Redis of the test's own, and clients that answer pings. There is no PostgreSQL: nothing here needs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_gateway::backplane::{Backplane, GatewayMessage};
use confab_gateway::dialect::{self, Called, Namespace};
use confab_gateway::hub::Hub;
use confab_gateway::hub::send_queue::SendQueue;
use confab_gateway::hub::socket::{Socket, SocketRef};
use confab_gateway::recovery::{EnteredRoom, Kept, Parts, Recovery};
use confab_gateway::session::DisconnectReason;
use confab_shared::id::{ConversationId, NodeId, Seq, UserId};
use confab_shared::redis::{self, RedisConfig};
use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, HashesInterface, PubsubInterface};
use fred::types::{ClusterHash, CustomCommand, Message, Value};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::broadcast;
use tokio_util::sync::DropGuard;

use crate::insides::Insides;
use crate::raw::PATIENCE;
use crate::registry::{Redis, keyspace};

/// What a user of Redis' may do who may do everything.
pub(super) const EVERYTHING: &str = "resetkeys ~* resetchannels &* +@all";

/// A Redis and its administrator.
pub(super) struct Bench {
    server: Redis,
    pub(super) redis: Client,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let (server, redis) = Redis::start().await;
        Self { server, redis }
    }

    /// What the servers' administrator says.
    pub(super) async fn administer(&self, name: &'static str, words: &str) -> Value {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let words: Vec<&str> = words.split_whitespace().collect();
        self.redis.custom(command, words).await.unwrap()
    }

    /// From here on a user of Redis' may do this, whoever is connected as that.
    pub(super) async fn allow(&self, user: &str, what: &str) {
        let words = format!("SETUSER {user} on nopass {what}");
        self.administer("ACL", &words).await;
    }

    /// A node that may do everything.
    pub(super) async fn node(&self) -> Node {
        Node::start(&self.server.config()).await
    }

    /// A node that is a user of Redis' of its own.
    pub(super) async fn node_of(&self, user: &str) -> Node {
        self.allow(user, EVERYTHING).await;
        let url = self.server.url.replace("://", &format!("://{user}:any@"));
        Node::start(&RedisConfig::at(url)).await
    }

    /// What stands in Redis of a socket, but for what changes by itself.
    pub(super) async fn record(&self, pid: &str) -> BTreeMap<String, String> {
        let mut record: BTreeMap<String, String> =
            self.redis.hgetall(keyspace().session(pid)).await.unwrap();
        record.remove("seen");
        record
    }

    /// What is said to a node that is not really there.
    pub(super) async fn ghost(&self) -> Ghost {
        let id = NodeId::generate();
        let subscriber = redis::subscriber(&self.server.config())
            .unwrap()
            .build()
            .unwrap();
        let messages = subscriber.message_rx();
        subscriber.init().await.unwrap();
        subscriber.ssubscribe(keyspace().node(id)).await.unwrap();
        Ghost {
            id,
            messages,
            _subscriber: subscriber,
        }
    }
}

/// A node of which nothing is there but its name, and who listens.
pub(super) struct Ghost {
    pub(super) id: NodeId,
    messages: broadcast::Receiver<Message>,
    _subscriber: Client,
}

impl Ghost {
    /// The next node by which it is asked to end this socket.
    pub(super) async fn asked_to_end(&mut self, socket: &str) -> NodeId {
        let waiting = tokio::time::timeout(PATIENCE, self.messages.recv());
        let message = waiting.await.expect("nobody asks").unwrap();
        let text: String = message.value.convert().unwrap();
        match serde_json::from_str(&text).unwrap() {
            GatewayMessage::Fence { pid, node, .. } if pid == socket => node,
            other => panic!("{other:?}"),
        }
    }
}

/// A node without listeners.
pub(super) struct Node {
    /// Dropped before all else: a vital part that ended by itself would take the test with it.
    _stopping: DropGuard,
    pub(super) id: NodeId,
    pub(super) recovery: Recovery,
    pub(super) backplane: Backplane,
    pub(super) hub: Hub,
}

impl Node {
    async fn start(settings: &RedisConfig) -> Self {
        let nowhere = PgPoolOptions::new()
            .connect_lazy("postgres://127.0.0.1:1/none")
            .unwrap();
        let insides = Insides::start(settings, keyspace(), nowhere).await;
        let parts = Parts {
            node: insides.id,
            config: insides.config.recovery,
            keyspace: keyspace(),
            redis: insides.redis,
            hub: insides.hub.clone(),
            backplane: insides.backplane.clone(),
            metrics: insides.metrics,
            messages: insides.messages,
        };
        Self {
            id: insides.id,
            recovery: Recovery::start(parts, &insides.stop),
            backplane: insides.backplane,
            hub: insides.hub,
            _stopping: insides.stopping,
        }
    }

    /// A client that connects, and enters a room.
    pub(super) async fn connect(&self) -> Visitor {
        let socket = socket(UserId::generate());
        let (kept, pid) = self.recovery.keep(&socket, "sid").await.unwrap();
        kept.begin();
        let room = ConversationId::generate();
        let entered = EnteredRoom {
            floor: Seq(7),
            called: Called::ById,
        };
        self.recovery.joined(&kept, room, entered).await.unwrap();
        Visitor {
            pid: pid.unwrap(),
            socket,
            _kept: kept,
        }
    }
}

/// A user's socket in the chat namespace.
pub(super) fn socket(user: UserId) -> SocketRef {
    let dialect = dialect::named("conversations").unwrap();
    let queue = Arc::new(SendQueue::new(1 << 24));
    Socket::new(user, None, Namespace::Chat, Some(dialect), dialect, queue)
}

/// A client, as its node sees it.
pub(super) struct Visitor {
    pub(super) pid: String,
    pub(super) socket: SocketRef,
    _kept: Arc<Kept>,
}

impl Visitor {
    /// It is there: it is pinged, and answers.
    pub(super) fn answers(&self) {
        let queue = self.socket.queue();
        queue.ping(Bytes::from_static(b"2"));
        queue.ponged();
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.socket.queue().closing() == Some(DisconnectReason::Superseded)
    }
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
