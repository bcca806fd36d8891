//! A node without listeners, the Redis and the database that are its own, and clients that talk to it by calling it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use confab_gateway::chat::{Chat, ChatSocket};
use confab_gateway::config::{DEFAULTS, GatewayConfig};
use confab_gateway::hub::send_queue::SendQueue;
use confab_gateway::node::{Life, Node};
use confab_gateway::transport::application::{Application, Handshake, Incoming, Link};
use confab_gateway_protocol::json::Json;
use confab_shared::config::Environment;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::{self, partitions};
use confab_shared::testing::{defaults, on_fresh_database};
use fred::clients::Client;
use fred::interfaces::{ClientLike, HashesInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use serde_json::Value as Answer;
use sqlx::{ConnectOptions, PgPool};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::presence::frames;
use crate::registry::Redis;

/// What a client may wait for its answer.
pub(super) fn patience(config: &mut GatewayConfig, milliseconds: u64) {
    config.ingress.reply_timeout_ms = milliseconds;
}

/// What the node waits for Redis.
pub(super) fn redis_timeout(config: &mut GatewayConfig, milliseconds: u64) {
    config.redis.command_timeout_ms = milliseconds;
}

/// Nobody is recovered.
pub(super) fn without_recovery(config: &mut GatewayConfig) {
    config.recovery.enabled = false;
}

/// A node and what it stands on.
pub(super) struct House {
    /// First: a vital part that ended by itself would take the test with it.
    _stopping: DropGuard,
    _server: Redis,
    redis: Client,
    pool: PgPool,
    pub(super) node: Arc<Node>,
    chat: Chat,
    /// When that was, in microseconds.
    pub(super) began: u64,
}

/// Runs a test in a house of its own.
pub(super) fn with_house<F: Future<Output = ()> + Send + 'static>(
    settings: impl FnOnce(&mut GatewayConfig) + Send + 'static,
    test: impl FnOnce(House) -> F + Send + 'static,
) {
    on_fresh_database(postgres::pool, move |pool| async move {
        test(House::build(pool, settings).await).await;
    });
}

impl House {
    async fn build(pool: PgPool, settings: impl FnOnce(&mut GatewayConfig)) -> Self {
        let (server, redis) = Redis::start().await;
        administer(&redis, "ACL", "SETUSER node on nopass ~* &* +@all").await;
        let mut config: GatewayConfig = defaults(DEFAULTS);
        config.environment = Environment::Development;
        config.auth.jwt_secret = "of this test alone".into();
        config.rate_limits.enabled = false;
        config.redis.url = server.url.replace("://", "://node:any@");
        config.database.url = pool.connect_options().to_url_lossy().into();
        settings(&mut config);
        let partitions = partitions::prepare(&pool, config.partitions.count);
        partitions.await.unwrap();
        let stop = CancellationToken::new();
        let (node, mut notices) = Node::start(config, Life::begin().unwrap(), &stop)
            .await
            .unwrap();
        tokio::spawn(async move { while notices.recv().await.is_some() {} });
        let node = Arc::new(node);
        let began = Timestamp::now().to_datetime().unix_timestamp_nanos() / 1_000;
        Self {
            _server: server,
            redis,
            pool,
            chat: Chat::new(node.clone()).unwrap(),
            node,
            began: began.try_into().unwrap(),
            _stopping: stop.drop_guard(),
        }
    }

    async fn user(&self) -> UserId {
        let id = UserId::generate();
        let name = id.0.simple().to_string();
        sqlx::query("INSERT INTO users (id, email, username, name, password_hash) VALUES ($1, $2, $3, $3, 'hash')")
            .bind(id)
            .bind(format!("{name}@example.com"))
            .bind(&name)
            .execute(&self.pool)
            .await
            .unwrap();
        id
    }

    /// A public room, as a worker leaves it.
    pub(super) async fn room(&self) -> ConversationId {
        let (id, now) = (ConversationId::generate(), Timestamp::now());
        sqlx::query(
            "INSERT INTO conversations (id, kind, name, created_by, last_seq, created_at, updated_at, changed_at)
             VALUES ($1, 'room', 'somewhere', $2, 1, $3, $3, $3)",
        )
        .bind(id)
        .bind(self.user().await)
        .bind(now)
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// Somebody comes.
    pub(super) async fn connect(&self) -> Visitor<'_> {
        let user = self.user().await;
        let token = self.node.tokens.issue(user, 0).unwrap();
        let (head, ()) = http::Request::new(()).into_parts();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let handshake = Arc::new(Handshake::new(&head, address));
        let queue = Arc::new(SendQueue::new(1 << 24));
        let (link, auth) = (
            Link::new(queue.clone()),
            format!("{{\"token\":\"{token}\",\"dialect\":\"conversations\"}}"),
        );
        let auth = Some(Json::check(&auth).unwrap());
        let connected = self.chat.connect(&handshake, "/chat", auth, &link).await;
        let connected = connected.unwrap().unwrap();
        let mut socket = connected.socket;
        self.chat.connected(&mut socket).await;
        Visitor {
            chat: &self.chat,
            socket,
            queue,
            behind: Vec::new(),
            pid: connected.pid.unwrap_or_default(),
        }
    }

    /// The rooms in which a client is by its record.
    pub(super) async fn rooms(&self, visitor: &Visitor<'_>) -> Vec<String> {
        let key = self.node.keyspace.session(&visitor.pid);
        let record: BTreeMap<String, String> = self.redis.hgetall(key).await.unwrap();
        assert!(record.contains_key("node"));
        let rooms = record.keys().filter_map(|field| field.strip_prefix("r:"));
        rooms.map(str::to_owned).collect()
    }

    /// From here on nothing is written in Redis, but it will be.
    pub(super) async fn hold_writes(&self) {
        administer(&self.redis, "CLIENT", "PAUSE 600000 WRITE").await;
    }

    /// What was held is done.
    pub(super) async fn let_writes_go(&self) {
        administer(&self.redis, "CLIENT", "UNPAUSE").await;
    }

    /// The node may do nothing in Redis.
    pub(super) async fn forbid_everything(&self) {
        administer(&self.redis, "ACL", "SETUSER node -@all").await;
    }

    /// It may again.
    pub(super) async fn allow_everything(&self) {
        administer(&self.redis, "ACL", "SETUSER node +@all").await;
    }
}

async fn administer(redis: &Client, name: &'static str, words: &str) {
    let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
    let words: Vec<&str> = words.split_whitespace().collect();
    let done: Value = redis.custom(command, words).await.unwrap();
    assert_eq!(done.as_str().as_deref(), Some("OK"));
}

/// A client's socket.
pub(super) struct Visitor<'a> {
    chat: &'a Chat,
    socket: ChatSocket,
    queue: Arc<SendQueue>,
    /// What came behind the last answer.
    pub(super) behind: Vec<String>,
    pub(super) pid: String,
}

impl Visitor<'_> {
    /// Asks for something that is about a conversation. What was answered.
    pub(super) async fn ask(&mut self, event: &str, conversation: ConversationId) -> Answer {
        let args = format!("[{{\"conversationId\":\"{conversation}\"}}]");
        let args = Json::check(&args).unwrap().elements().unwrap();
        let event = Incoming {
            name: event,
            args,
            ack_id: Some(7),
            attachments: &[],
        };
        self.chat.event(&mut self.socket, event).await;
        for _ in 0..2_000 {
            let read = self.read();
            let answer = read.iter().position(|frame| frame.starts_with("43/chat,7"));
            if let Some(answer) = answer {
                self.behind = read[answer + 1..].to_vec();
                let [answer]: [Answer; 1] =
                    serde_json::from_str(&read[answer]["43/chat,7".len()..]).unwrap();
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no answer");
    }

    /// What came.
    pub(super) fn read(&self) -> Vec<String> {
        let mut chunks = VecDeque::new();
        self.queue.take(&mut chunks);
        let bytes: Vec<u8> = chunks.into_iter().flatten().collect();
        frames(&bytes)
    }
}
