//! One room on this node: who listens, how far it has come, and what waits for a gap to be repaired.
//!
//! A state machine without I/O: events and answers go in, frames go to sockets' queues, wishes come out.

mod count;
mod joining;
mod listeners;
mod placing;
mod show;
mod tally;
mod typing;
mod typists;
mod watchers;
mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::conversation::Subject;
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::position::Position;

use super::order::{Order, UNPROVEN};
use super::socket::SocketRef;
use super::users::Users;
use crate::dialect::{Called, Shown};
pub use joining::{Backlog, JoinOutcome, Joining};
use listeners::Listeners;
pub use listeners::show_to;
pub use show::{Showing, Source};
use typists::Typists;
use watchers::Watchers;
pub use watching::{Chores, Watching};

/// The most events in one chunk of frames: a long repair or a burst must not fill a socket's queue with one push.
const MAX_CHUNK: usize = 64;

/// What a room wants from those who can do I/O. Each room has at most one wish open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Subscribe to the room's channel, then say how far the conversation has come.
    Open,
    /// Read what changed after this.
    Repair(Seq),
}

/// How a room stands with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not subscribed yet, or its place is not known yet: everything is held back.
    Opening,
    /// Everything up to `seq` was shown.
    Live,
    /// Something after `seq` is missing: what comes later is held back.
    Repairing,
}

/// What a room needs of the node while it shows something.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The connected users.
    pub users: &'a Users,
    /// The node's place in the order of announcements.
    pub order: &'a mut Order,
    /// What was shown, to be counted.
    pub shown: &'a mut Vec<Showing>,
    /// The present.
    pub now: Instant,
}

/// What all rooms keep to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many events may wait for a gap to be repaired.
    pub max_held: usize,
    /// How long somebody types who says no more of it.
    pub typing: Duration,
    /// How often somebody is told how much is unread, at the most.
    pub badges: Duration,
}

/// An event, and where it was announced; nowhere, if it was read from PostgreSQL.
type Placed = (Option<Position>, Event);

/// A room with its listeners.
#[derive(Debug)]
pub struct Room {
    conversation: ConversationId,
    subject: Arc<Subject>,
    phase: Phase,
    /// The last change shown.
    seq: Seq,
    /// Where the room began on this node: changes up to here were never shown by it.
    baseline: Seq,
    /// The last change of memberships that the room knows to have happened, its baseline included.
    membership_seq: Seq,
    /// The last change whose announcement has arrived.
    announced: Seq,
    /// The last announcement that Redis keeps, as it was found when a gap was repaired: it may never arrive.
    kept: Option<(Position, Seq)>,
    /// Whether what was shown differs from what was announced: a gap is open, or its repair went ahead of the announcements.
    diverged: bool,
    /// The last of what was heard that is not known to have been heard in time: see [`Order::advance`].
    unclaimed: Option<Position>,
    /// The node's last beat when the room's channel had been subscribed to.
    heard_since: u64,
    listeners: Listeners,
    typists: Typists,
    watchers: Watchers,
    /// The last ordinal that has reached somebody else than its sender here, and what of that was told.
    delivered: i64,
    delivered_told: i64,
    held: BTreeMap<Seq, Event>,
    held_overflowed: bool,
    max_held: usize,
    idle_since: Option<Instant>,
}

impl Room {
    /// A room that nobody listens to yet. Its first wish is [`Wish::Open`].
    pub fn new(conversation: ConversationId, limits: Limits) -> Self {
        Self {
            conversation,
            subject: Arc::new(Subject::unknown(conversation)),
            phase: Phase::Opening,
            seq: Seq(0),
            baseline: Seq(0),
            membership_seq: Seq(0),
            announced: Seq(0),
            kept: None,
            diverged: false,
            unclaimed: None,
            heard_since: UNPROVEN,
            listeners: Listeners::default(),
            typists: Typists::new(limits.typing),
            watchers: Watchers::new(limits.badges),
            delivered: 0,
            delivered_told: 0,
            held: BTreeMap::new(),
            held_overflowed: false,
            max_held: limits.max_held,
            idle_since: None,
        }
    }

    /// Whether the room shows events as they come (or waits for a repair), rather than being opened.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Opening
    }

    /// The last change shown.
    #[cfg(test)]
    fn seq(&self) -> Seq {
        self.seq
    }

    /// Whether everything up to this change has been shown.
    pub fn has_shown(&self, seq: Seq) -> bool {
        self.is_open() && self.seq >= seq
    }

    /// Whether this room, being open, has shown this change or will.
    pub fn covers(&self, seq: Seq) -> bool {
        self.baseline < seq
    }

    /// Since when nobody listens or watches.
    pub fn idle_since(&self) -> Option<Instant> {
        self.idle_since.filter(|_| self.is_open())
    }

    /// Nobody may be waiting for it: it starts to be idle now.
    pub fn touch(&mut self, now: Instant) {
        self.idle_since = if self.listeners.is_empty() && self.watchers.is_empty() {
            self.idle_since.or(Some(now))
        } else {
            None
        };
    }

    /// What is to be known of the conversation.
    pub fn describe(&mut self, subject: Arc<Subject>) {
        self.subject = subject;
    }

    /// The room's channel is subscribed, behind the node's beat `since`, and the conversation had come to `seq` after that.
    pub fn opened(&mut self, seq: Seq, since: u64, stage: &mut Stage<'_>) -> Option<Wish> {
        self.heard_since = since.min(self.heard_since);
        if self.is_open() {
            return self.checked(seq, stage.order);
        }
        self.phase = Phase::Live;
        (self.seq, self.baseline, self.membership_seq) = (seq, seq, seq);
        self.release(stage)
    }

    /// Whether what was read when the conversation stood at `as_of`, with its changes up to `up_to`, is as much as the room knows.
    pub fn is_level_with(&self, as_of: Seq, up_to: Seq) -> bool {
        as_of >= self.membership_seq && up_to >= self.seq
    }

    /// A socket joins.
    pub fn join(&mut self, joining: Joining, order: &mut Order) -> JoinOutcome {
        let Joining {
            socket,
            called,
            as_of,
            backlog,
        } = joining;
        if self.listeners.contains(socket.key()) {
            return JoinOutcome::AlreadyIn(self.seq);
        }
        let up_to = backlog.as_ref().map_or(self.seq, |backlog| backlog.up_to);
        if !self.is_level_with(as_of, up_to) {
            return JoinOutcome::Recheck;
        }
        self.idle_since = None;
        if let Some(backlog) = backlog {
            self.show_backlog(&socket, called, &backlog.events, order);
        }
        self.watchers.remove(&socket);
        self.show_typists(&socket, called);
        self.listeners.add(socket, called);
        self.place(order);
        JoinOutcome::Joined(self.seq)
    }

    /// Shows a socket what happened up to where the room stands; what is later, the room shows itself.
    fn show_backlog(
        &mut self,
        socket: &SocketRef,
        called: Called,
        events: &[Event],
        order: &mut Order,
    ) {
        for event in events {
            let Some(seq) = event.seq.filter(|seq| *seq <= self.seq) else {
                break;
            };
            // For this socket the room has come no further, wherever it stands for others.
            order.except_room(self.conversation, Some(seq));
            let stamp = order.stamp();
            let shown = Shown {
                event,
                offset: stamp.as_deref(),
            };
            show_to(socket, &self.subject, called, shown);
            if let Fact::MessageStored { message, .. } = &event.fact
                && message.sender.id != socket.user()
            {
                self.delivered = self.delivered.max(message.ordinal);
            }
        }
    }

    /// A socket leaves.
    pub fn leave(&mut self, socket: u64, now: Instant, order: &mut Order) {
        self.listeners.remove(socket);
        self.touch(now);
        self.place(order);
    }

    /// Events came over the channel, announced at `position` and the places behind it.
    pub fn receive(
        &mut self,
        position: Position,
        events: Vec<Event>,
        stage: &mut Stage<'_>,
    ) -> Option<Wish> {
        let last = position.plus(events.len().saturating_sub(1));
        let mut ready = Vec::with_capacity(events.len());
        let mut expected = self.seq.next();
        for (index, event) in events.into_iter().enumerate() {
            self.announced = self.announced.max(event.seq.unwrap_or_default());
            let position = Some(position.plus(index));
            match event.seq {
                // What has no place in the order is shown as it comes, and only by a room that shows things.
                None if self.is_open() => ready.push((position, event)),
                None => {}
                Some(seq) if self.phase == Phase::Live && seq == expected && announces(&event) => {
                    expected = seq.next();
                    ready.push((position, event));
                }
                Some(seq) if self.is_open() && seq < expected => {}
                Some(seq) => self.hold(seq, event),
            }
        }
        self.show(&ready, Source::Channel, stage);
        self.arrived(last, stage.order);
        let wish = if self.phase == Phase::Live {
            self.release(stage)
        } else {
            None
        };
        self.place(stage.order);
        wish
    }

    /// The changes after what was shown, up to and including `up_to`, were read; unless `complete`, more of them follow. `kept` is the
    /// last announcement that Redis has.
    pub fn repaired(
        &mut self,
        events: Vec<Event>,
        up_to: Seq,
        kept: Option<(Position, Seq)>,
        complete: bool,
        stage: &mut Stage<'_>,
    ) -> Option<Wish> {
        if self.phase != Phase::Repairing {
            // Read for a room of this name that was let go meanwhile.
            return None;
        }
        self.kept = kept.or(self.kept);
        let shown = self.seq;
        let fresh: Vec<Placed> = events
            .into_iter()
            .skip_while(|event| event.seq.is_some_and(|seq| seq <= shown))
            .map(|event| (None, event))
            .collect();
        self.show(&fresh, Source::Database, stage);
        self.seq = self.seq.max(up_to);
        if !complete {
            self.place(stage.order);
            return None;
        }
        self.phase = Phase::Live;
        let wish = self.release(stage);
        self.place(stage.order);
        wish
    }

    /// The conversation is known to have come to `seq`.
    pub fn checked(&mut self, seq: Seq, order: &mut Order) -> Option<Wish> {
        let wish = (self.phase == Phase::Live && self.seq < seq).then(|| self.repair());
        self.place(order);
        wish
    }

    /// Keeps an event until what comes before it is there.
    fn hold(&mut self, seq: Seq, event: Event) {
        if self.held.len() < self.max_held {
            self.held.insert(seq, event);
        } else {
            // PostgreSQL has it all; what is known of it here is only worth keeping while it is little.
            self.held.clear();
            self.held_overflowed = true;
        }
    }

    /// Shows what was held back, as far as there is no gap, and asks for a repair where there is one.
    fn release(&mut self, stage: &mut Stage<'_>) -> Option<Wish> {
        let overflowed = std::mem::take(&mut self.held_overflowed);
        let mut ready = Vec::new();
        let mut expected = self.seq.next();
        while let Some(entry) = self.held.first_entry() {
            let seq = *entry.key();
            if seq > expected || (seq == expected && !announces(entry.get())) {
                break;
            }
            let event = entry.remove();
            if seq == expected {
                expected = seq.next();
                ready.push((None, event));
            }
        }
        self.show(&ready, Source::Channel, stage);
        (overflowed || !self.held.is_empty()).then(|| self.repair())
    }

    fn repair(&mut self) -> Wish {
        self.phase = Phase::Repairing;
        self.diverged = true;
        Wish::Repair(self.seq)
    }
}

/// Whether an event itself says what its change was; one that only says how far things have come leaves that to be read.
fn announces(event: &Event) -> bool {
    !matches!(event.fact, Fact::Advanced)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod watching_tests;
