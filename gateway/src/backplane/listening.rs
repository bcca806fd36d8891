//! Which channels of one order this node listens to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, NodeId, Partition, Seq, UserId};
use confab_shared::model::conversation::Subject;
use confab_shared::postgres::conversations;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::channels::Channels;
use super::subscriptions::{RoomRequest, UserRequest, Wishes};
use super::{Shared, pulse};
use crate::hub::Hub;

/// How many wishes are served at a time.
const BATCH: usize = 512;
/// How long the node may take to hear itself, when it has much to hear, too.
const HEARING: Duration = Duration::from_secs(5);

/// Which order it is, and whose, and what it has in common with the others.
pub(super) struct Place {
    pub(super) order: Partition,
    pub(super) node: NodeId,
    pub(super) channels: Arc<Channels>,
    pub(super) mending: Arc<Mending>,
}

/// The orders that are being listened to anew.
///
/// Suspicions are the node's, and to settle one settles all that are older. So none is before nothing is being mended: on an order that hears
/// itself again, and does not have all its channels yet, something would be missed that nobody suspects.
#[derive(Default)]
pub(super) struct Mending(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    orders: usize,
    suspicion: u64,
}

impl Mending {
    /// One more is.
    async fn begin(&self, hub: &Hub) {
        self.0.lock().begin();
        let suspicion = hub.suspect().await;
        self.0.lock().suspect(suspicion);
    }

    /// One is mended.
    async fn end(&self, hub: &Hub) {
        let settled = self.0.lock().end();
        if let Some(suspicion) = settled {
            hub.trust(suspicion).await;
        }
    }
}

impl UnderWay {
    fn begin(&mut self) {
        self.orders += 1;
    }

    fn suspect(&mut self, suspicion: u64) {
        self.suspicion = suspicion.max(self.suspicion);
    }

    /// The last of the suspicions that are settled now, if any is.
    fn end(&mut self) -> Option<u64> {
        self.orders = self.orders.saturating_sub(1);
        (self.orders == 0).then_some(self.suspicion)
    }
}

struct Listening {
    shared: Shared,
    place: Place,
    rooms: HashSet<ConversationId>,
    /// The users' channels that are listened to, each with the node's last beat when it was subscribed to.
    users: HashMap<UserId, u64>,
    idle_users: VecDeque<(Instant, UserId)>,
    linger: Duration,
}

/// Runs until told to stop. Inputs: reconnections, after which everything is subscribed anew; wishes, of both kinds in turn; that nothing is
/// heard; a tick for idle users.
pub(super) async fn run(shared: Shared, place: Place, wishes: Wishes<()>, linger: Duration) {
    let mut state = Listening {
        shared,
        place,
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
    let (mut rooms, mut users) = (Vec::new(), Vec::new());
    loop {
        let turn = async {
            tokio::select! {
                count = wanted_users.recv_many(&mut users, BATCH) => Turn::Users(count),
                count = wanted_rooms.recv_many(&mut rooms, BATCH) => Turn::Rooms(count),
                Some(()) = deaf.recv() => Turn::Deaf,
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
            Turn::Deaf => {
                state.listen_anew().await;
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
    Deaf,
    Tick,
    Nothing,
}

impl Listening {
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
        self.subscribe("rooms not subscribed", channels.collect())
            .await
    }

    async fn listen_to_users(&self, users: &[UserId]) -> u64 {
        let keyspace = self.shared.keyspace;
        let channels = users.iter().map(|user| keyspace.user(*user));
        self.subscribe("users not subscribed", channels.collect())
            .await
    }

    /// The last beat that the node had begun when it listened to all of these.
    async fn subscribe(&self, failed: &str, channels: Vec<String>) -> u64 {
        self.place.channels.subscribe(failed, channels).await;
        self.shared.beats.load(Ordering::SeqCst)
    }

    async fn leave_rooms(&mut self, rooms: &mut Vec<ConversationId>) {
        let keyspace = self.shared.keyspace;
        for room in rooms.iter() {
            self.rooms.remove(room);
        }
        let channels: Vec<String> = rooms.drain(..).map(|room| keyspace.room(room)).collect();
        self.place.channels.unsubscribe(&channels).await;
    }

    async fn leave_idle_users(&mut self) {
        let (keyspace, mut channels) = (self.shared.keyspace, Vec::new());
        while let Some((since, user)) = self.idle_users.front().copied() {
            if since.elapsed() < self.linger {
                break;
            }
            self.idle_users.pop_front();
            if !self.shared.hub.users().is_connected(user) && self.users.remove(&user).is_some() {
                channels.push(keyspace.user(user));
            }
        }
        self.place.channels.unsubscribe(&channels).await;
    }

    /// A connection broke and is back: everything is subscribed anew, and what was said meanwhile is made up for.
    async fn subscribe_anew(&mut self) {
        tracing::warn!(
            order = %self.place.order,
            rooms = self.rooms.len(),
            users = self.users.len(),
            "redis is back; subscribing anew"
        );
        self.listen_anew().await;
    }

    /// Subscribes anew to everything, and has all that may have been missed made up for. Nothing is trusted before the node hears itself again:
    /// slots may move while this goes on.
    async fn listen_anew(&mut self) {
        // Before the node's own channel is subscribed to, since what comes then does not say what was missed; and for this time alone: the
        // suspicion by which it was noticed may be settled meanwhile, with others'. To settle all that is older is right: whatever broke before
        // this moment is either subscribed to below, or the node does not hear itself there and gets no further in that order.
        self.place.mending.begin(&self.shared.hub).await;
        let (keyspace, Place { order, node, .. }) = (self.shared.keyspace, &self.place);
        let users: Vec<UserId> = self.users.keys().copied().collect();
        let rooms: Vec<ConversationId> = self.rooms.iter().copied().collect();
        loop {
            let own = pulse::channel(keyspace, *node, *order);
            self.subscribe("node not subscribed", vec![own]).await;
            if keyspace.memory_of(keyspace.home(node)) == *order {
                // Replies may have been lost: workers answer again when they see the commands again.
                self.shared.ingress.readd_all();
            }
            self.listen_to_users(&users).await;
            self.subscribe_rooms(&rooms).await;
            if self.hears_itself().await {
                break;
            }
            tracing::warn!(%order, "nothing is heard there yet; subscribing once more");
        }
        self.shared.resync().await;
        self.place.mending.end(&self.shared.hub).await;
    }

    /// Whether the node hears what it says now in this order.
    async fn hears_itself(&self) -> bool {
        let (done, said) = oneshot::channel();
        if self.shared.pulse.send(done).await.is_err() {
            return true;
        }
        let mut own = self.shared.heard.subscribe();
        let order = usize::from(self.place.order.0);
        let heard = async {
            let Ok(beat) = said.await else { return };
            let has =
                |heard: &Vec<u64>| heard.get(order).is_some_and(|heard| *heard >= beat.number);
            // The sender is in our own hands.
            let _ = own.wait_for(has).await;
        };
        tokio::time::timeout(HEARING, heard).await.is_ok()
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

#[cfg(test)]
mod tests {
    use super::UnderWay;

    #[test]
    fn nothing_is_trusted_while_an_order_is_being_mended() {
        let mut under_way = UnderWay::default();
        under_way.begin();
        under_way.begin();
        under_way.suspect(2);
        under_way.suspect(1);
        assert_eq!(under_way.end(), None);
        // It began before it was known by which suspicion.
        under_way.begin();
        assert_eq!(under_way.end(), None);
        under_way.suspect(3);
        assert_eq!(under_way.end(), Some(3));
        under_way.begin();
        under_way.suspect(5);
        assert_eq!(under_way.end(), Some(5));
    }
}
