//! How a room shows who is typing.

use std::sync::Arc;
use std::time::Instant;

use confab_shared::model::account::Profile;
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::timestamp::Timestamp;
use uuid::Uuid;

use super::Room;
use super::listeners::show_to;
use super::typists::Turn;
use crate::dialect::{Called, Shown};
use crate::hub::socket::SocketRef;

impl Room {
    /// Takes an event into account that is about to be shown, and shows first who begins or ends to type by it. What nobody would see is
    /// not kept.
    pub(super) fn hear_typing(&mut self, event: &Event, now: Instant) {
        let begins = matches!(event.fact, Fact::Typing { typing: true, .. });
        if begins && self.listeners.is_empty() {
            return;
        }
        if let Some(turn) = self.typists.hear(event, now) {
            self.show_turn(&turn);
        }
    }

    /// Those who have said nothing more of it for long type no more.
    pub(super) fn lapse_typing(&mut self, now: Instant) {
        for turn in self.typists.lapse(now) {
            self.show_turn(&turn);
        }
    }

    fn show_turn(&mut self, turn: &Turn) {
        let event = typing(&turn.user, turn.typing);
        let shown = Shown {
            event: &event,
            offset: None,
        };
        self.listeners
            .show_to_others(&self.subject, shown, turn.user.id);
    }

    /// Shows a socket that joins who is typing.
    pub(super) fn show_typists(&self, socket: &SocketRef, called: Called) {
        for user in self.typists.people() {
            if user.id != socket.user() {
                let event = typing(user, true);
                let shown = Shown {
                    event: &event,
                    offset: None,
                };
                show_to(socket, &self.subject, called, shown);
            }
        }
    }
}

fn typing(user: &Arc<Profile>, typing: bool) -> Event {
    let fact = Fact::Typing {
        user: Arc::clone(user),
        source: Uuid::nil(),
        typing,
    };
    Event {
        seq: None,
        at: Timestamp::now(),
        fact,
    }
}
