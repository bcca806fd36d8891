//! One user's client: asks for things, and writes down what it asked and saw.
//!
//! It decides nothing: when to ask for what, and when to reconnect, is its driver's. It never waits.

mod ask;
mod place;
mod receive;

use std::collections::HashMap;
use std::sync::Arc;

use crate::client::recovery::Recovery;
use crate::client::{Connection, Kind};
use crate::index::at;
use crate::instruments::Instruments;
use crate::log::{ClientLog, History, Link, Outcome};
use crate::setup::{Population, spelled};
use place::Place;
pub use place::Progress;
use receive::Fields;

/// A user's client, across its connections.
#[derive(Debug)]
pub struct Member {
    log: ClientLog,
    client: u32,
    population: Arc<Population>,
    instruments: Arc<Instruments>,
    places: Vec<Place>,
    /// Where the last event belonged; the next one most likely belongs there, too.
    last_place: usize,
    asked: HashMap<u32, Asked>,
    next_ack: u32,
    fields: Fields,
    recovery: Recovery,
}

/// What an acknowledgement will answer.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Join(usize),
    Send(usize),
    Change(usize),
}

/// What came of something that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was answered.
    None,
    /// A join was.
    Joined,
    /// A join was refused; ask again.
    NotJoined,
    /// The message with this index is stored.
    Stored(usize),
    /// The message with this index may be stored or not; it is safe to send it again.
    Unsure(usize),
    /// Another change was answered, or a message was refused for good.
    Settled,
}

impl Member {
    /// The client of the user with index `client`, not connected yet.
    pub fn new(client: u32, population: Arc<Population>, instruments: Arc<Instruments>) -> Self {
        let place = |conversation| {
            let room = population.rooms.get(at(conversation))?;
            Some(Place::new(conversation, spelled(room.id.0)))
        };
        Self {
            log: ClientLog::default(),
            client,
            places: population.rooms_of(client).filter_map(place).collect(),
            population,
            instruments,
            last_place: 0,
            asked: HashMap::new(),
            next_ack: 0,
            fields: Fields::default(),
            recovery: Recovery::default(),
        }
    }

    /// What the client has written down so far.
    pub fn log(&self) -> &ClientLog {
        &self.log
    }

    /// What the client has written down.
    pub fn into_log(self) -> ClientLog {
        self.log
    }

    /// Its token.
    pub fn token(&self) -> &str {
        self.population
            .users
            .get(at(self.client))
            .map_or("", |user| &user.token)
    }

    /// What it remembers of its last session, to recover it.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// How many conversations it is in. They are named by a number below this.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// How far the client has come in each of its conversations, with the conversation's index.
    pub fn progress(&self) -> impl Iterator<Item = (u32, Progress)> + '_ {
        self.places
            .iter()
            .map(|place| (place.conversation, place.progress.clone()))
    }

    /// The newest message that the client has seen in one of its conversations.
    pub fn newest_message(&self, place: usize) -> Option<i64> {
        self.places
            .get(place)
            .map(|place| place.newest_message)
            .filter(|message| *message > 0)
    }

    /// How much it asked for that is not answered yet.
    pub fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Whether it gets the live events of all its conversations.
    pub fn has_joined(&self) -> bool {
        self.places.iter().all(|place| place.joined)
    }

    /// A connection is open. Where it recovered the session, everything goes on; else all conversations are joined anew.
    pub fn connected(&mut self, connection: &mut Connection, gateway: u32, kind: Kind, now: u64) {
        let first = self.log.connections.is_empty();
        let welcome = connection.welcome();
        let recovered = self.recovery.welcomed(welcome);
        self.log.connections.push(Link {
            gateway,
            kind,
            sid: welcome.sid.clone(),
            pid: welcome.pid.clone(),
            recovered,
            opened: now,
            closed: None,
        });
        for place in 0..self.places.len() {
            if !recovered {
                self.places[place].joined = false;
                self.places[place].caught_up &= first;
            }
            if !self.places[place].joined {
                self.join(connection, place);
            }
        }
    }

    /// Asks again for those conversations that are not joined yet.
    pub fn join_missing(&mut self, connection: &mut Connection) {
        for place in 0..self.places.len() {
            let asked = self
                .asked
                .values()
                .any(|asked| matches!(asked, Asked::Join(other) if *other == place));
            if !self.places[place].joined && !asked {
                self.join(connection, place);
            }
        }
    }

    fn join(&mut self, connection: &mut Connection, place: usize) {
        let payload = [
            b"{\"conversationId\":\"",
            &self.places[place].id[..],
            b"\"}",
        ]
        .concat();
        self.ask(connection, "joinRoom", &payload, Asked::Join(place));
    }

    /// The connection is over. What was not answered may have happened or not; those messages are handed back.
    pub fn disconnected(&mut self, now: u64) -> Vec<usize> {
        if let Some(link) = self.log.connections.last_mut() {
            link.closed = Some(now);
        }
        self.instruments.settled(self.asked.len());
        let mut unsure = Vec::new();
        for (_, asked) in self.asked.drain() {
            match asked {
                Asked::Join(_) => {}
                Asked::Send(send) if self.log.sends[send].is_done() => {}
                Asked::Send(send) => {
                    self.log.sends[send].outcome = Outcome::Unknown;
                    unsure.push(send);
                }
                Asked::Change(change) => self.log.changes[change].outcome = Outcome::Unknown,
            }
        }
        // The order in which they were sent first, not the map's.
        unsure.sort_unstable();
        unsure
    }

    /// Whether it gets the live events of one of its conversations, but has not read yet what it missed.
    pub fn needs_history(&self, place: usize) -> bool {
        self.places[place].joined && !self.places[place].caught_up
    }

    /// Up to which `seq` one of its conversations is known: a history need not be read back further.
    pub fn covered(&self, place: usize) -> i64 {
        self.places[place].covered
    }

    /// The id of one of its conversations, as it is written.
    pub fn place_id(&self, place: usize) -> String {
        String::from_utf8_lossy(&self.places[place].id).into_owned()
    }

    /// Writes a history down that was read on the present connection, back to what was [covered](Self::covered): ids and
    /// `seq`s, newest first.
    pub fn read_history(&mut self, place: usize, messages: Vec<(i64, u32)>) {
        let connection = self.connection();
        let here = &mut self.places[place];
        here.caught_up = true;
        here.covered = here.progress.seq();
        if let Some(&(message, seq)) = messages.first() {
            here.sees(message, i64::from(seq));
        }
        let conversation = here.conversation;
        self.log.histories.push(History {
            conversation,
            connection,
            messages,
        });
    }
}
