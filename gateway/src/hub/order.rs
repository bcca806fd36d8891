//! How far the node has come in the orders of announcements, and what is out of order meanwhile.
//!
//! Owns the offsets that frames carry. Every room and every notice passes through here in the order in which it is shown.

use std::collections::{BTreeMap, BTreeSet};

use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::model::position::Position;

use super::offset::{Announced, MAX_EXCEPTIONS, Offset};
use super::places::{Orders, Places};

/// What is heard on a channel that has not been listened to for long enough to prove anything.
pub(super) const UNPROVEN: u64 = u64::MAX;
/// The most notices that are known to have been shown ahead of the place. They are few: of users who have connected since the last beat.
const MOST_AHEAD: usize = 1_024;

/// The node's place.
#[derive(Debug)]
pub struct Order {
    orders: Orders,
    places: Places,
    /// Of each order, the last beat of the node's own that was heard in it.
    beats: Vec<u64>,
    doubt: Option<u64>,
    suspicion: Option<u64>,
    rooms: BTreeMap<ConversationId, Seq>,
    notices: BTreeSet<(Position, UserId)>,
    /// Those of them that wait for their rooms to show the removals that they tell of: no more than were said since everything was last
    /// compared, because then rooms catch up.
    removals: BTreeMap<ConversationId, Vec<(Seq, Position, UserId)>>,
    /// Notices that were shown though the place does not tell of them yet.
    ahead: BTreeSet<(Position, UserId)>,
    /// The last of those that were too many to be known one by one.
    beyond: Option<Position>,
    /// Whether anybody will ever ask: without recovery, frames carry no offsets.
    enabled: bool,
}

impl Order {
    /// A node that has shown nothing.
    pub fn new(orders: Orders, enabled: bool) -> Self {
        Self {
            orders,
            places: Places::beginning(orders),
            beats: vec![0; orders.count()],
            doubt: None,
            suspicion: None,
            rooms: BTreeMap::new(),
            notices: BTreeSet::new(),
            removals: BTreeMap::new(),
            ahead: BTreeSet::new(),
            beyond: None,
            enabled,
        }
    }

    /// The orders that there are.
    pub fn orders(&self) -> Orders {
        self.orders
    }

    /// The node has heard itself: whatever was announced in this order up to here has arrived.
    pub fn beat(&mut self, order: Partition, position: Position, beat: u64) {
        self.go_on(order, position);
        if let Some(last) = self.beats.get_mut(usize::from(order.0)) {
            *last = beat.max(*last);
        }
    }

    /// Something announced there has arrived on a channel that has been listened to since before the beat behind `since`. True if so has
    /// whatever was announced in that order before; if not, nothing follows from it.
    ///
    /// On a cluster a slot that moves takes all its channels with it, unnoticed. What is heard of it on a channel that is listened to only
    /// since then says nothing of the others; that it is listened to for longer is proven when the node hears itself there, which listens to
    /// itself anew only while it suspects everything. On one Redis a connection that breaks is noticed before anything is heard on another.
    pub fn advance(&mut self, order: Partition, position: Position, since: u64) -> bool {
        let beat = self.beats.get(usize::from(order.0));
        let is_proven = !self.orders.is_split() || beat.is_some_and(|beat| *beat > since);
        if is_proven {
            self.go_on(order, position);
        }
        is_proven || self.places.of(order) >= position
    }

    fn go_on(&mut self, order: Partition, position: Position) {
        self.places.advance(order, position);
        let (places, orders) = (&self.places, self.orders);
        if !self.ahead.is_empty() {
            let place = |user: UserId| places.of(orders.of_user(user));
            self.ahead
                .retain(|(position, user)| *position > place(*user));
        }
        self.beyond = self.beyond.filter(|last| *last > places.earliest());
    }

    /// A room stands where the place does not tell, or (none) where it does.
    pub fn except_room(&mut self, conversation: ConversationId, shown: Option<Seq>) {
        match shown {
            Some(seq) => self.rooms.insert(conversation, seq),
            None => self.rooms.remove(&conversation),
        };
    }

    /// A notice has arrived and is shown later.
    pub fn await_notice(&mut self, position: Position, user: UserId) {
        self.notices.insert((position, user));
    }

    /// A notice was shown, or need not be.
    pub fn settle_notice(&mut self, position: Position, user: UserId) {
        self.notices.remove(&(position, user));
        if position <= self.places.of(self.orders.of_user(user)) {
            return;
        }
        if self.ahead.len() < MOST_AHEAD {
            self.ahead.insert((position, user));
        } else {
            self.beyond = self.beyond.max(Some(position));
        }
    }

    /// A notice that has arrived is settled when its room shows the removal, which was this change.
    pub fn await_removal(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        position: Position,
        user: UserId,
    ) {
        let waiting = self.removals.entry(conversation).or_default();
        waiting.push((seq, position, user));
    }

    /// Whether a notice waits for this room.
    pub fn awaits_removal(&self, conversation: ConversationId) -> bool {
        self.removals.contains_key(&conversation)
    }

    /// A room shows this change, and has shown those before it.
    pub fn settle_removals(&mut self, conversation: ConversationId, shown: Seq) {
        let Some(waiting) = self.removals.get_mut(&conversation) else {
            return;
        };
        let is_shown = |(seq, ..): &mut (Seq, Position, UserId)| *seq <= shown;
        let settled: Vec<_> = waiting.extract_if(.., is_shown).collect();
        if waiting.is_empty() {
            self.removals.remove(&conversation);
        }
        for (_, position, user) in settled {
            self.settle_notice(position, user);
        }
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

    /// Something is being missed. Suspicions are numbered, too.
    pub fn suspect(&mut self, number: u64) {
        self.suspicion = self.suspicion.max(Some(number));
    }

    /// Nothing is missed any more for the reason of this suspicion, or an earlier one's. What had been is a doubt's matter.
    pub fn trust(&mut self, number: u64) {
        if self.suspicion.is_some_and(|suspicion| suspicion <= number) {
            self.suspicion = None;
        }
    }

    /// Up to where everything that was announced in a conversation's order has arrived.
    pub fn place_of(&self, conversation: ConversationId) -> Position {
        self.places.of(self.orders.of_room(conversation))
    }

    /// The rooms that stand where the place does not tell.
    pub fn excepted_rooms(&self) -> Vec<ConversationId> {
        self.rooms.keys().copied().collect()
    }

    /// Whether everything announced up to these places has arrived, and no notice of it is still to be shown to this user.
    pub fn has_shown(&self, places: &[(Partition, Position)], user: UserId) -> bool {
        let home = self.orders.of_user(user);
        places.iter().all(|(order, position)| {
            self.places.of(*order) >= *position
                && (*order != home || !self.is_awaited(user, *position))
        })
    }

    fn is_awaited(&self, user: UserId, until: Position) -> bool {
        let pending = self.notices.iter();
        let mut pending = pending.take_while(|(position, _)| *position <= until);
        pending.any(|(_, waiting)| *waiting == user)
    }

    /// The present place.
    pub fn offset(&self) -> Offset {
        let announced = |(position, user): &(Position, UserId)| -> Announced {
            (self.orders.of_user(*user), *position)
        };
        Offset {
            places: self.places.clone(),
            doubtful: self.is_in_doubt(),
            rooms: self.rooms.iter().map(|(room, seq)| (*room, *seq)).collect(),
            notices: self.notices.iter().map(announced).collect(),
            ahead: self.ahead.iter().map(announced).collect(),
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.doubt.is_some() || self.suspicion.is_some() || self.beyond.is_some()
    }

    /// What a frame shown now carries; nothing where recovery is off.
    pub fn stamp(&self) -> Option<Box<str>> {
        self.enabled.then(|| {
            let exceptions = self.rooms.len() + self.notices.len() + self.ahead.len();
            if self.is_in_doubt() || exceptions > MAX_EXCEPTIONS {
                Offset::doubtful(self.places.latest()).to_string().into()
            } else if exceptions == 0 {
                self.places.to_string().into()
            } else {
                self.offset().to_string().into()
            }
        })
    }
}

#[cfg(test)]
mod tests;
