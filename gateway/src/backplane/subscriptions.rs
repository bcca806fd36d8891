//! Which channels this node listens to. One task decides and executes, so that subscribing and leaving keep their order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, NodeId, Partition, Seq, UserId};
use confab_shared::model::conversation::Subject;
use confab_shared::postgres::conversations;
use fred::interfaces::{ClusterInterface, PubsubInterface};
use fred::types::config::Server;
use futures_util::future::join_all;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{Shared, pulse};

/// The most channels in one command.
const BATCH: usize = 512;
const RETRY: Duration = Duration::from_millis(200);

/// A wish to listen to a room of the hub's, or to listen to it no more.
#[derive(Debug)]
pub(super) enum RoomRequest {
    /// From now on.
    Listen(ConversationId),
    /// Nobody is there any more.
    Idle(ConversationId),
}

/// A wish to listen to a user's own channel, or to listen to it no more.
#[derive(Debug)]
pub(super) enum UserRequest {
    /// A connected user; answered when it is done.
    Listen(UserId, oneshot::Sender<()>),
    /// That user's last socket is gone.
    Idle(UserId),
}

/// What is wished. Each kind has a queue of its own: whoever connects waits for its user's channel, and not for all the rooms that others have
/// something to do with.
pub(super) struct Wishes {
    pub(super) rooms: mpsc::UnboundedReceiver<RoomRequest>,
    pub(super) users: mpsc::UnboundedReceiver<UserRequest>,
    /// Partitions on whose slots nothing is heard.
    pub(super) deaf: mpsc::Receiver<Vec<Partition>>,
}

struct Subscriptions {
    shared: Shared,
    node: NodeId,
    rooms: HashSet<ConversationId>,
    users: HashSet<UserId>,
    idle_users: VecDeque<(Instant, UserId)>,
    linger: Duration,
}

/// Runs until told to stop. Inputs: wishes, of both kinds in turn; reconnections, after which everything is subscribed anew; a tick for idle
/// users.
pub(super) async fn run(
    shared: Shared,
    node: NodeId,
    mut wishes: Wishes,
    mut reconnections: broadcast::Receiver<Server>,
    linger: Duration,
) {
    let mut state = Subscriptions {
        shared,
        node,
        rooms: HashSet::new(),
        users: HashSet::new(),
        idle_users: VecDeque::new(),
        linger,
    };
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    let (mut rooms, mut users) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        let turn = async {
            tokio::select! {
                count = wishes.users.recv_many(&mut users, BATCH) => Turn::Users(count),
                count = wishes.rooms.recv_many(&mut rooms, BATCH) => Turn::Rooms(count),
                Some(partitions) = wishes.deaf.recv() => Turn::Deaf(partitions),
                _ = tick.tick() => Turn::Nothing,
            }
        };
        let turn = tokio::select! {
            biased;
            reconnected = reconnections.recv() => match reconnected {
                Err(broadcast::error::RecvError::Closed) => return,
                _ => {
                    state.subscribe_anew().await;
                    continue;
                }
            },
            turn = turn => turn,
        };
        match turn {
            Turn::Users(0) | Turn::Rooms(0) => return,
            Turn::Users(_) => state.serve_users(users.drain(..)).await,
            Turn::Rooms(_) => state.serve_rooms(rooms.drain(..)).await,
            Turn::Deaf(partitions) => state.listen_again(&partitions).await,
            Turn::Nothing => state.leave_idle_users().await,
        }
    }
}

/// How many wishes there are, of which kind; 0: there will be none any more.
enum Turn {
    Users(usize),
    Rooms(usize),
    Deaf(Vec<Partition>),
    Nothing,
}

impl Subscriptions {
    async fn serve_users(&mut self, requests: impl Iterator<Item = UserRequest>) {
        let (mut users, mut waiting) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                UserRequest::Listen(user, done) => {
                    if self.users.insert(user) {
                        users.push(user);
                    }
                    waiting.push(done);
                }
                UserRequest::Idle(user) => self.idle_users.push_back((Instant::now(), user)),
            }
        }
        self.listen_to_users(&users).await;
        for done in waiting {
            // Whoever asked may have disconnected meanwhile.
            let _ = done.send(());
        }
    }

    /// In order; neighbours share their commands.
    async fn serve_rooms(&mut self, requests: impl Iterator<Item = RoomRequest>) {
        let mut rooms = Vec::new();
        for request in requests {
            match request {
                RoomRequest::Listen(conversation) => rooms.push(conversation),
                RoomRequest::Idle(conversation) => {
                    self.open(&mut rooms).await;
                    self.leave_room(conversation).await;
                }
            }
        }
        self.open(&mut rooms).await;
    }

    /// Subscribes to rooms and then tells the hub how far each has come.
    async fn open(&mut self, rooms: &mut Vec<ConversationId>) {
        if rooms.is_empty() {
            return;
        }
        self.rooms.extend(rooms.iter().copied());
        self.subscribe_rooms(rooms).await;
        let shared = self.shared.clone();
        let rooms = std::mem::take(rooms);
        // Off this task: PostgreSQL may be slow or away, and others want to subscribe.
        tokio::spawn(async move { announce(&shared, &rooms).await });
    }

    async fn subscribe_rooms(&self, rooms: &[ConversationId]) {
        let keyspace = self.shared.keyspace;
        let channels = rooms
            .iter()
            .map(|room| (keyspace.partition(*room), keyspace.room(*room)));
        self.subscribe("rooms not subscribed", channels).await;
    }

    async fn listen_to_users(&self, users: &[UserId]) {
        let keyspace = self.shared.keyspace;
        let channels = users
            .iter()
            .map(|user| (keyspace.home_of_user(*user), keyspace.user(*user)));
        self.subscribe("users not subscribed", channels).await;
    }

    /// SSUBSCRIBE, a command for each slot, all at once, until they succeed.
    async fn subscribe(&self, failed: &str, channels: impl Iterator<Item = (Partition, String)>) {
        let subscribed = by_slot(channels).into_values().map(async |channels| {
            for channels in channels.chunks(BATCH) {
                while let Err(error) = self.shared.subscriber.ssubscribe(channels.to_vec()).await {
                    self.failed(failed, &error).await;
                }
            }
        });
        join_all(subscribed).await;
    }

    async fn leave_room(&mut self, conversation: ConversationId) {
        self.rooms.remove(&conversation);
        let channel = self.shared.keyspace.room(conversation);
        // Events of a room that nobody listens to are dropped by the hub; a failed farewell costs traffic, no more.
        if let Err(error) = self.shared.subscriber.sunsubscribe(channel).await {
            tracing::debug!(%error, "room not unsubscribed");
        }
    }

    async fn leave_idle_users(&mut self) {
        let (keyspace, mut channels) = (self.shared.keyspace, Vec::new());
        while let Some((since, user)) = self.idle_users.front().copied() {
            if since.elapsed() < self.linger {
                break;
            }
            self.idle_users.pop_front();
            if !self.shared.hub.users().is_connected(user) && self.users.remove(&user) {
                channels.push((keyspace.home_of_user(user), keyspace.user(user)));
            }
        }
        for channels in by_slot(channels.into_iter()).into_values() {
            if let Err(error) = self.shared.subscriber.sunsubscribe(channels).await {
                tracing::debug!(%error, "users not unsubscribed");
            }
        }
    }

    /// The connection broke and is back: everything is subscribed anew, and what was said meanwhile is made up for.
    async fn subscribe_anew(&mut self) {
        tracing::warn!(
            rooms = self.rooms.len(),
            users = self.users.len(),
            "redis is back; subscribing anew"
        );
        self.listen_to(|_| true).await;
    }

    /// Slots have moved: what is said there is listened to where they are now.
    async fn listen_again(&mut self, partitions: &[Partition]) {
        // Or the commands would go to where they were.
        if let Err(error) = self.shared.subscriber.sync_cluster().await {
            self.failed("it is not known where slots are", &error).await;
        }
        self.listen_to(|partition| partitions.contains(&partition))
            .await;
    }

    /// Subscribes anew to everything on some partitions' slots, and has all that may have been missed made up for.
    async fn listen_to(&self, is_wanted: impl Fn(Partition) -> bool) {
        let keyspace = self.shared.keyspace;
        // Before anything is heard again: what comes then does not say what was missed.
        self.shared.hub.suspect().await;
        while let Err(error) = pulse::listen(&self.shared.subscriber, keyspace, self.node).await {
            self.failed("node not subscribed", &error).await;
        }
        // Replies may have been lost: workers answer again when they see the commands again.
        self.shared.ingress.readd_all();
        let users: Vec<UserId> = (self.users.iter().copied())
            .filter(|user| is_wanted(keyspace.home_of_user(*user)))
            .collect();
        self.listen_to_users(&users).await;
        let rooms: Vec<ConversationId> = (self.rooms.iter().copied())
            .filter(|room| is_wanted(keyspace.partition(*room)))
            .collect();
        self.subscribe_rooms(&rooms).await;
        self.shared.resync().await;
    }

    async fn failed(&self, what: &str, error: &fred::error::Error) {
        self.shared.metrics.redis.failed("subscribe");
        tracing::warn!(%error, "{what}; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Channels by the partitions on whose slots they are: one command is for one slot.
fn by_slot(
    channels: impl Iterator<Item = (Partition, String)>,
) -> BTreeMap<Partition, Vec<String>> {
    let mut slots: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
    for (partition, channel) in channels {
        slots.entry(partition).or_default().push(channel);
    }
    slots
}

/// Tells the hub how far newly subscribed rooms have come. Retries until PostgreSQL answers.
async fn announce(shared: &Shared, rooms: &[ConversationId]) {
    let read = || conversations::subjects(&shared.database, rooms);
    let subjects = shared
        .until_answered("open_rooms", "rooms not opened", read)
        .await;
    let mut known: HashMap<ConversationId, (Subject, Seq)> = subjects
        .into_iter()
        .map(|(subject, seq)| (subject.id, (subject, seq)))
        .collect();
    for room in rooms {
        let (subject, seq) = known.remove(room).unzip();
        shared
            .hub
            .opened(*room, subject.map(Arc::new), seq.unwrap_or_default())
            .await;
    }
}
