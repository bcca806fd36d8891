//! How far the node has come in the order of announcements, and what is out of order meanwhile.
//!
//! Owns the offsets that frames carry. Every room and every notice passes through here in the order in which it is shown.

use std::collections::BTreeMap;

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::position::Position;

use super::offset::{MAX_EXCEPTIONS, Offset};

/// The node's place.
#[derive(Debug, Default)]
pub struct Order {
    position: Position,
    doubt: Option<u64>,
    rooms: BTreeMap<ConversationId, Seq>,
    notices: BTreeMap<Position, UserId>,
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
    pub fn await_notice(&mut self, position: Position, user: UserId) {
        self.advance(position);
        self.notices.insert(position, user);
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

    /// Up to where everything that was announced has arrived.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The rooms that stand where the position does not tell.
    pub fn excepted_rooms(&self) -> Vec<ConversationId> {
        self.rooms.keys().copied().collect()
    }

    /// Whether everything announced up to here has arrived, and no notice of it is still to be shown to this user.
    pub fn has_shown(&self, position: Position, user: UserId) -> bool {
        let mut pending = self.notices.range(..=position);
        self.position >= position && !pending.any(|(_, waiting)| *waiting == user)
    }

    /// The present place.
    pub fn offset(&self) -> Offset {
        Offset {
            position: self.position,
            doubtful: self.doubt.is_some(),
            rooms: self.rooms.iter().map(|(room, seq)| (*room, *seq)).collect(),
            notices: self.notices.keys().copied().collect(),
        }
    }

    /// What a frame shown now carries; nothing where recovery is off.
    pub fn stamp(&self) -> Option<Box<str>> {
        self.enabled.then(|| {
            let exceptions = self.rooms.len() + self.notices.len();
            if self.doubt.is_some() || exceptions > MAX_EXCEPTIONS {
                // Whatever they are: nobody can go on from here.
                Offset {
                    doubtful: true,
                    ..Offset::at(self.position)
                }
                .to_string()
                .into()
            } else if exceptions == 0 {
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
        order.await_notice(at(6), UserId::generate());
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
