//! The backplane: what other nodes and the workers say, by Redis pub/sub.
//!
//! It is a hint, never the truth. Whenever something may have been lost (the connection broke, messages came faster than they were
//! read, Redis lost its memory) everything this node shows is compared with PostgreSQL; a slow sweep does so in any case.

mod channels;
mod counting;
mod listening;
mod messages;
mod passing;
mod pulse;
mod reader;
mod repair;
mod saying;
mod subscriptions;
mod watch;
mod watching;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use confab_shared::id::{ConversationId, NodeId, UserId};
use confab_shared::lifecycle::spawn_vital;
use confab_shared::model::event::Event;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::until_answered;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::{self, RedisConfig};
use fred::clients::Client;
use fred::interfaces::EventInterface;
use sqlx::PgPool;
use tokio::sync::watch as watched;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::HubConfig;
use crate::hub::socket::SocketRef;
use crate::hub::{Hub, HubRequest};
use crate::ingress::Ingress;
use crate::metrics::Metrics;
use counting::CountRequest;
pub use messages::{GatewayMessage, NoticeItem, StatusChange, Statuses};
pub use pulse::Beat;
use pulse::Pulse;
use subscriptions::{RoomRequest, UserRequest, Wishes};
pub use watch::{memory_name, memory_names, named_at};
use watching::WatchRequest;

/// How many statuses may wait to be shown.
const STATUSES: usize = 1_024;
/// How many notices may wait to be shown.
const NOTICES: usize = 4_096;

/// What the backplane's parts share.
#[derive(Clone)]
struct Shared {
    keyspace: Keyspace,
    hub: Hub,
    ingress: Ingress,
    database: PgPool,
    metrics: Arc<Metrics>,
    redis: Client,
    subscriber: Client,
    rooms: mpsc::UnboundedSender<RoomRequest>,
    watching: mpsc::UnboundedSender<WatchRequest>,
    counting: mpsc::UnboundedSender<CountRequest>,
    deliveries: mpsc::UnboundedSender<Vec<(ConversationId, i64)>>,
    notices: mpsc::Sender<NoticeItem>,
    messages: mpsc::UnboundedSender<GatewayMessage>,
    statuses: mpsc::Sender<Statuses>,
    resync: Arc<Notify>,
    /// The last of the node's own beats that was begun,
    beats: Arc<AtomicU64>,
    /// the last that was heard, of each order,
    heard: watched::Sender<Vec<u64>>,
    /// and who is to be told of the next one.
    pulse: mpsc::Sender<pulse::Asking>,
    losses: watched::Sender<u64>,
    lost_memory: Arc<Notify>,
    memory: watched::Sender<Option<Arc<str>>>,
    patience: Duration,
    repairs: Arc<tokio::sync::Semaphore>,
}

impl Shared {
    /// Asks PostgreSQL until it answers.
    async fn until_answered<T, F>(
        &self,
        operation: &'static str,
        failed: &'static str,
        ask: impl Fn() -> F,
    ) -> T
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let ask = || self.metrics.postgres.time(operation, ask());
        until_answered(self.patience, failed, ask).await
    }

    /// Something may have been lost: everything is to be compared with PostgreSQL.
    async fn resync(&self) {
        self.hub.doubt().await;
        self.resync.notify_one();
        self.losses.send_modify(|losses| *losses += 1);
    }

    /// Contacts of users here are to be told something.
    fn hear_statuses(&self, statuses: Statuses) {
        if self.statuses.try_send(statuses).is_err() {
            // Too many wait already: whoever is online is shown anew.
            self.losses.send_modify(|losses| *losses += 1);
        }
    }

    /// Another gateway said something.
    fn hear(&self, message: GatewayMessage) {
        if self.messages.send(message).is_err() {
            tracing::debug!("the node is shutting down; a gateway's message is dropped");
        }
    }
}

/// The node's ear.
#[derive(Clone)]
pub struct Backplane {
    users: mpsc::UnboundedSender<UserRequest>,
    watching: mpsc::UnboundedSender<WatchRequest>,
    watches: bool,
    sayings: mpsc::Sender<(ConversationId, Event)>,
    pulse: mpsc::Sender<pulse::Asking>,
    redis: Client,
    keyspace: Keyspace,
    lost_memory: Arc<Notify>,
    memory: watched::Receiver<Option<Arc<str>>>,
}

/// What the backplane brings for others.
pub struct Inbox {
    /// For whoever shows notices.
    pub notices: mpsc::Receiver<NoticeItem>,
    /// From other gateways. They are few: one per socket that comes back.
    pub messages: mpsc::UnboundedReceiver<GatewayMessage>,
    /// For whoever shows who is online.
    pub online: OnlineInbox,
}

/// What the backplane brings for whoever shows who is online.
pub struct OnlineInbox {
    /// What other gateways say.
    pub statuses: mpsc::Receiver<Statuses>,
    /// How often something may have been lost on the way here.
    pub losses: watched::Receiver<u64>,
    /// What Redis's memory is called, as [`memory_name`] says; another name is another memory.
    pub memory: watched::Receiver<Option<Arc<str>>>,
}

/// The backplane is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the backplane is shutting down")]
pub struct BackplaneClosed;

/// What a backplane is made of.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// The names of keys and channels.
    pub keyspace: Keyspace,
    /// Where room events go.
    pub hub: Hub,
    /// What the hub asks for.
    pub requests: mpsc::UnboundedReceiver<HubRequest>,
    /// Where replies go.
    pub ingress: Ingress,
    /// The truth.
    pub database: PgPool,
    /// How long to wait for PostgreSQL's answer.
    pub patience: Duration,
    /// A connection for commands.
    pub redis: Client,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Backplane {
    /// Connects, subscribes to this node's own channel, and starts the tasks.
    #[allow(
        clippy::too_many_lines,
        reason = "the parts are made and joined once, in order"
    )]
    pub async fn start(
        parts: Parts,
        redis_config: &RedisConfig,
        config: &HubConfig,
        stop: &CancellationToken,
    ) -> Result<(Self, Inbox), fred::error::Error> {
        let subscriber = redis::subscriber(redis_config)?.build()?;
        // Before the connection is made, so that nothing goes unheard.
        let messages = subscriber.message_rx();
        redis::begin(&subscriber).await?;
        // From here on, so that the first connection is not taken for a return.
        let reconnections = subscriber.reconnect_rx();
        let orders = parts.keyspace.memories();
        pulse::listen(&subscriber, parts.keyspace, parts.node, orders).await?;

        let (rooms, wanted_rooms) = mpsc::unbounded_channel();
        let (users, wanted_users) = mpsc::unbounded_channel();
        let (deaf, deafness) = mpsc::channel(1);
        let (broken_out, broken) = watched::channel(());
        let wishes = Wishes {
            rooms: wanted_rooms,
            users: wanted_users,
            deaf: deafness,
            broken,
        };
        let (pulse, wanted_beats) = mpsc::channel(pulse::ASKING);
        let (heard_out, _) = watched::channel(vec![0; parts.hub.orders().count()]);
        let (notices, to_show) = mpsc::channel(NOTICES);
        let (messages_out, heard) = mpsc::unbounded_channel();
        let (watching, to_watch) = mpsc::unbounded_channel();
        let (counting, to_count) = mpsc::unbounded_channel();
        let (deliveries, delivered) = mpsc::unbounded_channel();
        let (sayings, said) = mpsc::channel(passing::WAITING);
        let (statuses_out, statuses) = mpsc::channel(STATUSES);
        let (losses_out, losses) = watched::channel(0);
        let (memory_out, memory) = watched::channel(None);
        let lost_memory = Arc::<Notify>::default();
        let shared = Shared {
            keyspace: parts.keyspace,
            hub: parts.hub,
            ingress: parts.ingress,
            database: parts.database,
            metrics: parts.metrics,
            redis: parts.redis.clone(),
            subscriber,
            rooms,
            watching: watching.clone(),
            counting,
            deliveries,
            notices,
            messages: messages_out,
            statuses: statuses_out,
            resync: Arc::default(),
            beats: Arc::default(),
            heard: heard_out,
            pulse: pulse.clone(),
            losses: losses_out,
            lost_memory: lost_memory.clone(),
            memory: memory_out,
            patience: parts.patience,
            repairs: Arc::new(tokio::sync::Semaphore::new(config.repair_concurrency)),
        };
        let linger = Duration::from_secs(config.linger_seconds);
        let opened = subscriptions::run(shared.clone(), parts.node, wishes, linger);
        spawn_vital(
            "backplane reader",
            stop,
            reader::run(shared.clone(), messages, reconnections, broken_out),
        );
        spawn_vital("backplane subscriptions", stop, opened);
        let speaker = Pulse {
            redis: parts.redis.clone(),
            keyspace: parts.keyspace,
            node: parts.node,
            metrics: shared.metrics.clone(),
            beats: shared.beats.clone(),
        };
        spawn_vital("pulse", stop, pulse::run(speaker, wanted_beats, deaf));
        spawn_vital(
            "hub requests",
            stop,
            repair::serve(shared.clone(), parts.requests),
        );
        let passing = passing::publish(
            parts.redis.clone(),
            parts.keyspace,
            shared.metrics.clone(),
            said,
        );
        spawn_vital("passing", stop, passing);
        let watched = watching::run(shared.clone(), to_watch, config.max_watched);
        spawn_vital("watching", stop, watched);
        spawn_vital("counting", stop, counting::count(shared.clone(), to_count));
        let noted = counting::note_delivered(shared.clone(), delivered);
        spawn_vital("deliveries", stop, noted);
        spawn_vital("sweep", stop, repair::sweep(shared.clone(), config.sweep()));
        spawn_vital(
            "epoch watch",
            stop,
            watch::run(shared, parts.redis.clone(), config.epoch_check()),
        );
        let backplane = Self {
            users,
            watching,
            watches: config.max_watched > 0,
            sayings,
            pulse,
            redis: parts.redis,
            keyspace: parts.keyspace,
            lost_memory,
            memory: memory.clone(),
        };
        let inbox = Inbox {
            notices: to_show,
            messages: heard,
            online: OnlineInbox {
                statuses,
                losses,
                memory,
            },
        };
        Ok((backplane, inbox))
    }

    /// Subscribes to a user's own channel. When this returns, nothing that is said there goes unheard.
    pub async fn listen_to(&self, user: UserId) -> Result<(), BackplaneClosed> {
        let (done, subscribed) = oneshot::channel();
        self.users
            .send(UserRequest::Listen(user, done))
            .map_err(|_| BackplaneClosed)?;
        subscribed.await.map_err(|_| BackplaneClosed)
    }

    /// A user's last socket here is gone: its channel may be left, after a while.
    pub fn forget(&self, user: UserId) {
        if self.users.send(UserRequest::Idle(user)).is_err() {
            tracing::debug!("the backplane is shutting down");
        }
    }

    /// From here on a socket is told how much is unread in conversations that it has not joined, if its dialect has a word for that; at first,
    /// where something has happened since this moment.
    pub fn watch(&self, socket: &SocketRef, since: Timestamp) {
        if self.watches && socket.dialect().shows_unread() && socket.begin_watching() {
            let request = WatchRequest::Begin(socket.clone(), since);
            if self.watching.send(request).is_err() {
                tracing::debug!("the backplane is shutting down");
            }
        }
    }

    /// Says something to everybody who listens to a conversation that is over as soon as it is said. It may go unheard.
    pub fn say_in_passing(&self, conversation: ConversationId, event: Event) {
        if self.sayings.try_send((conversation, event)).is_err() {
            tracing::debug!("too much is said in passing; something is dropped");
        }
    }

    /// What Redis's memory is called, as [`memory_name`] says; another name is another memory.
    pub fn memory(&self) -> watched::Receiver<Option<Arc<str>>> {
        self.memory.clone()
    }

    /// Waits until Redis is found to have lost its memory.
    pub async fn memory_lost(&self) {
        self.lost_memory.notified().await;
    }
}
