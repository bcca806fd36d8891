//! Where a room stands among the announcements, and whether they tell.

use confab_shared::model::position::Position;

use super::{Phase, Room};
use crate::hub::order::Order;

impl Room {
    /// A socket was shown what the room stands at, though it may not have been announced.
    pub fn diverge(&mut self, order: &mut Order) {
        self.diverged = true;
        self.place(order);
    }

    /// Notes that something announced there has arrived here; and if that does not prove that so has all that was announced before, that the
    /// room stands further than the node.
    pub(super) fn arrived(&mut self, at: Position, order: &mut Order) {
        let own = order.orders().of_room(self.conversation);
        if !order.advance(own, at, self.heard_since) {
            self.unclaimed = self.unclaimed.max(Some(at));
        }
    }

    /// Tells the node's order whether the announcements say where this room stands, and what it has shown by now.
    pub fn place(&mut self, order: &mut Order) {
        // A removal that was undone before it was read is not shown, but passed.
        order.settle_removals(self.conversation, self.seq);
        let place = order.place_of(self.conversation);
        if let Some((position, seq)) = self.kept
            && position <= place
        {
            self.announced = self.announced.max(seq);
            self.kept = None;
        }
        if self.phase == Phase::Live && self.announced == self.seq {
            self.diverged = false;
        }
        if self.unclaimed.is_some_and(|at| at <= place) {
            self.unclaimed = None;
        }
        let differs = (self.diverged || self.unclaimed.is_some()) && !self.listeners.is_empty();
        order.except_room(self.conversation, differs.then_some(self.seq));
    }
}
