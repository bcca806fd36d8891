//! A node's rooms without an actor or I/O, for tests that play a room or a whole node.
//!
//! Owns what such tests share: the rooms with the rest of the node that they need, sockets that listen to them, and what these were
//! sent. What happens, and what ought to come of it, is the tests' own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, MessageId, Partition, Seq, UserId};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;

use super::input::Counted;
use super::order::Order;
use super::places::Orders;
pub(crate) use super::room::Wish;
use super::room::{Chores, JoinOutcome, Joining, Limits, Room, Showing, Stage, Watching};
use super::send_queue::SendQueue;
use super::socket::{Socket, SocketRef};
use super::users::Users;
use crate::dialect::conversations::Conversations;
use crate::dialect::{Called, Namespace};

static DIALECT: Conversations = Conversations;

/// A node's rooms.
pub(crate) struct Bench {
    rooms: HashMap<ConversationId, Room>,
    users: Users,
    order: Order,
    /// What rooms have shown, to be looked at.
    pub(crate) shown: Vec<Showing>,
    max_held: usize,
    beat: u64,
    /// The present, which passes only when told to.
    pub(crate) now: Instant,
}

fn limits(max_held: usize) -> Limits {
    Limits {
        max_held,
        typing: Duration::from_secs(5),
        badges: Duration::from_secs(1),
    }
}

impl Bench {
    pub(crate) fn new(max_held: usize) -> Self {
        Self::on(Orders::ONE, max_held)
    }

    pub(crate) fn on(orders: Orders, max_held: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            users: Users::default(),
            order: Order::new(orders, true),
            shown: Vec::new(),
            max_held,
            beat: 0,
            now: Instant::now(),
        }
    }

    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// A room, which is there as soon as somebody asks for it.
    pub(crate) fn room(&mut self, room: ConversationId) -> &mut Room {
        self.stage(room).0
    }

    fn stage(&mut self, room: ConversationId) -> (&mut Room, Stage<'_>) {
        let max_held = self.max_held;
        let room = self
            .rooms
            .entry(room)
            .or_insert_with(|| Room::new(room, limits(max_held)));
        let stage = Stage::new(&self.users, &mut self.order, &mut self.shown, self.now);
        (room, stage)
    }

    pub(crate) fn opened(&mut self, room: ConversationId, seq: Seq) -> Option<Wish> {
        let since = self.beat;
        let (room, mut stage) = self.stage(room);
        room.opened(seq, since, &mut stage)
    }

    pub(crate) fn join(
        &mut self,
        room: ConversationId,
        socket: SocketRef,
        as_of: Seq,
    ) -> JoinOutcome {
        let joining = Joining {
            socket,
            called: Called::ById,
            as_of,
            backlog: None,
        };
        self.join_with(room, joining)
    }

    pub(crate) fn join_with(&mut self, room: ConversationId, joining: Joining) -> JoinOutcome {
        let (room, stage) = self.stage(room);
        room.join(joining, stage.order)
    }

    pub(crate) fn leave(&mut self, room: ConversationId, socket: u64) {
        let (room, stage) = self.stage(room);
        room.leave(socket, Instant::now(), stage.order);
    }

    pub(crate) fn published(
        &mut self,
        room: ConversationId,
        at: Position,
        events: Vec<Event>,
    ) -> Option<Wish> {
        let (room, mut stage) = self.stage(room);
        room.receive(at, events, &mut stage)
    }

    pub(crate) fn repaired(
        &mut self,
        room: ConversationId,
        events: Vec<Event>,
        up_to: Seq,
        complete: bool,
    ) -> Option<Wish> {
        let (room, mut stage) = self.stage(room);
        room.repaired(events, up_to, None, complete, &mut stage)
    }

    pub(crate) fn checked(&mut self, room: ConversationId, seq: Seq) -> Option<Wish> {
        let (room, stage) = self.stage(room);
        room.checked(seq, stage.order)
    }

    /// A socket watches a room that is open.
    pub(crate) fn watch(
        &mut self,
        room: ConversationId,
        socket: &SocketRef,
        as_of: Seq,
        owed: bool,
    ) -> Watching {
        let now = self.now;
        self.room(room).watch(socket, as_of, owed, now)
    }

    /// A socket that listened watches instead.
    pub(crate) fn step_back(&mut self, room: ConversationId, socket: &SocketRef) {
        let now = self.now;
        self.room(room).step_back(socket, now);
        self.leave(room, socket.key());
    }

    pub(crate) fn counted(&mut self, room: ConversationId, counted: Counted) {
        let now = self.now;
        self.room(room).counted(counted, now);
    }

    /// What the actor does after everything that happens in a room.
    pub(crate) fn settle(&mut self, room: ConversationId, ticket: u64) -> Chores {
        let now = self.now;
        self.room(room).settle(now, ticket)
    }

    /// The node speaks to itself. Which of its beats that is, which it may hear.
    pub(crate) fn speak(&mut self) -> u64 {
        self.beat += 1;
        self.beat
    }

    pub(crate) fn arrived(&mut self, order: Partition, position: Position, beat: u64) {
        self.order.beat(order, position, beat);
        for room in self.order.excepted_rooms() {
            let (room, stage) = self.stage(room);
            room.place(stage.order);
        }
    }

    pub(crate) fn doubt(&mut self, number: u64) {
        self.order.doubt(number);
    }

    pub(crate) fn suspect(&mut self, number: u64) {
        self.order.suspect(number);
    }

    pub(crate) fn trust(&mut self, number: u64) {
        self.order.trust(number);
    }

    pub(crate) fn certain(&mut self, number: u64) {
        self.order.settle_doubt(number);
    }
}

/// A user's socket in the chat namespace, which is told everything at once.
pub(crate) fn socket(user: UserId) -> SocketRef {
    let queue = Arc::new(SendQueue::new(1 << 24));
    let socket = Socket::new(user, None, Namespace::Chat, Some(&DIALECT), &DIALECT, queue);
    socket.release(|_| Vec::new());
    socket
}

/// The packets that a socket was sent since this was asked last, from their payload on.
pub(crate) fn sent(socket: &SocketRef) -> Vec<String> {
    let mut chunks = VecDeque::new();
    socket.queue().take(&mut chunks);
    let bytes: Vec<u8> = chunks.into_iter().flatten().collect();
    let text = String::from_utf8_lossy(&bytes);
    text.split("42/chat,").skip(1).map(str::to_owned).collect()
}

/// What stands behind `"name":"` in a packet, if it has that.
pub(crate) fn field<'a>(packet: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = packet.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()
}

/// A change of a conversation.
pub(crate) fn event(seq: i64, fact: Fact) -> Event {
    Event {
        seq: Some(Seq(seq)),
        at: Timestamp::now(),
        fact,
    }
}

/// A change that can be told from others by what clients are shown: its message has its number.
pub(crate) fn deleted(seq: i64) -> Event {
    let (message, by) = (MessageId(seq), UserId::generate());
    event(seq, Fact::MessageDeleted { message, by })
}
