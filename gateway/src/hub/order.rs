//! How far the node has come in the order of announcements, and what is out of order meanwhile.
//!
//! Owns the offsets that frames carry. Every room and every notice passes through here in the order in which it is shown.

use std::collections::{BTreeMap, BTreeSet};

use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::position::Position;

use super::offset::Offset;

/// The node's place.
#[derive(Debug, Default)]
pub struct Order {
    position: Position,
    doubt: Option<u64>,
    rooms: BTreeMap<ConversationId, Seq>,
    notices: BTreeSet<Position>,
    /// Whether anybody will ever ask: without recovery, frames carry no offsets.
    enabled: bool,
}

impl Order {
    /// A node that has shown nothing.
    pub fn new(enabled: bool) -> Self {
        Self {
            enabled,
            ..Self::default()
        }
    }

    /// Whatever was announced up to here has arrived.
    pub fn advance(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    /// A room stands where the position does not tell, or (none) where it does.
    pub fn except_room(&mut self, conversation: ConversationId, shown: Option<Seq>) {
        match shown {
            Some(seq) => self.rooms.insert(conversation, seq),
            None => self.rooms.remove(&conversation),
        };
    }

    /// A notice has arrived and is shown later.
    pub fn await_notice(&mut self, position: Position) {
        self.advance(position);
        self.notices.insert(position);
    }

    /// A notice was shown, or need not be.
    pub fn settle_notice(&mut self, position: Position) {
        self.notices.remove(&position);
    }

    /// Something may have been lost. Doubts are numbered, the later the higher.
    pub fn doubt(&mut self, number: u64) {
        self.doubt = self.doubt.max(Some(number));
    }

    /// Everything was compared with PostgreSQL after this doubt arose: it and earlier ones are settled.
    pub fn settle_doubt(&mut self, number: u64) {
        if self.doubt.is_some_and(|doubt| doubt <= number) {
            self.doubt = None;
        }
    }

    /// Whether everything announced up to here has arrived, and no notice of it is still to be shown.
    pub fn has_shown(&self, position: Position) -> bool {
        let pending = self.notices.first();
        self.position >= position && pending.is_none_or(|first| *first > position)
    }

    /// The present place.
    pub fn offset(&self) -> Offset {
        Offset {
            position: self.position,
            doubtful: self.doubt.is_some(),
            rooms: self.rooms.iter().map(|(room, seq)| (*room, *seq)).collect(),
            notices: self.notices.iter().copied().collect(),
        }
    }

    /// What a frame shown now carries; nothing where recovery is off.
    pub fn stamp(&self) -> Option<Box<str>> {
        self.enabled.then(|| {
            let regular = self.doubt.is_none() && self.rooms.is_empty() && self.notices.is_empty();
            if regular {
                self.position.to_string().into()
            } else {
                self.offset().to_string().into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Position {
        Position { micros, index: 0 }
    }

    #[test]
    fn what_is_out_of_order_is_named_until_it_is_not() {
        let mut order = Order::new(true);
        let room = ConversationId::generate();
        order.advance(at(5));
        order.advance(at(3));
        assert_eq!(order.stamp().as_deref(), Some("5-0"));
        order.except_room(room, Some(Seq(7)));
        order.await_notice(at(6));
        let offset: Offset = order.stamp().unwrap().parse().unwrap();
        assert_eq!(offset.position, at(6));
        assert_eq!(offset.exception(room), Some(Seq(7)));
        assert_eq!(offset.notices, [at(6)]);
        order.except_room(room, None);
        order.settle_notice(at(6));
        assert_eq!(order.stamp().as_deref(), Some("6-0"));
    }

    #[test]
    fn a_doubt_lasts_until_everything_was_compared_after_it() {
        let mut order = Order::new(true);
        order.doubt(1);
        order.doubt(2);
        order.settle_doubt(1);
        assert_eq!(order.stamp().as_deref(), Some("0-0?"));
        order.settle_doubt(2);
        assert_eq!(order.stamp().as_deref(), Some("0-0"));
    }
}
