//! What was held back for a client while it was made up for, and is sent behind that: what of it is still to be shown, and how far whoever
//! sees it has come. It says the node's place when it was held back, but follows on everything that was announced until the cut.

use confab_shared::model::event::Fact;

use super::Replay;
use crate::hub::offset::Offset;
use crate::hub::socket::Held;

impl Replay {
    /// What is to be sent behind the steps, all of which have been taken, as it is to be sent.
    pub fn behind(mut self, held: Vec<Held>) -> impl Iterator<Item = Held> {
        held.into_iter().filter_map(move |mut one| {
            if !self.wants(&one) {
                return None;
            }
            if let Held::Event { offset, .. } | Held::Joined { offset, .. } = &mut one
                && let Some(stamped) = offset.take()
            {
                *offset = Some(self.amend(stamped));
            }
            Some(one)
        })
    }

    /// The offset of something that was held back, as it is to be sent behind the steps, and behind what was held back before.
    ///
    /// Whatever was announced until the cut has been told: there is none of it among what was held back, because each room that had any is
    /// a part of the replay.
    fn amend(&self, stamped: Box<str>) -> Box<str> {
        let Ok(mut offset) = stamped.parse::<Offset>() else {
            return stamped;
        };
        // It says nothing of where it was in each order, and none of where to go on from.
        if offset.doubtful
            || offset.exceptions() == 0
                && self.differing.is_empty()
                && offset.places.cover(&self.cut)
        {
            return stamped;
        }
        offset.places.advance_all(&self.cut);
        let until = self.cut.of(self.home);
        offset
            .notices
            .retain(|(order, position)| *order != self.home || *position > until);
        let place = offset.places.of(self.home);
        offset
            .ahead
            .retain(|(order, position)| *order != self.home || *position > place);
        // How far the node was then is not how far this client has been shown a room.
        for (room, shown) in &self.differing {
            if offset.exception(*room).is_none() {
                offset.rooms.push((*room, *shown));
            }
        }
        let places = &offset.places;
        offset.rooms.retain_mut(|(room, shown)| {
            let Some(track) = self.rooms.get(room) else {
                return true;
            };
            *shown = track.shown;
            let order = self.orders.of_room(*room);
            let cut = self.cut.of(order);
            places.of(order) > cut || !track.is_told(cut)
        });
        offset.to_string().into()
    }

    /// Whether something that was held back is still to be shown; then it is.
    fn wants(&mut self, held: &Held) -> bool {
        match held {
            Held::Frames(_) => true,
            Held::Joined { seq, view, .. } => self.told.get(&view.id).is_none_or(|told| seq > told),
            Held::Event {
                subject,
                event,
                offset,
                ..
            } => {
                let conversation = &subject.id;
                let Some(track) = self.rooms.get_mut(conversation) else {
                    // Of its own removal from a room that it had not joined, it may have been told.
                    let told = self.told.get(conversation);
                    return told.is_none_or(|told| event.seq.is_none_or(|seq| seq > *told));
                };
                match event.seq {
                    Some(seq) if seq <= track.shown => false,
                    Some(seq) => {
                        track.shown = seq;
                        true
                    }
                    // It has no place in the room's order, but one among the announcements.
                    // Histories do not have it.
                    None if matches!(event.fact, Fact::Entered { .. } | Fact::Exited { .. }) => {
                        true
                    }
                    None => offset
                        .as_deref()
                        .and_then(|offset| offset.parse::<Offset>().ok())
                        .is_none_or(|offset| {
                            let order = self.orders.of_room(*conversation);
                            offset.places.of(order) > self.cut.of(order)
                        }),
                }
            }
        }
    }
}
