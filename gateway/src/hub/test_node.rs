//! A node's hub without its task, for tests that play a whole node: the actor is given its inputs one by one, and asks for what it wants.
//!
//! Owns the ways in and out. What happens, and what ought to come of it, is the tests' own.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::model::conversation::{ConversationKind, ConversationView};
use confab_shared::model::event::{Event, RoomBatch, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::actor::Actor;
use super::input::{Awaited, Following, HubInput, HubRequest};
use super::offset::Offset;
use super::order::Order;
use super::places::{Orders, Places};
use super::room::{Backlog, JoinOutcome, Joining, Limits};
use super::send_queue::SendQueue;
use super::socket::{Held, Socket, SocketRef};
use super::users::Users;
use super::{Habits, Metrics};
use crate::dialect::direct::Direct;
use crate::dialect::{Called, Namespace};

static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new().unwrap()));
static DIALECT: Direct = Direct;
/// For how long a room is kept that nobody listens to.
const LINGER: Duration = Duration::from_secs(60);

/// A node's hub.
pub(crate) struct TestNode {
    actor: Actor,
    requests: mpsc::UnboundedReceiver<HubRequest>,
    users: Arc<Users>,
    beat: u64,
    doubts: u64,
}

impl TestNode {
    pub(crate) fn new(orders: Orders) -> Self {
        let users = Arc::new(Users::default());
        let (sender, requests) = mpsc::unbounded_channel();
        let habits = Habits {
            linger: LINGER,
            limits: Limits {
                max_held: 4,
                typing: Duration::from_secs(5),
                badges: Duration::from_secs(1),
            },
            max_watched: 8,
        };
        let order = Order::new(orders, true);
        let actor = Actor::new(users.clone(), sender, order, habits, METRICS.clone());
        Self {
            actor,
            requests,
            users,
            beat: 0,
            doubts: 0,
        }
    }

    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// A socket connects, and its user's channel is listened to.
    pub(crate) fn connect(&self, socket: &SocketRef) {
        self.users.add(socket.clone());
        self.users.heard(socket.user(), self.beat);
    }

    /// What it asks of those who do I/O, since this was asked last.
    pub(crate) fn requests(&mut self) -> Vec<HubRequest> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }

    pub(crate) fn begin_join(
        &mut self,
        conversation: ConversationId,
        socket: &SocketRef,
        as_of: Seq,
    ) -> oneshot::Receiver<JoinOutcome> {
        let (done, outcome) = oneshot::channel();
        let joining = Joining {
            socket: socket.clone(),
            called: Called::ById,
            as_of,
            backlog: None,
        };
        self.actor.take(HubInput::Join {
            conversation,
            joining,
            done,
        });
        outcome
    }

    pub(crate) fn leave(&mut self, conversation: ConversationId, socket: u64) {
        self.actor.take(HubInput::Leave {
            socket,
            conversation,
        });
    }

    pub(crate) fn opened(&mut self, conversation: ConversationId, seq: Seq) {
        self.actor.take(HubInput::Opened {
            conversation,
            subject: None,
            seq,
            since: self.beat,
        });
    }

    pub(crate) fn published(
        &mut self,
        conversation: ConversationId,
        at: Position,
        events: Vec<Event>,
    ) {
        let batch = RoomBatch {
            conversation,
            events,
            traces: Vec::new(),
        };
        let payload = format!("{at}\n{}", serde_json::to_string(&batch).unwrap());
        self.actor.take(HubInput::Published(Bytes::from(payload)));
    }

    pub(crate) fn repaired(&mut self, conversation: ConversationId, events: Vec<Event>, to: Seq) {
        self.actor.take(HubInput::Repaired {
            conversation,
            events,
            up_to: to,
            kept: None,
            complete: true,
        });
    }

    pub(crate) fn checked(&mut self, conversation: ConversationId, seq: Seq) {
        self.actor.take(HubInput::Checked { conversation, seq });
    }

    pub(crate) fn noticed(&mut self, user: UserId, position: Position, notice: UserNotice) {
        self.actor.take(HubInput::Noticed {
            user,
            position,
            notice,
        });
    }

    /// A notice of a joining need not be shown.
    pub(crate) fn joined(&mut self, user: UserId, position: Option<Position>, seq: Seq) {
        self.actor.take(HubInput::Joined {
            user,
            position,
            seq,
            view: None,
        });
    }

    pub(crate) fn followed(
        &mut self,
        user: UserId,
        position: Option<Position>,
        seq: Seq,
        view: ConversationView,
        backlog: Backlog,
    ) -> oneshot::Receiver<bool> {
        let (done, shown) = oneshot::channel();
        self.actor.take(HubInput::Followed(Following {
            user,
            position,
            seq,
            view: Box::new(view),
            backlog,
            done,
        }));
        shown
    }

    pub(crate) fn removed(
        &mut self,
        user: UserId,
        position: Option<Position>,
        conversation: ConversationId,
        event: Event,
    ) {
        self.actor.take(HubInput::Removed {
            user,
            position,
            conversation,
            event,
        });
    }

    /// It has heard itself, in all orders.
    pub(crate) fn hear(&mut self, places: &[(Partition, Position)]) {
        self.beat += 1;
        for (order, position) in places {
            let arrived = HubInput::Arrived(*order, *position, self.beat);
            self.actor.take(arrived);
        }
    }

    pub(crate) fn suspect(&mut self) {
        self.doubts += 1;
        self.actor.take(HubInput::Suspicion(self.doubts));
    }

    /// What was suspected is so no more, but had been.
    pub(crate) fn trust(&mut self) {
        self.actor.take(HubInput::Doubt(self.doubts));
        self.actor.take(HubInput::Trust(self.doubts));
    }

    pub(crate) fn certain(&mut self) {
        self.actor.take(HubInput::Certain(self.doubts));
    }

    pub(crate) fn diverged(&mut self, conversation: ConversationId) {
        self.actor.take(HubInput::Diverged(conversation));
    }

    pub(crate) fn shown(
        &mut self,
        user: UserId,
        places: Vec<(Partition, Position)>,
        rooms: Vec<(ConversationId, Seq)>,
    ) -> oneshot::Receiver<()> {
        let (done, shown) = oneshot::channel();
        self.actor.take(HubInput::Await(Awaited {
            places,
            user,
            rooms,
            done,
        }));
        shown
    }

    /// Nothing happens for longer than rooms are kept that nobody listens to.
    pub(crate) fn rest(&mut self) {
        self.actor.let_idle_go(Instant::now() + 2 * LINGER);
    }

    pub(crate) fn offset(&mut self) -> Offset {
        let (answer, mut offset) = oneshot::channel();
        self.actor.take(HubInput::Offset(answer));
        offset.try_recv().unwrap()
    }
}

/// A user's socket that is shown all its user's conversations. Whatever comes for it is held back.
pub(crate) fn arriving(user: UserId) -> SocketRef {
    let queue = Arc::new(SendQueue::new(1 << 24));
    let namespace = Namespace::Chat;
    let socket = Socket::new(user, None, namespace, Some(&DIALECT), &DIALECT, queue);
    socket.begin_following();
    socket
}

/// What was held back for a socket.
pub(crate) fn held(socket: &SocketRef) -> Vec<Held> {
    let mut held = Vec::new();
    socket.release(|waiting| {
        held = waiting;
        Vec::new()
    });
    held
}

/// A conversation as it stands, of which nothing else matters.
pub(crate) fn view(id: ConversationId, kind: ConversationKind, last_seq: Seq) -> ConversationView {
    ConversationView {
        id,
        kind,
        slug: None,
        name: None,
        participants: Vec::new(),
        last_message: None,
        unread_count: 0,
        last_seq,
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
    }
}

/// These places, and the beginning of the orders that are not among them.
pub(crate) fn places(orders: Orders, some: &[(Partition, Position)]) -> Places {
    let mut places = Places::beginning(orders);
    for (order, position) in some {
        places.advance(*order, *position);
    }
    places
}
