//! The hub: rooms → sockets on this node.
//!
//! Shows each conversation's events to everybody who listens here, once, in order of `seq`, without gaps. Owns the rooms, the
//! connected users and the send queues. It does no I/O: what it needs from Redis or PostgreSQL it asks for by [`HubRequest`]s.

mod actor;
mod doubts;
mod input;
pub mod offset;
mod order;
pub mod places;
pub mod room;
pub mod send_queue;
pub mod socket;
#[cfg(test)]
pub(crate) mod test_bench;
#[cfg(test)]
pub(crate) mod test_node;
pub mod users;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::lifecycle::{Vitals, spawn_vital};
use confab_shared::model::conversation::{ConversationView, Subject};
use confab_shared::model::event::{Event, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::telemetry::Traces;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::HubConfig;
use crate::metrics::Metrics;
use actor::Actor;
use input::{Awaited, Following, HubInput};
pub use input::{Counted, HubRequest, Newest, Watched};
use offset::Offset;
use order::Order;
use places::Orders;
pub use room::{Backlog, JoinOutcome, Joining};
use socket::SocketRef;
use users::Users;

/// How many inputs may wait for the actor. Those who feed it wait when it is full.
const MAILBOX: usize = 32_768;

/// The node's rooms and users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    mailbox: mpsc::Sender<HubInput>,
    users: Arc<Users>,
    orders: Orders,
    doubts: Arc<AtomicU64>,
    suspicions: Arc<AtomicU64>,
}

/// What the actor keeps to.
#[derive(Debug, Clone, Copy)]
struct Habits {
    linger: Duration,
    limits: room::Limits,
    /// How many conversations a socket watches.
    max_watched: usize,
}

/// The hub is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the hub is shutting down")]
pub struct HubClosed;

impl Hub {
    /// Starts the actor, one of the node's vital parts, which runs until `stop`. Its requests come out of the receiver. With `offsets`, what
    /// is shown says how far whoever sees it has come in each of the `orders`.
    pub fn start(
        config: &HubConfig,
        orders: Orders,
        offsets: bool,
        metrics: &Arc<Metrics>,
        traces: &Traces,
        vitals: &Vitals,
        stop: &CancellationToken,
    ) -> (Self, mpsc::UnboundedReceiver<HubRequest>) {
        let users = Arc::new(Users::default());
        let (requests, receiver) = mpsc::unbounded_channel();
        let (mailbox, inputs) = mpsc::channel(MAILBOX);
        let habits = Habits {
            linger: Duration::from_secs(config.linger_seconds),
            limits: room::Limits {
                max_held: config.max_held_events,
                typing: Duration::from_millis(config.typing_timeout_ms),
                badges: Duration::from_millis(config.badge_interval_ms),
            },
            max_watched: config.max_watched,
        };
        let order = Order::new(orders, offsets);
        let metrics = metrics.clone();
        let actor =
            Actor::new(users.clone(), requests, order, habits, metrics).traced(traces.clone());
        spawn_vital("hub", stop, actor.run(inputs, vitals.part("hub")));
        let hub = Self {
            mailbox,
            users,
            orders,
            doubts: Arc::default(),
            suspicions: Arc::default(),
        };
        (hub, receiver)
    }

    /// The orders of announcements that there are.
    pub fn orders(&self) -> Orders {
        self.orders
    }

    /// The connected users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    async fn send(&self, input: HubInput) {
        if self.mailbox.send(input).await.is_err() {
            tracing::debug!("the hub is shutting down; an input is dropped");
        }
    }

    /// Lets a socket listen to a room.
    pub async fn join(
        &self,
        conversation: ConversationId,
        joining: Joining,
    ) -> Result<JoinOutcome, HubClosed> {
        let outcome = self.begin_join(conversation, joining).await;
        outcome.await.map_err(|_| HubClosed)
    }

    /// Asks for the same, without waiting: many rooms open at once.
    pub async fn begin_join(
        &self,
        conversation: ConversationId,
        joining: Joining,
    ) -> oneshot::Receiver<JoinOutcome> {
        let (done, outcome) = oneshot::channel();
        self.send(HubInput::Join {
            conversation,
            joining,
            done,
        })
        .await;
        outcome
    }

    /// A socket listens no more. Takes effect before any later [`join`](Self::join) of it.
    pub async fn leave(&self, socket: u64, conversation: ConversationId) {
        self.send(HubInput::Leave {
            socket,
            conversation,
        })
        .await;
    }

    /// Whether a socket listens to a room.
    pub async fn listens(&self, socket: u64, conversation: ConversationId) -> bool {
        let (answer, listens) = oneshot::channel();
        self.send(HubInput::Listens {
            socket,
            conversation,
            answer,
        })
        .await;
        listens.await.unwrap_or(false)
    }

    /// Waits until everything has been done that was asked for before: a socket that has left is sent nothing after this.
    pub async fn caught_up(&self) {
        let (done, is_done) = oneshot::channel();
        self.send(HubInput::CaughtUp(done)).await;
        // Without an actor nothing is done any more.
        let _ = is_done.await;
    }

    /// A socket is told how much is unread in these conversations while it has not joined them. What is returned ends when all of their
    /// rooms are open.
    pub async fn watch(&self, socket: SocketRef, watched: Vec<Watched>) -> oneshot::Receiver<()> {
        let (opening, open) = oneshot::channel();
        self.send(HubInput::Watch {
            socket,
            watched,
            opening: Arc::new(opening),
        })
        .await;
        open
    }

    /// A socket is told no more how much is unread.
    pub async fn unwatch(&self, socket: u64) {
        self.send(HubInput::Unwatch(socket)).await;
    }

    /// How much members of a conversation have not read, as far as the room asked for it.
    pub async fn counted(&self, conversation: ConversationId, counted: Counted) {
        self.send(HubInput::Counted {
            conversation,
            counted,
        })
        .await;
    }

    /// Messages up to these ordinals have reached somebody else than their senders in another way than by their rooms.
    pub async fn reached(&self, reached: Vec<(ConversationId, i64)>) {
        self.send(HubInput::Reached(reached)).await;
    }

    /// A room channel carried this.
    pub async fn published(&self, payload: Bytes) {
        self.send(HubInput::Published(payload)).await;
    }

    /// A user's channel carried this.
    pub async fn noticed(&self, user: UserId, position: Position, notice: UserNotice) {
        self.send(HubInput::Noticed {
            user,
            position,
            notice,
        })
        .await;
    }

    /// A room is subscribed, and stood at `seq` after that. `since` is the node's last beat when it was.
    pub async fn opened(
        &self,
        conversation: ConversationId,
        subject: Option<Arc<Subject>>,
        seq: Seq,
        since: u64,
    ) {
        self.send(HubInput::Opened {
            conversation,
            subject,
            seq,
            since,
        })
        .await;
    }

    /// What a room had missed, up to and including `up_to`; unless `complete`, more follows. `kept` is the last announcement that
    /// Redis has.
    pub async fn repaired(
        &self,
        conversation: ConversationId,
        events: Vec<Event>,
        up_to: Seq,
        kept: Option<(Position, Seq)>,
        complete: bool,
    ) {
        let input = HubInput::Repaired {
            conversation,
            events,
            up_to,
            kept,
            complete,
        };
        self.send(input).await;
    }

    /// PostgreSQL says how far a conversation has come.
    pub async fn checked(&self, conversation: ConversationId, seq: Seq) {
        self.send(HubInput::Checked { conversation, seq }).await;
    }

    /// A user became a member of this conversation by the change `seq`; none: there is nothing to show (any more). `position` is
    /// where that was announced, if it was.
    pub async fn joined(
        &self,
        user: UserId,
        position: Option<Position>,
        seq: Seq,
        view: Option<ConversationView>,
    ) {
        self.send(HubInput::Joined {
            user,
            position,
            seq,
            view: view.map(Box::new),
        })
        .await;
    }

    /// A user became a member of a conversation, and some of its sockets listen to it from then on; first they are shown what happened since.
    /// False: memberships or the conversation have changed since both were read.
    pub async fn joined_following(
        &self,
        user: UserId,
        position: Option<Position>,
        seq: Seq,
        view: ConversationView,
        backlog: Backlog,
    ) -> Result<bool, HubClosed> {
        let (done, shown) = oneshot::channel();
        let following = Following {
            user,
            position,
            seq,
            view: Box::new(view),
            backlog,
            done,
        };
        self.send(HubInput::Followed(following)).await;
        shown.await.map_err(|_| HubClosed)
    }

    /// A user was removed from a conversation. `position` is where that was announced, if it was.
    pub async fn removed(
        &self,
        user: UserId,
        position: Option<Position>,
        conversation: ConversationId,
        event: Event,
    ) {
        self.send(HubInput::Removed {
            user,
            position,
            conversation,
            event,
        })
        .await;
    }

    /// The node has heard its beat on a partition's slot: whatever was announced in that order up to here has arrived.
    pub async fn arrived(&self, order: Partition, position: Position, beat: u64) {
        self.send(HubInput::Arrived(order, position, beat)).await;
    }

    /// A socket was shown what a room stands at, though it may not have been announced.
    pub async fn diverged(&self, conversation: ConversationId) {
        self.send(HubInput::Diverged(conversation)).await;
    }

    /// Waits until everything announced up to these `places` is shown that concerns this user, and these rooms are shown up to these changes.
    pub async fn shown(
        &self,
        places: Vec<(Partition, Position)>,
        user: UserId,
        rooms: Vec<(ConversationId, Seq)>,
    ) -> Result<(), HubClosed> {
        let (done, shown) = oneshot::channel();
        let awaited = Awaited {
            places,
            user,
            rooms,
            done,
        };
        self.send(HubInput::Await(awaited)).await;
        shown.await.map_err(|_| HubClosed)
    }

    /// How far the node has come: whatever was announced before is in the sockets' queues.
    pub async fn offset(&self) -> Result<Offset, HubClosed> {
        let (answer, offset) = oneshot::channel();
        self.send(HubInput::Offset(answer)).await;
        offset.await.map_err(|_| HubClosed)
    }

    /// The rooms that are open on this node.
    pub async fn rooms(&self) -> Vec<ConversationId> {
        let (answer, rooms) = oneshot::channel();
        self.send(HubInput::Rooms(answer)).await;
        rooms.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
