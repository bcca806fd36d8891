//! A node with what stands behind it: what is committed, announced and kept, and what goes wrong on the way.
//!
//! Owns what happens. What a client makes of it is not its business.

use std::collections::VecDeque;

use confab_shared::id::UserId;
use confab_shared::model::event::UserNotice;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::memberships::Place;

use super::super::*;
use confab_shared::model::conversation::ConversationKind;

use crate::hub::socket::SocketRef;
use crate::hub::test_bench::{deleted, event};
use crate::hub::test_node::{TestNode, arriving, view};
use crate::hub::{Backlog, HubRequest};

/// A group that the user is in from the beginning.
pub(super) const GROUP: usize = 2;
/// A conversation that the user comes into, by its first change.
pub(super) const NEW: usize = 3;
pub(super) const ROOMS: usize = 4;
/// Two public rooms that the socket has entered come first.
pub(super) const KINDS: [ConversationKind; ROOMS] = [
    ConversationKind::Room,
    ConversationKind::Room,
    ConversationKind::Group,
    ConversationKind::Direct,
];
/// Longer than anything that went wrong goes unnoticed.
const PAUSE: u64 = 95_000_000;
/// How much each partition's clock is behind the former one's.
const SKEW: u64 = 3;

/// How many kinds of things happen within moments,
pub(super) const SOON: u8 = 20;
/// and at all.
pub(super) const ALL: u8 = 21;

/// One thing that happens: which, to what, and how much of it.
pub(super) type Happening = (u8, usize, i64);

/// A conversation, as PostgreSQL and Redis have it.
pub(super) struct Conversation {
    pub(super) id: ConversationId,
    pub(super) committed: i64,
    changed_at: u64,
    /// Whether the last change was committed by a worker that died before it could announce it.
    unannounced: bool,
    pub(super) history: Vec<(Position, Event)>,
}

pub(super) struct Deployment {
    pub(super) node: TestNode,
    pub(super) orders: Orders,
    pub(super) user: UserId,
    pub(super) rooms: Vec<Conversation>,
    /// Of the user.
    pub(super) notices: Vec<(Position, UserNotice)>,
    clock: u64,
    /// Since when the user is connected to the node.
    connected: u64,
    repairs: VecDeque<(ConversationId, Seq)>,
    reading: VecDeque<(Option<Position>, UserNotice)>,
    /// Whether what the node listens to has been lost, unnoticed.
    pub(super) is_deaf: bool,
}

impl Deployment {
    pub(super) fn new(orders: Orders) -> Self {
        let conversation = |index: usize| {
            // Neighbours are in different orders, if there are several.
            let id = std::iter::repeat_with(ConversationId::generate)
                .find(|id| usize::from(orders.of_room(*id).0) == index % orders.count());
            Conversation {
                id: id.unwrap(),
                committed: 0,
                changed_at: 0,
                unannounced: false,
                history: Vec::new(),
            }
        };
        let mut deployment = Self {
            node: TestNode::new(orders),
            orders,
            user: UserId::generate(),
            rooms: (0..ROOMS).map(conversation).collect(),
            notices: Vec::new(),
            clock: 10 * PAUSE,
            connected: 0,
            repairs: VecDeque::new(),
            reading: VecDeque::new(),
            is_deaf: false,
        };
        deployment.tick();
        deployment
    }

    /// Another node, on which nobody is yet.
    pub(super) fn move_on(&mut self) {
        self.node = TestNode::new(self.orders);
        self.repairs.clear();
        self.reading.clear();
        self.is_deaf = false;
        self.tick();
    }

    /// A socket of the user's that is being connected.
    pub(super) fn connect(&mut self) -> SocketRef {
        let socket = arriving(self.user);
        if !self.node.users().is_connected(self.user) {
            self.connected = self.clock;
        }
        self.node.connect(&socket);
        socket
    }

    pub(super) fn index(&self, id: ConversationId) -> Option<usize> {
        self.rooms.iter().position(|room| room.id == id)
    }

    pub(super) fn home(&self) -> Partition {
        self.orders.of_user(self.user)
    }

    /// Where announcements are in each order.
    pub(super) fn present(&self) -> Vec<(Partition, Position)> {
        let orders = 0..u16::try_from(self.orders.count()).unwrap();
        let orders = orders.map(Partition);
        orders.map(|order| (order, self.now(order, 0))).collect()
    }

    fn now(&self, order: Partition, index: u32) -> Position {
        let micros = self.clock - SKEW * u64::from(order.0);
        Position { micros, index }
    }

    /// What PostgreSQL says of how the user stands to a conversation.
    pub(super) fn place(&self, index: usize) -> Place {
        let room = &self.rooms[index];
        Place {
            conversation: room.id,
            last_seq: Seq(room.committed),
            changed_at: Timestamp::from_micros(room.changed_at),
            kind: KINDS[index],
            joined_seq: Some(Seq(i64::from(index == NEW))),
        }
    }

    /// The changes of a conversation after this one.
    pub(super) fn changes(&self, index: usize, after: Seq) -> Vec<Event> {
        (after.0 + 1..=self.rooms[index].committed)
            .map(deleted)
            .collect()
    }

    /// The node hears itself behind everything that was announced.
    pub(super) fn tick(&mut self) {
        self.clock += 1;
        if !self.is_deaf {
            let present = self.present();
            self.node.hear(&present);
        }
        self.attend();
    }

    fn commit(&mut self, index: usize, count: i64) -> Vec<Event> {
        let room = &mut self.rooms[index];
        let before = Seq(room.committed);
        room.committed += count;
        room.changed_at = self.clock;
        self.changes(index, before)
    }

    fn announce(&mut self, index: usize, events: Vec<Event>) {
        self.clock += 1;
        let id = self.rooms[index].id;
        let at = self.now(self.orders.of_room(id), 3);
        let placed = events.iter().cloned().enumerate();
        let placed = placed.map(|(index, event)| (at.plus(index), event));
        self.rooms[index].history.extend(placed);
        if !self.is_deaf {
            self.node.published(id, at, events);
        }
        self.attend();
    }

    fn notify(&mut self, notice: UserNotice) {
        self.clock += 1;
        let at = self.now(self.home(), 1);
        self.notices.push((at, notice.clone()));
        if !self.is_deaf {
            self.node.noticed(self.user, at, notice);
        }
        self.attend();
    }

    fn say(&mut self, index: usize, count: i64) {
        let before = self.rooms[index].committed;
        let mut events = self.commit(index, count);
        if std::mem::take(&mut self.rooms[index].unannounced) {
            // Workers process what was pending before what is new.
            events.insert(0, event(before, Fact::Advanced));
        }
        self.announce(index, events);
    }

    fn begin(&mut self, more: i64) {
        let events = self.commit(NEW, 1 + more);
        self.announce(NEW, events);
        self.notify(self.joining());
    }

    pub(super) fn has_begun(&self) -> bool {
        self.rooms[NEW].committed > 0
    }

    fn has_begun_lately(&self) -> bool {
        let joining = self.joining();
        let mut notices = self.notices.iter();
        notices.any(|(at, notice)| *notice == joining && at.micros + PAUSE > self.clock)
    }

    fn joining(&self) -> UserNotice {
        let (conversation, seq) = (self.rooms[NEW].id, Seq(1));
        UserNotice::Joined { conversation, seq }
    }

    /// Sees to what the node asks for: rooms are opened at once, the rest is done when it happens.
    pub(super) fn attend(&mut self) {
        loop {
            let requests = self.node.requests();
            if requests.is_empty() {
                return;
            }
            for request in requests {
                match request {
                    HubRequest::Open(id) => {
                        let at = self
                            .index(id)
                            .map_or(0, |index| self.rooms[index].committed);
                        self.node.opened(id, Seq(at));
                    }
                    HubRequest::Repair(id, after) => self.repairs.push_back((id, after)),
                    HubRequest::Notice(_, position, notice) => {
                        self.reading.push_back((Some(position), notice));
                    }
                    HubRequest::Close(_)
                    | HubRequest::Rewatch(..)
                    | HubRequest::Count { .. }
                    | HubRequest::Delivered(_) => {}
                }
            }
        }
    }

    fn repair(&mut self) {
        if let Some((id, after)) = self.repairs.pop_front() {
            let index = self.index(id).unwrap();
            let events = self.changes(index, after);
            let up_to = Seq(self.rooms[index].committed);
            self.node.repaired(id, events, up_to);
            self.attend();
        }
    }

    /// What is to be shown of a notice has been read.
    fn show_notice(&mut self) {
        if self.is_deaf {
            return;
        }
        // What was said in a new conversation before it is followed may lie ahead of the node's place until then: whoever breaks off in
        // between is told it twice.
        self.tick();
        let Some((position, notice)) = self.reading.pop_front() else {
            return;
        };
        let user = self.user;
        match notice {
            UserNotice::Joined { conversation, seq } => {
                if !self.node.users().first_sight(user, conversation, seq) {
                    self.node.joined(user, position, seq);
                    return;
                }
                let up_to = Seq(self.rooms[NEW].committed);
                let events = self.changes(NEW, seq);
                let view = view(conversation, KINDS[NEW], up_to);
                let backlog = Backlog { events, up_to };
                let mut shown = self.node.followed(user, position, seq, view, backlog);
                self.attend();
                assert!(shown.try_recv().unwrap(), "it was read as it stands");
            }
            UserNotice::Removed { .. } => {
                let (conversation, event) = notice.removal(user).unwrap();
                self.node.removed(user, position, conversation, event);
            }
        }
    }

    /// Everything is compared with PostgreSQL.
    fn sweep(&mut self) {
        for index in 0..ROOMS {
            let (id, seq) = (self.rooms[index].id, Seq(self.rooms[index].committed));
            self.node.checked(id, seq);
        }
        self.attend();
        if self.is_deaf {
            // What it finds before it hears that it was announced has no place: whoever breaks off just then is told it twice.
            return;
        }
        let mut found: Vec<UserNotice> = Vec::new();
        for (position, notice) in &self.notices {
            if position.micros + SKEW >= self.connected && !found.contains(notice) {
                found.push(notice.clone());
            }
        }
        self.reading
            .extend(found.into_iter().map(|notice| (None, notice)));
        // All that is known of has been shown before that is certain.
        while !self.reading.is_empty() {
            self.show_notice();
        }
        self.node.certain();
        self.attend();
    }

    /// All that is under way is done.
    pub(super) fn settle(&mut self) {
        if self.is_deaf {
            self.listen_again();
        }
        self.sweep();
        while !self.repairs.is_empty() || !self.reading.is_empty() {
            self.repair();
            self.show_notice();
        }
        self.tick();
    }

    fn listen_again(&mut self) {
        self.node.suspect();
        self.is_deaf = false;
        self.tick();
        self.node.trust();
    }

    pub(super) fn happen(&mut self, (what, whom, detail): Happening) {
        match what {
            0..=5 if whom == NEW && !self.has_begun() => self.begin(detail),
            0..=5 => self.say(whom, detail + 1),
            // Committed, and its worker died. Its successor says how far things have come, sooner or later.
            6 if whom != NEW => {
                self.commit(whom, 1);
                self.rooms[whom].unannounced = true;
            }
            7 | 8 if self.rooms[whom].committed > 0 => {
                let seq = self.rooms[whom].committed;
                self.rooms[whom].unannounced = false;
                self.announce(whom, vec![event(seq, Fact::Advanced)]);
            }
            9 | 10 => self.repair(),
            11 | 12 => self.show_notice(),
            // A worker died between the notice and its acknowledgement. Its successor does not wait for long.
            13 if self.has_begun_lately() => self.notify(self.joining()),
            14 => self.notify(UserNotice::Removed {
                conversation: ConversationId::generate(),
                seq: Seq(5),
                by: UserId::generate(),
                at: Timestamp::now(),
            }),
            15 if self.is_deaf => self.listen_again(),
            15 => self.is_deaf = true,
            16 => self.sweep(),
            // Nothing happens for long.
            SOON.. => {
                self.settle();
                self.clock += PAUSE;
                self.tick();
            }
            _ => self.tick(),
        }
    }
}
