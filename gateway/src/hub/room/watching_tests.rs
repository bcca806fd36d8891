//! What watchers are told against a naive model: whatever happens in which order, and whatever of it is heard late, twice or not at all,
//! in the end each socket has been told what is so, and none too often.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::conversation::{MemberRole, Participant};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::message::Message;
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::unread::Unread;
use proptest::prelude::*;
use serde_json::Value;

use super::{JoinOutcome, Wish};
use crate::hub::input::Counted;
use crate::hub::room::Watching;
use crate::hub::room::tally::Reading;
use crate::hub::socket::SocketRef;
use crate::hub::test_bench::{Bench, event, sent, socket};

const USERS: usize = 3;
const SOCKETS: usize = 2;

/// How much a member has not read, and the last message with its last change.
type Known = (i64, Option<(i64, bool, String)>);

/// The conversation as PostgreSQL has it.
struct Truth {
    conversation: ConversationId,
    people: Vec<Arc<Profile>>,
    events: Vec<Event>,
    messages: Vec<Message>,
    read: Vec<i64>,
    present: Vec<bool>,
    /// What was so after each change.
    states: Vec<Vec<Known>>,
}

impl Truth {
    fn new() -> Self {
        let people = (0..USERS).map(|_| {
            Arc::new(Profile {
                id: UserId::generate(),
                username: "ann".into(),
                name: "Ann".into(),
                avatar: None,
                account: AccountRole::User,
            })
        });
        let mut truth = Self {
            conversation: ConversationId::generate(),
            people: people.collect(),
            events: Vec::new(),
            messages: Vec::new(),
            read: vec![0; USERS],
            present: vec![true; USERS],
            states: Vec::new(),
        };
        truth.states.push(truth.state());
        let by = truth.people[0].id;
        truth.commit(Fact::ConversationCreated { by });
        truth
    }

    fn seq(&self) -> Seq {
        Seq(i64::try_from(self.events.len()).unwrap())
    }

    fn next(&self) -> Seq {
        self.seq().next()
    }

    fn unread(&self, user: usize) -> i64 {
        let later = self
            .messages
            .iter()
            .filter(|message| message.ordinal > self.read[user] && message.deleted_at.is_none());
        i64::try_from(later.count()).unwrap()
    }

    fn state(&self) -> Vec<Known> {
        let last = self.messages.last().map(|last| {
            (
                last.id.0,
                last.deleted_at.is_some(),
                last.shown_content().to_owned(),
            )
        });
        (0..USERS)
            .map(|user| (self.unread(user), last.clone()))
            .collect()
    }

    fn commit(&mut self, fact: Fact) {
        let seq = self.next();
        self.events.push(event(seq.0, fact));
        self.states.push(self.state());
    }

    fn send(&mut self, user: usize) {
        let ordinal = i64::try_from(self.messages.len()).unwrap() + 1;
        let message = Message {
            id: MessageId(ordinal),
            conversation: self.conversation,
            seq: self.next(),
            change_seq: self.next(),
            ordinal,
            sender: self.people[user].clone(),
            message_type: "text".into(),
            content: "first".into(),
            reply_to: None,
            created_at: Timestamp::now(),
            edited_at: None,
            deleted_at: None,
        };
        self.messages.push(message.clone());
        self.read[user] = ordinal;
        self.commit(Fact::MessageStored {
            message,
            temp_id: None,
        });
    }

    /// A message, counted back from the last one.
    fn edit(&mut self, back: usize) {
        let (seq, count) = (self.next(), self.messages.len());
        let Some(index) = count.checked_sub(back + 1) else {
            return;
        };
        let message = &mut self.messages[index];
        if message.deleted_at.is_some() {
            return;
        }
        message.content = format!("changed by {seq}").into();
        (message.change_seq, message.edited_at) = (seq, Some(Timestamp::now()));
        let message = message.clone();
        self.commit(Fact::MessageEdited { message });
    }

    fn delete(&mut self, back: usize) {
        let (seq, count) = (self.next(), self.messages.len());
        let Some(index) = count.checked_sub(back + 1) else {
            return;
        };
        let message = &mut self.messages[index];
        if message.deleted_at.is_some() {
            return;
        }
        (message.change_seq, message.deleted_at) = (seq, Some(Timestamp::now()));
        message.content = "".into();
        let (message, by) = (message.id, message.sender.id);
        self.commit(Fact::MessageDeleted { message, by });
    }

    fn mark_read(&mut self, user: usize, back: usize) {
        let count = self.messages.len();
        let read_count = i64::try_from(count.saturating_sub(back)).unwrap();
        if read_count <= self.read[user] {
            return;
        }
        self.read[user] = read_count;
        let user = self.people[user].id;
        self.commit(Fact::MessagesRead {
            user,
            message: None,
            read_count,
        });
    }

    fn remove(&mut self, user: usize) {
        if std::mem::replace(&mut self.present[user], false) {
            let (user, by) = (self.people[user].id, self.people[0].id);
            self.commit(Fact::MemberRemoved { user, by });
        }
    }

    fn add(&mut self, user: usize) {
        if !std::mem::replace(&mut self.present[user], true) {
            self.read[user] = i64::try_from(self.messages.len()).unwrap();
            let member = Participant {
                profile: Profile::clone(&self.people[user]),
                role: MemberRole::Member,
                is_online: false,
            };
            self.commit(Fact::MembersAdded {
                members: vec![member],
            });
        }
    }

    /// What is found when it is read back later: of each row, what it is now, and its last change.
    fn changes(&self, after: Seq) -> Vec<Event> {
        let is_last = |found: &Event, same: &dyn Fn(&Fact) -> bool| {
            let last = self.events.iter().rfind(|event| same(&event.fact));
            last.is_some_and(|last| last.seq == found.seq)
        };
        let present = |user: UserId| {
            let index = self.people.iter().position(|one| one.id == user).unwrap();
            self.present[index]
        };
        let later = self.events.iter().filter(|event| event.seq > Some(after));
        later
            .filter_map(|event| {
                let mut event = event.clone();
                let found = event.clone();
                let stays = match &mut event.fact {
                    Fact::MessageStored { message, .. } => {
                        *message = self.now(message.id);
                        true
                    }
                    Fact::MessageEdited { message } => {
                        *message = self.now(message.id);
                        Some(message.change_seq) == event.seq
                    }
                    Fact::MessagesRead { user, .. } => {
                        let user = *user;
                        is_last(&found, &|fact| {
                            matches!(fact, Fact::MessagesRead { user: other, .. } if *other == user)
                        })
                    }
                    Fact::MemberRemoved { user, .. } => {
                        let user = *user;
                        !present(user)
                            && is_last(&found, &|fact| {
                                matches!(fact, Fact::MemberRemoved { user: other, .. } if *other == user)
                            })
                    }
                    Fact::MembersAdded { members } => {
                        let user = members[0].profile.id;
                        present(user)
                            && is_last(&found, &|fact| {
                                matches!(fact, Fact::MembersAdded { members } if members[0].profile.id == user)
                            })
                    }
                    _ => true,
                };
                stays.then_some(event)
            })
            .collect()
    }

    fn now(&self, id: MessageId) -> Message {
        let mut all = self.messages.iter();
        all.find(|message| message.id == id).unwrap().clone()
    }
}

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
                    };
                    (user, unread)
                })
                .collect();
            *counted = Some(Counted {
                ticket: *ticket,
                users: reading.users.clone(),
                counts,
                last: reading.last.then(|| truth.messages.last().cloned()),
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
    #![proptest_config(ProptestConfig::with_cases(512))]
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
