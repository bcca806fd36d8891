//! A node, a client that follows several rooms on it, and everything that can go wrong on the way: wherever the client breaks off, what
//! it has seen and what it is then told make up all that happened, once, in order.

use std::collections::HashMap;

use confab_shared::id::UserId;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::timestamp::Timestamp;
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
    micros: u64,
    wishes: Vec<Option<Wish>>,
    doubts: u64,
    deaf: bool,
}

impl World {
    fn new(listener: &SocketRef) -> Self {
        let mut world = Self {
            bench: Bench::new(2),
            rooms: (0..ROOMS).map(|_| ConversationId::generate()).collect(),
            committed: vec![0; ROOMS],
            unannounced: vec![false; ROOMS],
            histories: vec![Vec::new(); ROOMS],
            micros: 1_000_000,
            wishes: vec![None; ROOMS],
            doubts: 0,
            deaf: false,
        };
        for room in world.rooms.clone() {
            world.bench.opened(room, Seq(0));
            world.bench.join(room, listener.clone(), Seq(0));
        }
        world.tick();
        world
    }

    fn tick(&mut self) {
        self.micros += 1;
        if !self.deaf {
            self.bench.arrived(Position {
                micros: self.micros,
                index: 0,
            });
        }
    }

    fn announce(&mut self, room: usize, events: Vec<Event>) {
        self.micros += 1;
        let at = Position {
            micros: self.micros,
            index: 3,
        };
        let placed = events.iter().cloned().enumerate();
        self.histories[room].extend(placed.map(|(index, event)| (at.plus(index), event)));
        if !self.deaf {
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

    /// The connection to Redis is lost, or is back.
    fn toggle_deafness(&mut self) {
        if self.deaf {
            self.doubts += 1;
            self.bench.doubt(self.doubts);
        }
        self.deaf = !self.deaf;
    }

    fn sweep(&mut self) {
        if self.deaf {
            return;
        }
        for room in 0..ROOMS {
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
            12 => self.toggle_deafness(),
            13 => self.sweep(),
            _ => self.tick(),
        }
    }

    /// What a client at this place is told, or that it cannot be told.
    fn recover(&self, offset: &str) -> Option<(Vec<Step>, Replay)> {
        let since: Offset = offset.parse().expect("an offset that we wrote");
        if since.doubtful {
            return None;
        }
        let cut = Position {
            micros: self.micros,
            index: u32::MAX,
        };
        let mut parts = Vec::new();
        for (index, room) in self.rooms.iter().enumerate() {
            let history = self.histories[index].clone();
            let target = Seq(self.committed[index]);
            let place = Place {
                kind: ConversationKind::Group,
                conversation: *room,
                last_seq: target,
                changed_at: Timestamp::now(),
                joined_seq: Some(Seq(0)),
            };
            let shown = shown_until(&since, &history, Seq(0), &place)?;
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
                missed: fill(shown, history, &holes, fillings),
            });
        }
        let mut replay = Replay::new(&since, cut, parts, Vec::new());
        Some((replay.steps(), replay))
    }

    /// Whether the client has seen everything, once, in order.
    fn complete(&self, client: &Client) -> Result<(), String> {
        for (index, room) in self.rooms.iter().enumerate() {
            let seen = client.seen.get(room).cloned().unwrap_or_default();
            let expected: Vec<i64> = (1..=self.committed[index]).collect();
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
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn wherever_a_client_breaks_off_it_misses_nothing_and_sees_nothing_twice(
        steps in prop::collection::vec((0_u8..16, 0_usize..ROOMS, 0_i64..3), 1..80),
        broken_off in any::<prop::sample::Index>(),
        broken_again in any::<prop::sample::Index>(),
        later in prop::collection::vec((0_u8..12, 0_usize..ROOMS, 0_i64..3), 0..20),
    ) {
        let socket = socket(UserId::generate());
        let mut world = World::new(&socket);
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
