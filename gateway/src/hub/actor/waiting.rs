//! What is waited for: that a room is open, and that what was announced is shown.

use std::sync::Arc;
use std::time::Instant;

use confab_shared::id::{ConversationId, Partition, Seq};
use confab_shared::model::conversation::Subject;
use confab_shared::model::position::Position;

use super::{Actor, answer};
use crate::hub::room::Stage;

impl Actor {
    pub(super) fn opened(
        &mut self,
        conversation: ConversationId,
        subject: Option<Arc<Subject>>,
        seq: Seq,
        since: u64,
    ) {
        let Some(slot) = self.rooms.get_mut(&conversation) else {
            return;
        };
        let was_open = slot.room.is_open();
        if let Some(subject) = subject {
            slot.room.describe(subject);
        }
        let now = Instant::now();
        let mut stage = Stage::new(&self.users, &mut self.order, &mut self.shown, now);
        let wish = slot.room.opened(seq, since, &mut stage);
        if !was_open {
            for (joining, done) in slot.waiting.drain(..) {
                if !done.is_closed() {
                    answer(slot.room.join(joining, &mut self.order), done);
                }
            }
            slot.room.touch(now);
        }
        let followings = std::mem::take(&mut slot.followings);
        let removals = std::mem::take(&mut slot.removals);
        if let Some(wish) = wish {
            self.wish(conversation, wish);
        }
        self.begin_watching(conversation, now);
        for following in followings {
            self.followed(following);
        }
        for (user, position, removal) in removals {
            self.removed(user, position, conversation, removal);
        }
    }

    pub(super) fn arrived(&mut self, order: Partition, position: Position, beat: u64) {
        self.order.beat(order, position, beat);
        for room in self.order.excepted_rooms() {
            if let Some(slot) = self.rooms.get_mut(&room) {
                slot.room.place(&mut self.order);
            }
        }
    }

    pub(super) fn tell_who_waits(&mut self) {
        let (rooms, order) = (&self.rooms, &self.order);
        let is_shown = |(conversation, seq): &(ConversationId, Seq)| {
            rooms
                .get(conversation)
                .is_none_or(|slot| slot.room.has_shown(*seq))
        };
        let ready = self.awaited.extract_if(.., |awaited| {
            awaited.done.is_closed()
                || order.has_shown(&awaited.places, awaited.user)
                    && awaited.rooms.iter().all(is_shown)
        });
        for awaited in ready {
            // Whoever waited may have given up.
            let _ = awaited.done.send(());
        }
    }
}
