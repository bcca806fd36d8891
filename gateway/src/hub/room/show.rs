//! How a room shows what happened, and what it takes from that for itself.

use std::sync::Arc;

use confab_shared::id::UserId;
use confab_shared::model::conversation::{ConversationKind, Subject};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::position::Position;

use super::listeners::show_to;
use super::{MAX_CHUNK, Placed, Room, Stage};
use crate::dialect::{Called, Shown};
use crate::hub::order::Order;
use crate::hub::users::Users;

impl Room {
    /// How many sockets listen.
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Shows events in order to everybody who listens. A removed member's sockets see their removal and nothing after it. That somebody
    /// types no more is shown just before what ends it.
    pub(super) fn show(&mut self, events: &[Placed], stage: &mut Stage<'_>) {
        let mut rest = events;
        while let Some(turn) = rest
            .iter()
            .position(|(_, event)| self.typists.concern(event))
        {
            let (before, after) = rest.split_at(turn);
            self.show_lasting(before, stage);
            let (_, event) = &after[0];
            self.hear_typing(event, stage.now);
            rest = if event.fact.is_passing() {
                &after[1..]
            } else {
                after
            };
        }
        self.show_lasting(rest, stage);
    }

    fn show_lasting(&mut self, events: &[Placed], stage: &mut Stage<'_>) {
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
    fn stamp(&self, at: Option<Position>, event: &Event, order: &mut Order) -> Option<Box<str>> {
        if let Some(position) = at {
            order.advance(position);
        }
        if self.listeners.is_empty() && !matches!(event.fact, Fact::MemberRemoved { .. }) {
            // Nobody is shown it: it is heard for those who watch.
            return None;
        }
        // Held back or read: where it was announced says nothing about what was shown.
        if at.is_none() || self.diverged {
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
