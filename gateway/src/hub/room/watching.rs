//! How a room looks after those who watch it without having joined, and what it wants to be done about them.

use std::time::Instant;

use confab_shared::id::Seq;

use super::tally::Reading;
use super::{Phase, Room};
use crate::hub::input::Counted;
use crate::hub::socket::SocketRef;

/// What became of a wish to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// The socket watches, or listens already.
    Watches,
    /// Memberships have changed since the caller looked: look again.
    Recheck,
}

/// What a room wants to be done that may wait.
#[derive(Debug, Default)]
pub struct Chores {
    /// How many sockets were told how much is unread.
    pub badges: u64,
    /// What has to be read before others are.
    pub reading: Option<Reading>,
    /// Everything up to this ordinal has reached somebody else than its sender.
    pub delivered: Option<i64>,
    /// When to ask again, whatever happens.
    pub due: Option<Instant>,
}

impl Room {
    /// A socket watches, whose user was a member when the conversation stood at `as_of`. `owed`: something has happened of which it may
    /// not know.
    pub fn watch(&mut self, socket: &SocketRef, as_of: Seq, owed: bool, now: Instant) -> Watching {
        if as_of < self.membership_seq {
            return Watching::Recheck;
        }
        if !self.listeners.contains(socket.key()) {
            self.idle_since = None;
            self.watchers
                .add(socket, as_of, owed || as_of < self.seq, now);
        }
        Watching::Watches
    }

    /// A socket watches no more.
    pub fn unwatch(&mut self, socket: &SocketRef, now: Instant) {
        self.watchers.remove(socket);
        self.touch(now);
    }

    /// A socket that listens will only watch from now on.
    pub fn step_back(&mut self, socket: &SocketRef, now: Instant) {
        if self.listeners.contains(socket.key()) {
            self.watchers.add(socket, self.seq, false, now);
        }
    }

    /// Whether a socket listens.
    pub fn listens(&self, socket: u64) -> bool {
        self.listeners.contains(socket)
    }

    /// Whether a socket watches.
    #[cfg(test)]
    pub(super) fn watches(&self, socket: &SocketRef) -> bool {
        self.watchers.contains(socket)
    }

    /// Counts of what watchers have not read were read.
    pub fn counted(&mut self, counted: Counted, now: Instant) {
        self.watchers.counted(counted, now);
    }

    /// Does what is due: ends what has not been repeated, tells watchers what they have not read. `ticket` names the reading that the room
    /// may ask for. While a gap is being repaired nobody is told anything: the count would be one of no moment.
    pub fn settle(&mut self, now: Instant, ticket: u64) -> Chores {
        let mut chores = Chores::default();
        if self.typists.due().is_some_and(|due| due <= now) {
            self.lapse_typing(now);
        }
        let mut due = self.typists.due();
        if self.phase == Phase::Live {
            if self.watchers.due().is_some_and(|due| due <= now) {
                let (conversation, listeners) = (self.conversation, &self.listeners);
                let told = self.watchers.settle(conversation, listeners, now, ticket);
                (chores.badges, chores.reading) = (told.badges, told.reading);
                self.delivered = self.delivered.max(told.delivered.unwrap_or(0));
            }
            due = match (due, self.watchers.due()) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        if self.delivered > self.delivered_told {
            self.delivered_told = self.delivered;
            chores.delivered = Some(self.delivered);
        }
        chores.due = due;
        chores
    }
}
