//! Rooms without an actor or I/O, for tests that play a whole node.

use std::collections::HashMap;

use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::event::Event;
use confab_shared::model::position::Position;

use super::order::Order;
pub(crate) use super::room::Wish;
use super::room::{Room, Stage};
use super::socket::SocketRef;
use super::users::Users;

/// A node's rooms.
pub(crate) struct Bench {
    rooms: HashMap<ConversationId, Room>,
    users: Users,
    order: Order,
    max_held: usize,
}

impl Bench {
    pub(crate) fn new(max_held: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            users: Users::default(),
            order: Order::new(true),
            max_held,
        }
    }

    fn with<T>(
        &mut self,
        room: ConversationId,
        act: impl FnOnce(&mut Room, &mut Stage<'_>) -> T,
    ) -> T {
        let mut stage = Stage {
            users: &self.users,
            order: &mut self.order,
        };
        let max_held = self.max_held;
        let room = self
            .rooms
            .entry(room)
            .or_insert_with(|| Room::new(room, max_held));
        act(room, &mut stage)
    }

    pub(crate) fn open(&mut self, room: ConversationId, seq: Seq) {
        self.with(room, |room, stage| room.opened(seq, stage));
    }

    pub(crate) fn join(&mut self, room: ConversationId, socket: SocketRef, as_of: Seq) {
        self.with(room, |room, stage| room.join(socket, as_of, stage.order));
    }

    pub(crate) fn published(
        &mut self,
        room: ConversationId,
        at: Position,
        events: Vec<Event>,
    ) -> Option<Wish> {
        self.with(room, |room, stage| room.receive(at, events, stage))
    }

    pub(crate) fn repaired(
        &mut self,
        room: ConversationId,
        events: Vec<Event>,
        up_to: Seq,
    ) -> Option<Wish> {
        self.with(room, |room, stage| {
            room.repaired(events, up_to, None, true, stage)
        })
    }

    pub(crate) fn checked(&mut self, room: ConversationId, seq: Seq) -> Option<Wish> {
        self.with(room, |room, stage| room.checked(seq, stage.order))
    }

    pub(crate) fn arrived(&mut self, position: Position) {
        self.order.advance(position);
    }

    pub(crate) fn doubt(&mut self, number: u64) {
        self.order.doubt(number);
    }

    pub(crate) fn certain(&mut self, number: u64) {
        self.order.settle_doubt(number);
    }
}
