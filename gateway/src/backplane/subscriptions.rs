//! Which channels this node listens to. One task decides and executes, so that subscribing and leaving keep their order.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, NodeId, Partition, Seq, UserId};
use confab_shared::model::conversation::Subject;
use confab_shared::postgres::conversations;
use fred::interfaces::{ClientLike, ClusterInterface, PubsubInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use fred::util::redis_keyslot;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Shared, pulse};

/// How many channels are asked for at a time.
const BATCH: usize = 512;
const RETRY: Duration = Duration::from_millis(200);
/// How long the node may take to hear itself, when it has much to hear, too.
const HEARING: Duration = Duration::from_secs(5);

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
    /// Reconnections.
    pub(super) broken: watch::Receiver<()>,
}

struct Subscriptions {
    shared: Shared,
    node: NodeId,
    rooms: HashSet<ConversationId>,
    /// The users' channels that are listened to, each with the node's last beat when it was subscribed to.
    users: HashMap<UserId, u64>,
    idle_users: VecDeque<(Instant, UserId)>,
    linger: Duration,
}

/// Runs until told to stop. Inputs: reconnections, after which everything is subscribed anew; wishes, of both kinds in turn; partitions that are
/// not heard; a tick for idle users.
pub(super) async fn run(shared: Shared, node: NodeId, wishes: Wishes, linger: Duration) {
    let mut state = Subscriptions {
        shared,
        node,
        rooms: HashSet::new(),
        users: HashMap::new(),
        idle_users: VecDeque::new(),
        linger,
    };
    let Wishes {
        rooms: mut wanted_rooms,
        users: mut wanted_users,
        mut deaf,
        mut broken,
    } = wishes;
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    let (mut rooms, mut users) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        let turn = async {
            tokio::select! {
                count = wanted_users.recv_many(&mut users, BATCH) => Turn::Users(count),
                count = wanted_rooms.recv_many(&mut rooms, BATCH) => Turn::Rooms(count),
                Some(partitions) = deaf.recv() => Turn::Deaf(partitions),
                _ = tick.tick() => Turn::Tick,
            }
        };
        let turn = tokio::select! {
            biased;
            changed = broken.changed() => {
                if changed.is_err() {
                    return;
                }
                state.subscribe_anew().await;
                Turn::Nothing
            },
            turn = turn => turn,
        };
        match turn {
            Turn::Users(0) | Turn::Rooms(0) => return,
            Turn::Users(_) => state.serve_users(users.drain(..)).await,
            Turn::Rooms(_) => state.serve_rooms(rooms.drain(..)).await,
            Turn::Deaf(partitions) => {
                state.listen_again(&partitions).await;
                // What was found meanwhile is mended, or will be found again.
                while deaf.try_recv().is_ok() {}
            }
            Turn::Tick => state.leave_idle_users().await,
            Turn::Nothing => {}
        }
    }
}

/// How many wishes there are, of which kind; 0: there will be none any more.
enum Turn {
    Users(usize),
    Rooms(usize),
    Deaf(Vec<Partition>),
    Tick,
    Nothing,
}

impl Subscriptions {
    async fn serve_users(&mut self, requests: impl Iterator<Item = UserRequest>) {
        let (mut users, mut waiting) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                UserRequest::Listen(user, done) => {
                    if !self.users.contains_key(&user) {
                        users.push(user);
                    }
                    waiting.push((user, done));
                }
                UserRequest::Idle(user) => self.idle_users.push_back((Instant::now(), user)),
            }
        }
        let since = self.listen_to_users(&users).await;
        if !users.is_empty() {
            self.users.extend(users.iter().map(|user| (*user, since)));
            self.hasten();
        }
        for (user, done) in waiting {
            if let Some(since) = self.users.get(&user) {
                self.shared.hub.users().heard(user, *since);
            }
            // Whoever asked may have disconnected meanwhile.
            let _ = done.send(());
        }
    }

    /// In order; neighbours share their commands.
    async fn serve_rooms(&mut self, requests: impl Iterator<Item = RoomRequest>) {
        let (mut opening, mut closing) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                RoomRequest::Listen(conversation) => {
                    self.leave_rooms(&mut closing).await;
                    opening.push(conversation);
                }
                RoomRequest::Idle(conversation) => {
                    self.open(&mut opening).await;
                    closing.push(conversation);
                }
            }
        }
        self.leave_rooms(&mut closing).await;
        self.open(&mut opening).await;
    }

    /// Subscribes to rooms and then tells the hub how far each has come.
    async fn open(&mut self, rooms: &mut Vec<ConversationId>) {
        if rooms.is_empty() {
            return;
        }
        self.rooms.extend(rooms.iter().copied());
        let since = self.subscribe_rooms(rooms).await;
        let shared = self.shared.clone();
        let rooms = std::mem::take(rooms);
        // Off this task: PostgreSQL may be slow or away, and others want to subscribe.
        tokio::spawn(async move { announce(&shared, &rooms, since).await });
        self.hasten();
    }

    /// What is heard on new channels of a cluster counts from the next beat on. If many wait for it already, it is about to come.
    fn hasten(&self) {
        if self.shared.keyspace.is_clustered() {
            let (done, _) = oneshot::channel();
            if self.shared.pulse.try_send(done).is_err() {
                tracing::debug!("a beat more was not asked for");
            }
        }
    }

    async fn subscribe_rooms(&self, rooms: &[ConversationId]) -> u64 {
        let keyspace = self.shared.keyspace;
        let channels = rooms.iter().map(|room| keyspace.room(*room));
        self.subscribe("rooms not subscribed", channels).await
    }

    async fn listen_to_users(&self, users: &[UserId]) -> u64 {
        let keyspace = self.shared.keyspace;
        let channels = users.iter().map(|user| keyspace.user(*user));
        self.subscribe("users not subscribed", channels).await
    }

    /// SSUBSCRIBE until it succeeds, many at once. The last beat that the node had begun then.
    ///
    /// A command for each channel: the library takes the first confirmation for a command's answer, and those of further channels for the
    /// answers to the commands behind it.
    async fn subscribe(&self, failed: &str, channels: impl Iterator<Item = String>) -> u64 {
        let mut channels: Vec<String> = channels.collect();
        while !channels.is_empty() {
            let (mut left, mut reason) = (Vec::new(), None);
            for batch in channels.chunks(BATCH) {
                let (begun, asked) = (Instant::now(), batch.iter());
                let asked =
                    asked.map(|channel| self.shared.subscriber.ssubscribe(channel.as_str()));
                for (channel, subscribed) in batch.iter().zip(join_all(asked).await) {
                    if let Err(error) = subscribed {
                        left.push(channel.clone());
                        reason = Some(error);
                    }
                }
                if reason.is_none() {
                    let redis = &self.shared.metrics.redis;
                    redis.took("subscribe", begun.elapsed());
                }
            }
            if let Some(error) = reason {
                self.failed(failed, &error).await;
            }
            channels = left;
        }
        self.shared.beats.load(Ordering::SeqCst)
    }

    async fn leave_rooms(&mut self, rooms: &mut Vec<ConversationId>) {
        let keyspace = self.shared.keyspace;
        for room in rooms.iter() {
            self.rooms.remove(room);
        }
        let channels = rooms.drain(..);
        let channels = channels.map(|room| (keyspace.partition(room), keyspace.room(room)));
        self.unsubscribe(channels).await;
    }

    async fn leave_idle_users(&mut self) {
        let (keyspace, mut channels) = (self.shared.keyspace, Vec::new());
        while let Some((since, user)) = self.idle_users.front().copied() {
            if since.elapsed() < self.linger {
                break;
            }
            self.idle_users.pop_front();
            if !self.shared.hub.users().is_connected(user) && self.users.remove(&user).is_some() {
                channels.push((keyspace.home_of_user(user), keyspace.user(user)));
            }
        }
        self.unsubscribe(channels.into_iter()).await;
    }

    /// Events that nobody listens to are dropped by the hub; a failed farewell costs traffic, no more.
    async fn unsubscribe(&self, channels: impl Iterator<Item = (Partition, String)>) {
        let mut slots: BTreeMap<Partition, Vec<String>> = BTreeMap::new();
        for (partition, channel) in channels {
            slots.entry(partition).or_default().push(channel);
        }
        for channels in slots.into_values() {
            let hash = redis_keyslot(channels.first().map_or(&[], |channel| channel.as_bytes()));
            for channels in channels.chunks(BATCH) {
                if let Err(error) = self.shared.subscriber.sunsubscribe(channels.to_vec()).await {
                    tracing::debug!(%error, "channels not unsubscribed");
                }
            }
            if self.shared.keyspace.is_clustered() {
                self.settle(hash).await;
            }
        }
    }

    /// Waits for the server's word on what was unsubscribed. The library expects none; but if the slot has moved there is one, and would be
    /// taken for the answer to the next command.
    async fn settle(&self, slot: u16) {
        let ping = CustomCommand::new_static("PING", ClusterHash::Custom(slot), false);
        let answered = self.shared.subscriber.custom::<Value, Value>(ping, vec![]);
        if let Err(error) = answered.await {
            // It was taken for this one's, whose own answer is still to come: to nobody.
            tracing::debug!(%error, "channels were unsubscribed where they are no more");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// A connection broke and is back: everything is subscribed anew, and what was said meanwhile is made up for.
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

    /// Subscribes anew to everything on some partitions' slots, and has all that may have been missed made up for. Nothing is trusted before the
    /// node hears itself again: slots may move while this goes on.
    async fn listen_to(&self, is_wanted: impl Fn(Partition) -> bool) {
        // Before the node's own channels are subscribed to, since what comes then does not say what was missed; and for this time alone: the
        // suspicion by which it was noticed may be settled meanwhile, with others'. To settle all that is older is right: whatever broke before
        // this moment is either subscribed to below, or the node does not hear itself there and gets no further in that order.
        let suspicion = self.shared.hub.suspect().await;
        let keyspace = self.shared.keyspace;
        let users: Vec<UserId> = (self.users.keys().copied())
            .filter(|user| is_wanted(keyspace.home_of_user(*user)))
            .collect();
        let rooms: Vec<ConversationId> = (self.rooms.iter().copied())
            .filter(|room| is_wanted(keyspace.partition(*room)))
            .collect();
        let orders: Vec<Partition> = (keyspace.memories())
            .filter(|order| !keyspace.is_clustered() || is_wanted(*order))
            .collect();
        loop {
            let listen = || {
                let orders = orders.iter().copied();
                pulse::listen(&self.shared.subscriber, keyspace, self.node, orders)
            };
            while let Err(error) = listen().await {
                self.failed("node not subscribed", &error).await;
            }
            // Replies may have been lost: workers answer again when they see the commands again.
            self.shared.ingress.readd_all();
            self.listen_to_users(&users).await;
            self.subscribe_rooms(&rooms).await;
            if self.hears_itself(&orders).await {
                break;
            }
            tracing::warn!(partitions = ?orders, "nothing is heard there yet; subscribing once more");
        }
        self.shared.resync().await;
        self.shared.hub.trust(suspicion).await;
    }

    /// Whether the node hears what it says now in these orders.
    async fn hears_itself(&self, orders: &[Partition]) -> bool {
        let (done, said) = oneshot::channel();
        if self.shared.pulse.send(done).await.is_err() {
            return true;
        }
        let mut own = self.shared.heard.subscribe();
        let all_heard = async {
            let Ok(beat) = said.await else { return };
            let has = |heard: &u64| *heard >= beat.number;
            let all = |heard: &Vec<u64>| {
                let mut orders = orders.iter();
                orders.all(|order| heard.get(usize::from(order.0)).is_some_and(has))
            };
            // The sender is in our own hands.
            let _ = own.wait_for(all).await;
        };
        tokio::time::timeout(HEARING, all_heard).await.is_ok()
    }

    async fn failed(&self, what: &str, error: &fred::error::Error) {
        self.shared.metrics.redis.failed("subscribe");
        tracing::warn!(%error, "{what}; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Tells the hub how far newly subscribed rooms have come. Retries until PostgreSQL answers.
async fn announce(shared: &Shared, rooms: &[ConversationId], since: u64) {
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
            .opened(*room, subject.map(Arc::new), seq.unwrap_or_default(), since)
            .await;
    }
}
