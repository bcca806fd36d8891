//! How a room shows what happened, and what it takes from that for itself.

use std::sync::Arc;
use std::time::Instant;

use confab_shared::id::UserId;
use confab_shared::model::conversation::{ConversationKind, Subject};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;

use super::listeners::show_to;
use super::{MAX_CHUNK, Placed, Room, Stage};
use crate::dialect::{Called, Shown};
use crate::hub::order::Order;
use crate::hub::users::Users;

/// Where events came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// They were announced, though some may have been held back for a while.
    Channel,
    /// They were missing and read from PostgreSQL.
    Database,
}

/// An event that a room showed, once, to so many sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Showing {
    /// What kind of event.
    pub event: &'static str,
    /// How many sockets listened.
    pub listeners: usize,
    /// When it was decided, if it was announced and is not said in passing: somebody waited for it since then.
    pub since: Option<Timestamp>,
}

impl<'a> Stage<'a> {
    /// What a room needs of these.
    pub fn new(
        users: &'a Users,
        order: &'a mut Order,
        shown: &'a mut Vec<Showing>,
        now: Instant,
    ) -> Self {
        Self {
            users,
            order,
            shown,
            now,
        }
    }
}

impl Room {
    /// Shows events in order to everybody who listens. A removed member's sockets see their removal and nothing after it. That somebody
    /// types no more is shown just before what ends it.
    pub(super) fn show(&mut self, events: &[Placed], source: Source, stage: &mut Stage<'_>) {
        let mut rest = events;
        while let Some(turn) = rest
            .iter()
            .position(|(_, event)| self.typists.concern(event))
        {
            let (before, after) = rest.split_at(turn);
            self.show_lasting(before, source, stage);
            let (_, event) = &after[0];
            self.hear_typing(event, stage.now);
            rest = if event.fact.is_passing() {
                self.note_showing(event, source, stage);
                &after[1..]
            } else {
                after
            };
        }
        self.show_lasting(rest, source, stage);
    }

    /// Notes that an event is shown now, if anybody listens.
    fn note_showing(&self, event: &Event, source: Source, stage: &mut Stage<'_>) {
        let listeners = self.listeners.len();
        if listeners > 0 {
            let is_waited_for = event.seq.is_some() && source == Source::Channel;
            stage.shown.push(Showing {
                event: event.fact.name(),
                listeners,
                since: is_waited_for.then_some(event.at),
            });
        }
    }

    fn show_lasting(&mut self, events: &[Placed], source: Source, stage: &mut Stage<'_>) {
        let mut rest = events;
        while !rest.is_empty() {
            let removal = rest
                .iter()
                .position(|(_, event)| matches!(event.fact, Fact::MemberRemoved { .. }));
            let until = removal.map_or(rest.len(), |index| index + 1);
            let (now, later) = rest.split_at(until.min(MAX_CHUNK));
            let stamps: Vec<Option<Box<str>>> = now
                .iter()
                .map(|(position, event)| self.stamp(*position, event, stage.order))
                .collect();
            let shown: Vec<Shown<'_>> = now
                .iter()
                .zip(&stamps)
                .map(|((_, event), stamp)| Shown {
                    event,
                    offset: stamp.as_deref(),
                })
                .collect();
            self.listeners.show(&self.subject, &shown);
            for shown in &shown {
                self.note_showing(shown.event, source, stage);
            }
            for shown in &shown {
                self.watchers.hear(shown.event, stage.now);
                self.note_delivery(shown.event);
                self.note(*shown, stage.users);
            }
            rest = later;
        }
    }

    /// A message that somebody else than its sender listens to has reached them.
    fn note_delivery(&mut self, event: &Event) {
        if let Fact::MessageStored { message, .. } = &event.fact
            && message.ordinal > self.delivered
            && self.subject.kind != ConversationKind::Room
            && self.listeners.has_others(message.sender.id)
        {
            self.delivered = message.ordinal;
        }
    }

    /// What a frame carries that shows this event now.
    fn stamp(
        &mut self,
        at: Option<Position>,
        event: &Event,
        order: &mut Order,
    ) -> Option<Box<str>> {
        if let Some(position) = at {
            self.arrived(position, order);
        }
        let is_removal = matches!(event.fact, Fact::MemberRemoved { .. });
        if self.listeners.is_empty() && !is_removal {
            // Nobody is shown it: it is heard for those who watch.
            return None;
        }
        if is_removal && let Some(seq) = event.seq {
            // Whoever sees this frame has been told.
            order.settle_removals(self.conversation, seq);
        }
        // Held back or read: where it was announced says nothing about what was shown.
        if at.is_none() || self.diverged || self.unclaimed.is_some() {
            order.except_room(self.conversation, Some(event.seq.unwrap_or(self.seq)));
        }
        order.stamp()
    }

    /// Takes an event into account that has just been shown.
    fn note(&mut self, shown: Shown<'_>, users: &Users) {
        let event = shown.event;
        let Some(seq) = event.seq else { return };
        self.seq = seq;
        match &event.fact {
            Fact::MemberRemoved { user, .. } => {
                self.membership_seq = seq;
                self.expel(*user, shown, users);
            }
            Fact::MembersAdded { .. } => self.membership_seq = seq,
            Fact::RoomUpdated { name, .. } => {
                let name = Some(Arc::clone(name));
                let known = Subject::clone(&self.subject);
                self.subject = Arc::new(Subject { name, ..known });
            }
            Fact::RoomDeleted { .. } => {
                self.membership_seq = seq;
                self.listeners.retain(|_| false);
            }
            Fact::Entered { .. }
            | Fact::Exited { .. }
            | Fact::ConversationCreated { .. }
            | Fact::MessageStored { .. }
            | Fact::MessageEdited { .. }
            | Fact::MessageDeleted { .. }
            | Fact::MessagesRead { .. }
            | Fact::Typing { .. }
            | Fact::Advanced => {}
        }
    }

    /// A member was removed: those of its sockets that had not joined learn it too, and all of them are out.
    fn expel(&mut self, user: UserId, shown: Shown<'_>, users: &Users) {
        for socket in users.sockets(user) {
            if !self.listeners.contains(socket.key()) {
                show_to(&socket, &self.subject, Called::ById, shown);
            }
        }
        if let Some(seq) = shown.event.seq {
            users.first_sight(user, self.conversation, seq);
            self.watchers.remove_user(user, seq);
        }
        self.listeners.retain(|socket| socket.user() != user);
    }
}
