//! Up to where a client had been shown a room.

use std::time::Duration;

use confab_shared::id::Seq;
use confab_shared::model::event::Event;
use confab_shared::model::position::Position;
use confab_shared::postgres::memberships::Place;

use super::announces;
use crate::hub::offset::Offset;
use crate::hub::places::Orders;

/// A change this much older than the client's place had been shown to it: sweeps find what was never announced within less.
const SETTLED: Duration = Duration::from_secs(90);

/// Up to which change a client had been shown a room when it was at `since`. None: that cannot be told.
///
/// `history` are the room's announcements around that place, `floor` is where the room stood when the socket joined it.
pub fn shown_until(
    since: &Offset,
    orders: Orders,
    history: &[(Position, Event)],
    floor: Seq,
    place: &Place,
) -> Option<Seq> {
    if let Some(seq) = since.exception(place.conversation) {
        return Some(seq.max(floor));
    }
    let at = since.places.of(orders.of_room(place.conversation));
    let (before, after) =
        history.split_at(history.partition_point(|(position, _)| *position <= at));
    let sequenced = |(_, event): &(Position, Event)| event.seq.map(|seq| (seq, announces(event)));
    // The highest, not the last: an announcement that is late, and repeated, may come behind a later change's.
    let last = before
        .iter()
        .filter_map(sequenced)
        .max_by_key(|(seq, _)| *seq);
    let next = after.iter().find_map(sequenced);
    let seq = match (last, next) {
        (Some((seq, _)), _) => seq,
        (None, Some((seq, true))) => Seq(seq.0 - 1),
        // An announcement that may stand for several changes, or none at all: they were shown if they are old enough.
        (None, Some((_, false)) | None) => {
            if place.last_seq <= floor {
                return Some(floor);
            }
            if next.is_some() || changed_lately(since, orders, place) {
                return None;
            }
            place.last_seq
        }
    };
    Some(seq.max(floor))
}

/// Whether whatever happened in a conversation had surely been shown by then.
pub fn is_settled(since: &Offset, orders: Orders, place: &Place) -> bool {
    since.exception(place.conversation).is_none() && !changed_lately(since, orders, place)
}

/// Whether nothing was said meanwhile in a settled conversation, which was read as `place` before and has come to `latest` by now.
pub fn was_quiet(place: &Place, latest: Option<Seq>) -> bool {
    latest == Some(place.last_seq)
}

/// Whether a conversation changed so late before a place, or after it, that it may not have been shown by then.
fn changed_lately(since: &Offset, orders: Orders, place: &Place) -> bool {
    let changed = place.changed_at.to_datetime().unix_timestamp_nanos() / 1_000;
    let at = since.places.of(orders.of_room(place.conversation));
    let settled = u128::from(at.micros).saturating_sub(SETTLED.as_micros());
    u128::try_from(changed).is_ok_and(|changed| changed >= settled)
}
