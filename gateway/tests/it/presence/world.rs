//! Nodes in one process, against a Redis and a database of the test's own, and people with conversations.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_gateway::dialect::{self, Namespace};
use confab_gateway::hub::Hub;
use confab_gateway::hub::send_queue::SendQueue;
use confab_gateway::hub::socket::Socket;
use confab_gateway::metrics::Metrics;
use confab_gateway::presence::{Parts, Presence, Timing};
use confab_shared::auth::Claims;
use confab_shared::id::{ConversationId, NodeId, UserId};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::redis;
use confab_shared::redis::keyspace::{Keyspace, UserSlot};
use confab_shared::redis::presence::{Online, Stay};
use fred::clients::Client;
use fred::interfaces::{
    ClientLike, EventInterface, HashesInterface, PubsubInterface, SortedSetsInterface,
};
use sqlx::PgPool;
use tokio_util::sync::DropGuard;

use super::watcher::{Heard, Watcher};
use crate::insides::{Insides, PATIENCE};
use crate::registry::Redis;

/// Groups of more members make nobody contacts.
pub(super) const LARGEST_GROUP: u32 = 6;
/// Of more, the contacts of a user are those of the latest.
pub(super) const MOST_CONVERSATIONS: usize = 100;
pub(super) const PARTITIONS: u16 = 16;

/// As in production, ten times as fast; but for leases, that a machine which stands still for a moment may not let lapse.
pub(super) fn hurried() -> Timing {
    Timing {
        linger: Duration::from_millis(400),
        room_linger: Duration::from_millis(400),
        tick: Duration::from_millis(5),
        beat: Duration::from_millis(100),
        term: Duration::from_secs(10),
        settling: Duration::from_millis(500),
        overdue: Duration::from_millis(400),
        round: Duration::from_millis(500),
    }
}

/// The same where nodes are killed, and others have to notice.
pub(super) fn mortal() -> Timing {
    Timing {
        term: Duration::from_millis(400),
        ..hurried()
    }
}

/// A node without listeners.
pub(super) struct Gateway {
    /// Dropped before all else: a vital part that ended by itself would take the test with it.
    stopping: DropGuard,
    pub(super) id: NodeId,
    pub(super) presence: Presence,
    pub(super) metrics: Arc<Metrics>,
    hub: Hub,
    redis: Client,
}

/// Everything that a test is about.
pub(super) struct World {
    server: Redis,
    pub(super) redis: Client,
    pub(super) online: Online,
    pub(super) pool: PgPool,
    timing: Timing,
}

impl World {
    pub(super) async fn new(pool: PgPool, timing: Timing) -> Self {
        let (server, redis) = Redis::start().await;
        Self {
            server,
            online: Online::new(redis.clone(), Keyspace::new(PARTITIONS)),
            redis,
            pool,
            timing,
        }
    }

    /// A node that has just been started.
    pub(super) async fn gateway(&self) -> Gateway {
        self.gateway_with(self.timing, self.pool.clone()).await
    }

    /// The same, with times of its own, or its own way to PostgreSQL.
    pub(super) async fn gateway_with(&self, timing: Timing, database: PgPool) -> Gateway {
        let keyspace = Keyspace::new(PARTITIONS);
        let insides = Insides::start(&self.server.config(), keyspace, database.clone()).await;
        let parts = Parts {
            node: insides.id,
            keyspace,
            redis: insides.redis.clone(),
            database,
            patience: PATIENCE,
            hub: insides.hub.clone(),
            backplane: insides.backplane,
            inbox: insides.online,
            metrics: insides.metrics.clone(),
            timing,
            largest_group: LARGEST_GROUP,
            most_conversations: MOST_CONVERSATIONS,
        };
        Gateway {
            id: insides.id,
            presence: Presence::start(parts, &insides.stop),
            metrics: insides.metrics,
            hub: insides.hub,
            redis: insides.redis,
            stopping: insides.stopping,
        }
    }

    /// An account.
    pub(super) async fn user(&self) -> UserId {
        let id = UserId::generate();
        let name = id.0.simple().to_string();
        sqlx::query("INSERT INTO users (id, email, username, name, password_hash) VALUES ($1, $2, $3, $3, 'hash')")
            .bind(id)
            .bind(format!("{name}@example.com"))
            .bind(&name[..32])
            .execute(&self.pool)
            .await
            .unwrap();
        id
    }

    /// A conversation of these, as a worker leaves it.
    pub(super) async fn group(&self, members: &[UserId]) {
        let (id, now) = (ConversationId::generate(), Timestamp::now());
        sqlx::query(
            "INSERT INTO conversations (id, kind, created_by, last_seq, created_at, updated_at, changed_at)
             VALUES ($1, 'group', $2, 1, $3, $3, $3)",
        )
        .bind(id)
        .bind(members[0])
        .bind(now)
        .execute(&self.pool)
        .await
        .unwrap();
        for member in members {
            sqlx::query(
                "INSERT INTO memberships (conversation_id, user_id, role, change_seq, joined_seq, joined_at)
                 VALUES ($1, $2, 'member', 1, 1, $3)",
            )
            .bind(id)
            .bind(member)
            .bind(now)
            .execute(&self.pool)
            .await
            .unwrap();
        }
    }

    /// A user wants to be seen otherwise, and says so at some node.
    pub(super) async fn appear(gateway: &Gateway, user: UserId, online: bool) {
        gateway.presence.wish(user, online).await.unwrap();
    }

    /// Of whom something is still to be said.
    pub(super) async fn unsaid(&self) -> usize {
        let mut count = 0;
        for slot in UserSlot::all() {
            count += self
                .redis
                .hlen::<usize, _>(Keyspace::new(PARTITIONS).unsaid(slot))
                .await
                .unwrap();
        }
        count
    }

    /// The leases of all nodes' stays, whether they have lapsed or not.
    pub(super) async fn stays(&self) -> BTreeSet<String> {
        let all: Vec<String> = self
            .redis
            .zrange(Keyspace::stays(), 0, -1, None, false, None, false)
            .await
            .unwrap();
        all.into_iter().collect()
    }

    /// The lease of a stay is over before its holder knows.
    pub(super) async fn lapse(&self, stay: Stay) {
        let lapsed = (1.0, stay.to_string());
        self.redis
            .zadd::<(), _, _>(Keyspace::stays(), None, None, false, false, lapsed)
            .await
            .unwrap();
    }

    /// What is said in a public room from here on.
    pub(super) async fn hear(&self, room: ConversationId) -> Heard {
        let subscriber = redis::subscriber(&self.server.config())
            .unwrap()
            .build()
            .unwrap();
        let messages = subscriber.message_rx();
        subscriber.init().await.unwrap();
        let channel = Keyspace::new(PARTITIONS).room(room);
        subscriber.ssubscribe(channel).await.unwrap();
        Heard {
            messages,
            _subscriber: subscriber,
        }
    }

    /// What Redis says, of these users: those who are connected.
    pub(super) async fn connected(&self, users: &[UserId]) -> BTreeSet<UserId> {
        self.online.look(users).await.unwrap().connected().collect()
    }
}

impl Gateway {
    /// A socket of a user, as chat has it once it is connected.
    pub(super) fn connect(&self, user: UserId, dialect: &str) -> Watcher {
        self.let_in(user, dialect, false)
    }

    /// The same, of a client that has come back and thinks that those whom it saw last are online.
    pub(super) fn recover(&self, user: UserId, dialect: &str, view: &[UserId]) -> Watcher {
        let mut watcher = self.let_in(user, dialect, true);
        (watcher.began, watcher.view) = (true, view.iter().copied().collect());
        watcher
    }

    fn let_in(&self, user: UserId, dialect: &str, has_come_back: bool) -> Watcher {
        let claims = Claims {
            sub: user,
            iat: 0,
            exp: u64::MAX,
            jti: None,
            ver: None,
        };
        let dialect = dialect::named(dialect).unwrap();
        let queue = Arc::new(SendQueue::new(1 << 24));
        let socket = Socket::new(
            user,
            Some(claims),
            Namespace::Chat,
            Some(dialect),
            dialect,
            queue,
        );
        socket.release(|_| Vec::new());
        self.hub.users().add(socket.clone());
        self.presence.touch(user);
        self.presence.welcome(&socket, has_come_back);
        Watcher {
            user,
            node: self.id,
            socket,
            view: BTreeSet::new(),
            began: false,
            told_offline: Vec::new(),
            frames: 0,
        }
    }

    /// It is gone.
    pub(super) fn disconnect(&self, watcher: &Watcher) {
        if self.hub.users().remove(&watcher.socket) {
            self.presence.touch(watcher.user);
        }
    }

    /// As `kill -9`: nothing more is said.
    pub(super) async fn kill(self) {
        drop(self.stopping);
        self.redis.quit().await.unwrap();
    }

    /// In order: its clients are told to go, then it leaves.
    pub(super) async fn drain(self, watchers: &[&Watcher]) {
        for watcher in watchers {
            self.disconnect(watcher);
        }
        self.presence.leave().await;
        self.kill().await;
    }
}

/// Who shares a conversation with whom that makes them contacts.
pub(super) fn contacts(conversations: &[Vec<UserId>]) -> HashMap<UserId, BTreeSet<UserId>> {
    let mut contacts: HashMap<UserId, BTreeSet<UserId>> = HashMap::new();
    for members in conversations {
        if members.len() > LARGEST_GROUP as usize {
            continue;
        }
        for member in members {
            let others = members.iter().filter(|other| *other != member).copied();
            contacts.entry(*member).or_default().extend(others);
        }
    }
    contacts
}

/// Waits until something holds.
pub(super) async fn until<F: Future<Output = Result<(), String>>>(
    within: Duration,
    mut holds: impl FnMut() -> F,
) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        match holds().await {
            Ok(()) => return Ok(began.elapsed()),
            Err(why) if began.elapsed() > within => return Err(why),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
