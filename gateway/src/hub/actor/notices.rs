//! What concerns a user whatever it listens to: conversations that it came into, or was put out of.

use std::sync::Arc;
use std::time::Instant;

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::conversation::{ConversationView, Subject};
use confab_shared::model::event::{Event, UserNotice};
use confab_shared::model::position::Position;

use super::{Actor, slot};
use crate::dialect::{Called, Shown};
use crate::hub::input::{Following, HubRequest, Watched};
use crate::hub::order::UNPROVEN;
use crate::hub::room::{Joining, show_to};

impl Actor {
    pub(super) fn noticed(&mut self, user: UserId, position: Position, notice: UserNotice) {
        let home = self.order.orders().of_user(user);
        if let Some(since) = self.users.heard_since(user) {
            self.order.advance(home, position, since);
            self.order.await_notice(position, user);
            self.request(HubRequest::Notice(user, position, notice));
        } else {
            self.order.advance(home, position, UNPROVEN);
        }
    }

    pub(super) fn joined(
        &mut self,
        user: UserId,
        position: Option<Position>,
        seq: Seq,
        view: Option<&ConversationView>,
    ) {
        self.settle(position, user);
        if let Some(view) = view {
            self.show_joined(user, seq, view);
        }
    }

    /// Shows a user a new conversation, and its sockets that see everything what happened in it, and what happens from now on. All in one
    /// step: an offset says either that nothing of it was shown, by naming the notice, or how far the room was.
    pub(super) fn followed(&mut self, following: Following) {
        let conversation = following.view.id;
        let slot = slot(&mut self.rooms, &self.requests, conversation, self.limits);
        if !slot.room.is_open() {
            slot.followings.push(following);
            return;
        }
        let Following {
            user,
            position,
            seq,
            view,
            backlog,
            done,
        } = following;
        let is_level = slot.room.is_level_with(view.last_seq, backlog.up_to);
        if is_level {
            self.settle(position, user);
            self.order.except_room(conversation, Some(seq));
            self.show_joined(user, seq, &view);
            for socket in self.users.sockets(user) {
                let Some(slot) = self.rooms.get_mut(&conversation) else {
                    break;
                };
                if socket.sees(view.kind) && socket.follow(conversation) {
                    let joining = Joining {
                        socket,
                        called: Called::ById,
                        as_of: view.last_seq,
                        backlog: Some(backlog.clone()),
                    };
                    slot.room.join(joining, &mut self.order);
                }
            }
            if let Some(slot) = self.rooms.get_mut(&conversation) {
                slot.room.place(&mut self.order);
                slot.room.touch(Instant::now());
            }
        }
        // Whoever asked may have given up; the sweep asks again.
        let _ = done.send(is_level);
    }

    fn show_joined(&mut self, user: UserId, seq: Seq, view: &ConversationView) {
        let stamp = self.order.stamp();
        self.users
            .show_unless_outdated(user, view.id, view.last_seq, |socket| {
                let offset = stamp.as_deref();
                if !(socket.holds_back() && socket.hold_joined(seq, view, offset)) {
                    let frames = socket.joined(view, offset);
                    if !frames.is_empty() {
                        socket.push(frames);
                    }
                }
            });
        let watched = Watched {
            conversation: view.id,
            as_of: view.last_seq,
            // What was said in it before it was read is in no event to come.
            owed: view.unread_count > 0,
        };
        for socket in self.users.sockets(user) {
            // Those that are not yet find it among their conversations.
            if socket.is_watching() {
                self.watch(&socket, vec![watched], None);
            }
        }
    }

    /// The room shows a removal in its order, to the removed user's sockets as well: the notice is told when it does, and not before. Only
    /// where no room has shown it, or will, is it said here.
    pub(super) fn removed(
        &mut self,
        user: UserId,
        position: Option<Position>,
        conversation: ConversationId,
        removal: Event,
    ) {
        let Some(seq) = removal.seq else { return };
        match self.rooms.get_mut(&conversation) {
            Some(slot) if !slot.room.is_open() => {
                slot.removals.push((user, position, removal));
                return;
            }
            Some(slot) if slot.room.has_shown(seq) && slot.room.covers(seq) => {
                self.settle(position, user);
                return;
            }
            Some(slot) if slot.room.covers(seq) => {
                if let Some(position) = position {
                    self.order.await_removal(conversation, seq, position, user);
                }
                return;
            }
            Some(_) | None => {}
        }
        self.settle(position, user);
        if self.users.first_sight(user, conversation, seq) {
            let stamp = self.order.stamp();
            let shown = Shown {
                event: &removal,
                offset: stamp.as_deref(),
            };
            let subject = Arc::new(Subject::unknown(conversation));
            for socket in self.users.sockets(user) {
                show_to(&socket, &subject, Called::ById, shown);
            }
        }
    }

    fn settle(&mut self, position: Option<Position>, user: UserId) {
        if let Some(position) = position {
            self.order.settle_notice(position, user);
        }
    }
}
