//! A node, a client that follows several rooms on it, and everything that can go wrong on the way: wherever the client breaks off, what
//! it has seen and what it is then told make up all that happened, once, in order.

mod deployment;
mod returning;

use std::collections::HashMap;

use confab_shared::id::UserId;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::memberships::Place;
use proptest::prelude::*;

use super::*;
use crate::hub::socket::SocketRef;
use crate::hub::test_bench::{Bench, Wish, deleted, event, field, sent, socket};

const ROOMS: usize = 3;

/// What a client has got: per room the changes, and its place.
#[derive(Debug, Clone, Default)]
struct Client {
    seen: HashMap<ConversationId, Vec<i64>>,
    offset: Option<String>,
}

impl Client {
    fn take(&mut self, room: ConversationId, seq: i64, offset: &str) {
        self.seen.entry(room).or_default().push(seq);
        self.offset = Some(offset.to_owned());
    }
}

/// The node and what stands behind it.
struct World {
    bench: Bench,
    rooms: Vec<ConversationId>,
    committed: Vec<i64>,
    /// Whether the last change was committed by a worker that died before it could announce it.
    unannounced: Vec<bool>,
    /// What Redis has: for each room its announcements.
    histories: Vec<Vec<(Position, Event)>>,
    orders: Orders,
    clock: u64,
    wishes: Vec<Option<Wish>>,
    doubts: u64,
    suspicions: u64,
    /// Of each order, whether the channels that were subscribed to have been lost, unnoticed.
    deaf: Vec<bool>,
    /// The client, and the room that it has not joined yet; where it stood when it did.
    listener: SocketRef,
    late: Option<usize>,
    floor: i64,
    /// Whether that room was subscribed to while the others of its order were lost.
    alone: bool,
}

/// The room that is joined last, and is in the first one's order.
const LATE: usize = 2;
/// How much each partition's clock is behind the former one's.
const SKEW: u64 = 3;

impl World {
    fn new(listener: &SocketRef, orders: Orders) -> Self {
        let in_order = |index: usize| loop {
            let room = ConversationId::generate();
            if usize::from(orders.of_room(room).0) == index % 2 % orders.count() {
                return room;
            }
        };
        let mut world = Self {
            bench: Bench::on(orders, 2),
            rooms: (0..ROOMS).map(in_order).collect(),
            committed: vec![0; ROOMS],
            unannounced: vec![false; ROOMS],
            histories: vec![Vec::new(); ROOMS],
            orders,
            clock: 1_000_000,
            wishes: vec![None; ROOMS],
            doubts: 0,
            suspicions: 0,
            deaf: vec![false; orders.count()],
            listener: listener.clone(),
            late: Some(LATE),
            floor: 0,
            alone: false,
        };
        for room in 0..LATE {
            world.open(room);
        }
        world.tick();
        world
    }

    fn all(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..u16::try_from(self.orders.count()).unwrap()).map(Partition)
    }

    fn order(&self, room: usize) -> Partition {
        self.orders.of_room(self.rooms[room])
    }

    fn is_deaf(&self, order: Partition) -> bool {
        self.deaf[usize::from(order.0)]
    }

    fn now(&self, order: Partition, index: u32) -> Position {
        let micros = self.clock - SKEW * u64::from(order.0);
        Position { micros, index }
    }

    fn open(&mut self, index: usize) {
        let (room, at) = (self.rooms[index], Seq(self.committed[index]));
        let wish = self.bench.opened(room, at);
        self.wishes[index] = self.wishes[index].or(wish);
        self.bench.join(room, self.listener.clone(), at);
    }

    /// The client joins its last room. If the others of its order are not heard just then, this one is.
    fn join_late(&mut self) {
        let Some(room) = self.late.take() else { return };
        self.floor = self.committed[room];
        self.alone = self.is_deaf(self.order(room));
        if self.alone && !self.orders.is_split() {
            // The new connection is noticed before anything is heard on it.
            self.suspicions += 1;
            self.bench.suspect(self.suspicions);
        }
        self.open(room);
    }

    fn tick(&mut self) {
        self.clock += 1;
        let beat = self.bench.speak();
        for order in self.all() {
            if !self.is_deaf(order) {
                self.bench.arrived(order, self.now(order, 0), beat);
            }
        }
    }

    fn announce(&mut self, room: usize, events: Vec<Event>) {
        self.clock += 1;
        let at = self.now(self.order(room), 3);
        let placed = events.iter().cloned().enumerate();
        self.histories[room].extend(placed.map(|(index, event)| (at.plus(index), event)));
        let is_heard = !self.is_deaf(self.order(room)) || room == LATE && self.alone;
        if is_heard && self.late != Some(room) {
            let wish = self.bench.published(self.rooms[room], at, events);
            self.wishes[room] = self.wishes[room].or(wish);
        }
    }

    fn answer(&mut self, room: usize) {
        if let Some(Wish::Repair(after)) = self.wishes[room].take() {
            let events = (after.0 + 1..=self.committed[room]).map(deleted).collect();
            let up_to = Seq(self.committed[room]);
            self.wishes[room] = self.bench.repaired(self.rooms[room], events, up_to, true);
        }
    }

    /// What is subscribed to in an order is lost, or is found to have been, and subscribed to again.
    fn toggle_deafness(&mut self, order: Partition) {
        let index = usize::from(order.0);
        if !self.deaf[index] {
            self.deaf[index] = true;
            return;
        }
        self.suspicions += 1;
        self.bench.suspect(self.suspicions);
        self.deaf[index] = false;
        if order == self.order(LATE) {
            self.alone = false;
        }
        self.tick();
        self.doubts += 1;
        self.bench.doubt(self.doubts);
        self.bench.trust(self.suspicions);
    }

    fn sweep(&mut self) {
        for room in (0..ROOMS).filter(|room| self.late != Some(*room)) {
            let seq = Seq(self.committed[room]);
            let wish = self.bench.checked(self.rooms[room], seq);
            self.wishes[room] = self.wishes[room].or(wish);
        }
        self.bench.certain(self.doubts);
    }

    fn step(&mut self, step: u8, room: usize, detail: i64) {
        match step {
            0..=5 => {
                let before = self.committed[room];
                self.committed[room] += detail + 1;
                let mut events: Vec<Event> =
                    (before + 1..=self.committed[room]).map(deleted).collect();
                if std::mem::take(&mut self.unannounced[room]) {
                    // Workers process what was pending before what is new.
                    events.insert(0, event(before, Fact::Advanced));
                }
                self.announce(room, events);
            }
            // Committed, and its worker died.
            6 => {
                self.committed[room] += 1;
                self.unannounced[room] = true;
            }
            // Its successor says how far things have come.
            7 | 8 => {
                let seq = self.committed[room];
                if seq > 0 {
                    self.unannounced[room] = false;
                    self.announce(room, vec![event(seq, Fact::Advanced)]);
                }
            }
            9..=11 => self.answer(room),
            12 => self.toggle_deafness(self.order(room)),
            13 => self.sweep(),
            14 => self.join_late(),
            _ => self.tick(),
        }
    }

    /// What a client at this place is told, or that it cannot be told.
    fn recover(&self, offset: &str) -> Option<(Vec<Step>, Replay)> {
        let since: Offset = offset.parse().expect("an offset that we wrote");
        if since.doubtful {
            return None;
        }
        let mut cut = Places::beginning(self.orders);
        for order in self.all() {
            cut.advance(order, self.now(order, u32::MAX));
        }
        let mut parts = Vec::new();
        for (index, room) in self.rooms.iter().enumerate() {
            if self.late == Some(index) {
                continue;
            }
            let floor = Seq(if index == LATE { self.floor } else { 0 });
            let history = self.histories[index].clone();
            let target = Seq(self.committed[index]);
            let place = Place {
                kind: ConversationKind::Group,
                conversation: *room,
                last_seq: target,
                changed_at: Timestamp::now(),
                joined_seq: Some(Seq(0)),
            };
            let shown = shown_until(&since, self.orders, &history, floor, &place)?;
            let announced = history
                .iter()
                .filter_map(|(position, event)| Some((*position, event.seq?)))
                .collect();
            let holes = holes(shown, &history, target);
            let fillings = holes
                .iter()
                .map(|hole| (hole.after.0 + 1..=hole.until.0).map(deleted).collect())
                .collect();
            parts.push(RoomPart {
                conversation: *room,
                shown,
                regular: since.exception(*room).is_none(),
                announced,
                filled: !holes.is_empty(),
                missed: fill(shown, history, &holes, fillings),
            });
        }
        let user = self.listener.user();
        let mut replay = Replay::new(
            self.orders,
            user,
            &since,
            &cut,
            parts,
            NoticePart::default(),
        );
        Some((replay.steps(), replay))
    }

    /// Whether the client has seen everything, once, in order.
    fn complete(&self, client: &Client) -> Result<(), String> {
        for (index, room) in self.rooms.iter().enumerate() {
            let seen = client.seen.get(room).cloned().unwrap_or_default();
            let floor = if index == LATE { self.floor } else { 0 };
            let expected: Vec<i64> = (floor + 1..=self.committed[index]).collect();
            if self.late == Some(index) {
                continue;
            }
            if seen != expected {
                return Err(format!(
                    "room {index}: {seen:?} of {expected:?}, at {:?}",
                    client.offset
                ));
            }
        }
        Ok(())
    }
}

/// What a socket was sent: which room, which change, which offset.
fn frames(socket: &SocketRef) -> Vec<(ConversationId, i64, String)> {
    sent(socket)
        .iter()
        .map(|packet| {
            let (_, offset) = packet.split_once("},\"").unwrap();
            let offset = offset.split('"').next().unwrap().to_owned();
            let room = field(packet, "conversationId").unwrap().parse().unwrap();
            let seq = field(packet, "messageId").unwrap().parse().unwrap();
            (room, seq, offset)
        })
        .collect()
}

fn take_steps(client: &mut Client, steps: &[Step]) {
    for step in steps {
        if let Missed::Event(room, event) = &step.missed {
            client.take(*room, event.seq.unwrap().0, &step.offset);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn wherever_a_client_breaks_off_it_misses_nothing_and_sees_nothing_twice(
        steps in prop::collection::vec((0_u8..16, 0_usize..ROOMS, 0_i64..3), 1..80),
        broken_off in any::<prop::sample::Index>(),
        broken_again in any::<prop::sample::Index>(),
        is_split: bool,
        later in prop::collection::vec((0_u8..12, 0_usize..ROOMS, 0_i64..3), 0..20),
    ) {
        let orders = if is_split { Orders::of_partitions(2) } else { Orders::ONE };
        let socket = socket(UserId::generate());
        let mut world = World::new(&socket, orders);
        for (step, room, detail) in steps {
            world.step(step, room, detail);
        }
        let got = frames(&socket);
        let mut client = Client::default();
        if got.is_empty() {
            return Ok(());
        }
        for (room, seq, offset) in &got[..=broken_off.index(got.len())] {
            client.take(*room, *seq, offset);
        }
        let gone_on = |world: &mut World| {
            for (step, room, detail) in &later {
                world.step(*step, *room, *detail);
            }
        };
        let Some((steps, _)) = world.recover(client.offset.as_deref().unwrap()) else {
            return Ok(());
        };
        // It breaks off again while it is told, and more happens meanwhile.
        let until = broken_again.index(steps.len() + 1);
        take_steps(&mut client, &steps[..until]);
        if until == steps.len() {
            world.complete(&client).map_err(TestCaseError::fail)?;
        }
        gone_on(&mut world);
        let Some((steps, _)) = world.recover(client.offset.as_deref().unwrap()) else {
            return Ok(());
        };
        take_steps(&mut client, &steps);
        world.complete(&client).map_err(TestCaseError::fail)?;
    }
}
