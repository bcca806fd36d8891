//! The sockets of members who have not joined a room and are shown how much they have not read there.
//!
//! Owns those sockets, and how they are told; what, the [tally](super::tally) knows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::event::Event;
use confab_shared::model::message::MessageStatus;
use confab_shared::model::timestamp::Timestamp;

use super::listeners::Listeners;
use super::tally::{Due, Reading, Tally};
use crate::dialect::{Badge, Namespace};
use crate::hub::input::Counted;
use crate::hub::socket::SocketRef;
use crate::session::stomp::Subscription;

/// Who watches a room.
#[derive(Debug)]
pub(super) struct Watchers {
    /// Each with the change as of which its user was a member.
    sockets: HashMap<UserId, Vec<(SocketRef, Seq)>>,
    tally: Tally,
}

/// What came of telling those who were to be told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How many sockets were.
    pub(super) badges: u64,
    /// The last message's ordinal, if somebody else than its sender learned of it.
    pub(super) delivered: Option<i64>,
    /// What has to be read before others can be.
    pub(super) reading: Option<Reading>,
}

impl Watchers {
    /// Nobody. Each member is told once in `interval` at the most.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            sockets: HashMap::new(),
            tally: Tally::new(interval),
        }
    }

    /// Whether nobody watches.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// One more socket watches, whose user was a member as of a change. `owed`: something has happened of which it may not know.
    pub(super) fn add(&mut self, socket: &SocketRef, as_of: Seq, owed: bool, now: Instant) {
        match self.sockets.entry(socket.user()) {
            Entry::Vacant(entry) => {
                entry.insert(vec![(Arc::clone(socket), as_of)]);
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                match known.iter_mut().find(|(one, _)| one.key() == socket.key()) {
                    Some((_, since)) => *since = as_of.max(*since),
                    None => known.push((Arc::clone(socket), as_of)),
                }
            }
        }
        self.tally.begin(socket.user(), owed, now);
    }

    /// Whether a socket watches.
    #[cfg(test)]
    pub(super) fn contains(&self, socket: &SocketRef) -> bool {
        let known = self.sockets.get(&socket.user()).into_iter().flatten();
        known
            .into_iter()
            .any(|(known, _)| known.key() == socket.key())
    }

    /// A socket watches no more.
    pub(super) fn remove(&mut self, socket: &SocketRef) {
        let user = socket.user();
        let Entry::Occupied(mut entry) = self.sockets.entry(user) else {
            return;
        };
        entry
            .get_mut()
            .retain(|(known, _)| known.key() != socket.key());
        if entry.get().is_empty() {
            entry.remove();
            self.tally.end(user);
        }
    }

    /// A user was removed by this change: its sockets watch no more, but for those that are known to be in again already.
    pub(super) fn remove_user(&mut self, user: UserId, seq: Seq) {
        let Entry::Occupied(mut entry) = self.sockets.entry(user) else {
            return;
        };
        entry.get_mut().retain(|(_, as_of)| *as_of > seq);
        if entry.get().is_empty() {
            entry.remove();
            self.tally.end(user);
        }
    }

    /// A change is being shown.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        self.tally.hear(event, now);
    }

    /// Counts were read.
    pub(super) fn counted(&mut self, counted: Counted, now: Instant) {
        self.tally.counted(counted, now);
    }

    /// When somebody may be to be told next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.tally.due()
    }

    /// Tells those who are to be told now, but for sessions that have subscribed to the room besides. Each different badge is encoded once,
    /// and addressed once to subscriptions that look alike.
    pub(super) fn settle(
        &mut self,
        conversation: ConversationId,
        listeners: &Listeners,
        now: Instant,
        ticket: u64,
    ) -> Told {
        let (due, reading) = self.tally.settle(now, ticket);
        let mut told = Told {
            reading,
            ..Told::default()
        };
        let (last, at) = (self.tally.last(), Timestamp::now());
        let mut encoded: HashMap<(&str, Namespace, i64, MessageStatus), Bytes> = HashMap::new();
        let mut addressed: HashMap<(&Subscription, i64, MessageStatus), Bytes> = HashMap::new();
        for Due {
            user,
            unread,
            status,
        } in due
        {
            let badge = Badge {
                conversation,
                unread,
                last,
                status,
                at,
            };
            for (socket, _) in self.sockets.get(&user).into_iter().flatten() {
                let (dialect, namespace) = (socket.dialect(), socket.namespace());
                let mut frames = &*encoded
                    .entry((dialect.id(), namespace, unread, status))
                    .or_insert_with(|| dialect.unread(namespace, badge));
                if let Some(subscription) = socket.subscription() {
                    if listeners.attends(socket) {
                        continue;
                    }
                    frames = addressed
                        .entry((subscription, unread, status))
                        .or_insert_with(|| socket.addressed(frames.clone()));
                }
                if !frames.is_empty() && socket.push(frames.clone()) {
                    told.badges += 1;
                    told.delivered = told.delivered.max(
                        last.filter(|last| last.sender.id != user)
                            .map(|last| last.ordinal),
                    );
                }
            }
        }
        told
    }
}
