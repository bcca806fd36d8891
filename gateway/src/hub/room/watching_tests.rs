//! What watchers are told against a naive model: whatever happens in which order, and whatever of it is heard late, twice or not at all,
//! in the end each socket has been told what is so, and none too often.

mod truth;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_gateway_protocol::stomp::Version;
use confab_shared::id::UserId;
use confab_shared::model::position::Position;
use confab_shared::postgres::unread::Unread;
use proptest::prelude::*;
use serde_json::Value;

use super::{JoinOutcome, Wish};
use crate::dialect::stomp::{NOTIFICATIONS, Stomp, TOPIC};
use crate::hub::input::{Counted, Newest};
use crate::hub::room::Watching;
use crate::hub::room::tally::Reading;
use crate::hub::send_queue::SendQueue;
use crate::hub::socket::{Carrier, Socket, SocketRef};
use crate::hub::test_bench::{Bench, sent, socket};
use crate::session::stomp::{Framing, Subscription};
use truth::{Known, Truth};

const USERS: usize = 3;
const SOCKETS: usize = 2;

/// A client's socket, and what its client knows.
struct Client {
    user: usize,
    socket: SocketRef,
    joined: bool,
    watching: bool,
    known: Known,
    told_at: Option<Instant>,
}

struct World {
    bench: Bench,
    truth: Truth,
    clients: Vec<Client>,
    wish: Option<Wish>,
    /// Readings that were asked for, each with what PostgreSQL answered, once it has.
    readings: Vec<(u64, Reading, Option<Counted>)>,
    tickets: u64,
    micros: u64,
}

impl World {
    fn new() -> Self {
        let truth = Truth::new();
        let mut bench = Bench::new(4);
        assert_eq!(bench.opened(truth.conversation, truth.seq()), None);
        let mut clients = Vec::new();
        for user in (0..USERS).flat_map(|user| [user; SOCKETS]) {
            let socket = socket(truth.people[user].id);
            bench.users().add(socket.clone());
            clients.push(Client {
                user,
                socket,
                joined: false,
                watching: false,
                known: (0, None),
                told_at: None,
            });
        }
        Self {
            bench,
            truth,
            clients,
            wish: None,
            readings: Vec::new(),
            tickets: 0,
            micros: 0,
        }
    }

    fn announce(&mut self, from: usize) {
        let events = self.truth.events[from.min(self.truth.events.len())..].to_vec();
        self.micros += 1;
        let position = Position {
            micros: self.micros,
            index: 0,
        };
        let room = self.truth.conversation;
        let wished = self.bench.published(room, position, events);
        self.wish = self.wish.or(wished);
    }

    fn repair(&mut self) {
        if let Some(Wish::Repair(after)) = self.wish.take() {
            let (room, up_to) = (self.truth.conversation, self.truth.seq());
            let events = self.truth.changes(after);
            self.wish = self.bench.repaired(room, events, up_to, true);
        }
    }

    fn watch(&mut self, client: usize, owed: bool) {
        let (room, as_of) = (self.truth.conversation, self.truth.seq());
        let client = &mut self.clients[client];
        if !self.truth.present[client.user] || client.watching || client.joined {
            return;
        }
        if !owed {
            client.known = self.truth.states.last().unwrap()[client.user].clone();
        }
        client.watching = self.bench.watch(room, &client.socket, as_of, owed) == Watching::Watches;
        client.told_at = None;
    }

    fn join(&mut self, client: usize) {
        let (room, as_of) = (self.truth.conversation, self.truth.seq());
        let client = &mut self.clients[client];
        if !self.truth.present[client.user] || client.joined {
            return;
        }
        let outcome = self.bench.join(room, client.socket.clone(), as_of);
        if matches!(outcome, JoinOutcome::Joined(_)) {
            (client.joined, client.watching) = (true, false);
        }
    }

    fn leave(&mut self, client: usize) {
        let room = self.truth.conversation;
        let client = &mut self.clients[client];
        if client.joined {
            let seq = usize::try_from(self.bench.room(room).seq().0).unwrap();
            client.known = self.truth.states[seq][client.user].clone();
            self.bench.step_back(room, &client.socket);
            (client.joined, client.watching, client.told_at) = (false, true, None);
        }
    }

    /// PostgreSQL answers a reading, but the answer is still on its way.
    fn read(&mut self) {
        let seq = self.truth.seq();
        for (ticket, reading, counted) in &mut self.readings {
            if counted.is_some() {
                continue;
            }
            let truth = &self.truth;
            let of = |user: &UserId| truth.people.iter().position(|one| one.id == *user);
            let counts: HashMap<UserId, Unread> = reading
                .users
                .iter()
                .filter_map(|user| of(user).filter(|index| truth.present[*index]))
                .map(|index| {
                    let user = truth.people[index].id;
                    let unread = Unread {
                        conversation: truth.conversation,
                        user,
                        seq,
                        read_count: truth.read[index],
                        unread: truth.unread(index),
                        messages: truth.messages.last().map_or(0, |last| last.ordinal),
                    };
                    (user, unread)
                })
                .collect();
            *counted = Some(Counted {
                ticket: *ticket,
                users: reading.users.clone(),
                counts,
                last: if reading.last {
                    truth.messages.last().cloned().into()
                } else {
                    Newest::Unknown
                },
            });
        }
    }

    fn answer(&mut self) {
        let room = self.truth.conversation;
        for (.., counted) in self
            .readings
            .extract_if(.., |(.., counted)| counted.is_some())
        {
            self.bench.counted(room, counted.unwrap());
        }
    }

    /// What the actor does after each step, and what the clients then see.
    fn settle(&mut self) {
        self.tickets += 1;
        let chores = self.bench.settle(self.truth.conversation, self.tickets);
        if let Some(reading) = chores.reading {
            self.readings.push((self.tickets, reading, None));
        }
        let now = self.bench.now;
        for client in &mut self.clients {
            for packet in sent(&client.socket) {
                let mut values = serde_json::Deserializer::from_str(&packet).into_iter::<Value>();
                let packet = values.next().unwrap().unwrap();
                let own = self.truth.people[client.user].id.to_string();
                match packet[0].as_str().unwrap() {
                    "unreadCount" => {
                        assert!(client.watching, "told without watching: {packet}");
                        let since = client.told_at.replace(now);
                        assert!(
                            since.is_none_or(|at| now - at >= Duration::from_secs(1)),
                            "told too often"
                        );
                        client.known = known(&packet[1]);
                        // An edit or a deletion may be in the count before it is shown in the message.
                        let brief =
                            |(unread, last): &Known| (*unread, last.as_ref().map(|last| last.0));
                        let told = brief(&client.known);
                        let mut states = self.truth.states.iter();
                        assert!(
                            states.any(|state| brief(&state[client.user]) == told),
                            "never was so: {packet}"
                        );
                    }
                    "participantRemoved" if packet[1]["userId"] == own.as_str() => {
                        let room = self.truth.conversation;
                        let room = self.bench.room(room);
                        client.joined = room.listens(client.socket.key());
                        client.watching = client.watching && room.watches(&client.socket);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn known(badge: &Value) -> Known {
    let last = &badge["lastMessage"];
    let last = last.as_object().map(|last| {
        (
            last["_id"].as_str().unwrap().parse().unwrap(),
            last["isDeleted"].as_bool().unwrap(),
            last["content"].as_str().unwrap().to_owned(),
        )
    });
    (badge["unreadCount"].as_i64().unwrap(), last)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn what_watchers_are_told_is_so(
        steps in prop::collection::vec((0_u8..16, 0_usize..6, 0_u64..700), 1..120),
    ) {
        let mut world = World::new();
        for (step, detail, pause) in steps {
            let (user, back) = (detail % USERS, detail / USERS);
            let before = world.truth.events.len();
            match step {
                0..=3 => if world.truth.present[user] { world.truth.send(user) },
                4 | 5 => if world.truth.present[user] { world.truth.mark_read(user, back) },
                6 => world.truth.delete(detail),
                7 => world.truth.edit(back),
                8 => if user > 0 { world.truth.remove(user) },
                9 => world.truth.add(user),
                10 => world.watch(detail, false),
                11 => world.join(detail),
                12 => world.leave(detail),
                13 => world.repair(),
                14 => world.read(),
                _ => world.answer(),
            }
            // Some announcements are lost, some come late with others, some come again.
            if step <= 9 && pause % 4 != 0 {
                world.announce(before.saturating_sub(back));
            }
            world.bench.now += Duration::from_millis(pause);
            world.settle();
        }
        // What the sweep and time itself would do.
        for _ in 0..8 {
            let (room, seq) = (world.truth.conversation, world.truth.seq());
            let wished = world.bench.checked(room, seq);
            world.wish = world.wish.or(wished);
            world.repair();
            world.settle();
            world.read();
            world.answer();
            world.settle();
            world.bench.now += Duration::from_millis(1_100);
            world.settle();
        }
        prop_assert!(world.readings.is_empty());
        let truth = world.truth.states.last().unwrap();
        for client in &world.clients {
            if client.watching && world.truth.present[client.user] {
                prop_assert_eq!(&client.known, &truth[client.user]);
            }
        }
    }
}

#[test]
fn a_burst_before_the_first_count_is_told_at_once_and_whole() {
    let mut world = World::new();
    world.watch(2, false);
    let before = world.truth.events.len();
    for _ in 0..5 {
        world.truth.send(0);
    }
    world.announce(before);
    world.settle();
    world.read();
    let before = world.truth.events.len();
    world.truth.send(0);
    world.announce(before);
    world.settle();
    world.answer();
    world.settle();
    assert_eq!(world.clients[2].known.0, 6);
    // Then once a second, and the last state always.
    for _ in 0..3 {
        let before = world.truth.events.len();
        world.truth.send(0);
        world.announce(before);
        world.settle();
        assert_eq!(world.clients[2].known.0, 6);
    }
    world.bench.now += Duration::from_secs(1);
    world.settle();
    assert_eq!(world.clients[2].known.0, 9);
    assert!(world.readings.is_empty(), "nothing is read for a message");
}

#[test]
fn one_device_reads_and_the_other_is_told() {
    let mut world = World::new();
    world.watch(2, false);
    let (phone, laptop) = (2, 3);
    world.join(laptop);
    for (act, unread) in [(false, 1), (true, 0)] {
        let before = world.truth.events.len();
        if act {
            world.truth.mark_read(1, 0);
        } else {
            world.truth.send(0);
        }
        world.announce(before);
        world.settle();
        world.read();
        world.answer();
        world.settle();
        assert_eq!(world.clients[phone].known.0, unread);
        world.bench.now += Duration::from_secs(1);
    }
}

#[test]
fn a_session_that_has_subscribed_to_the_room_is_not_told_what_is_unread_there() {
    let mut world = World::new();
    let (room, user) = (world.truth.conversation, world.truth.people[1].id);
    let subscribe = |queue: &Arc<SendQueue>, dialect: &'static Stomp, id| {
        let subscription = Subscription::new(id, "/user/queue", Version::V1_2, Framing::Plain);
        let carrier = Carrier::Subscription(subscription);
        let socket = Socket::stomp(user, None, dialect, carrier, queue.clone());
        socket.release(|_| Vec::new());
        socket
    };
    let [busy, idle] = [(); 2].map(|()| Arc::new(SendQueue::new(1 << 20)));
    let topic = subscribe(&busy, &TOPIC, "room");
    let badges = [&busy, &idle].map(|queue| subscribe(queue, &NOTIFICATIONS, "badges"));
    let seq = world.truth.seq();
    for socket in &badges {
        let watching = world.bench.watch(room, socket, seq, false);
        assert_eq!(watching, Watching::Watches);
    }
    world.bench.join(room, topic.clone(), seq);
    let told = |world: &mut World| {
        let before = world.truth.events.len();
        world.truth.send(0);
        world.announce(before);
        for _ in 0..2 {
            world.settle();
            world.read();
            world.answer();
        }
        world.settle();
        world.bench.now += Duration::from_secs(1);
        [&busy, &idle].map(|queue| {
            let mut chunks = VecDeque::new();
            queue.take(&mut chunks);
            let bytes: Vec<u8> = chunks.into_iter().flatten().collect();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ["CHAT", "UNREAD"].map(|kind| text.contains(&format!("\"type\":\"{kind}\"")))
        })
    };
    assert_eq!(told(&mut world), [[true, false], [false, true]]);
    world.bench.leave(room, topic.key());
    assert_eq!(told(&mut world), [[false, true], [false, true]]);
}
