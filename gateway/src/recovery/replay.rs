//! What a client missed, in order: pure, so that it can be tested against everything that may have happened.
//!
//! A room's events have a strict order of their own (`seq`); across rooms they follow the positions at which they were announced. What
//! Redis kept need not be all: where the order of a room has a hole, whoever reads PostgreSQL fills it, and the offsets that the client
//! gets say how far each room was shown, so that a replay that breaks off half way can itself be resumed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::position::Position;
use confab_shared::postgres::memberships::Place;

use crate::hub::offset::Offset;
use crate::hub::socket::Held;

/// A change this much older than the client's place had been shown to it: sweeps find what was never announced within less.
const SETTLED: Duration = Duration::from_secs(90);

/// Up to which change a client had been shown a room when it was at `since`. None: that cannot be told.
///
/// `history` are the room's announcements around that place, `floor` is where the room stood when the socket joined it.
pub fn shown_until(
    since: &Offset,
    history: &[(Position, Event)],
    floor: Seq,
    place: &Place,
) -> Option<Seq> {
    if let Some(seq) = since.exception(place.conversation) {
        return Some(seq.max(floor));
    }
    let (before, after) =
        history.split_at(history.partition_point(|(position, _)| *position <= since.position));
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
            if next.is_some() || changed_lately(since, place) {
                return None;
            }
            place.last_seq
        }
    };
    Some(seq.max(floor))
}

/// Whether whatever happened in a conversation had surely been shown by then.
pub fn is_settled(since: &Offset, place: &Place) -> bool {
    since.exception(place.conversation).is_none() && !changed_lately(since, place)
}

/// Whether a conversation changed so late before a place, or after it, that it may not have been shown by then.
fn changed_lately(since: &Offset, place: &Place) -> bool {
    let changed = place.changed_at.to_datetime().unix_timestamp_nanos() / 1_000;
    let settled = u128::from(since.position.micros).saturating_sub(SETTLED.as_micros());
    u128::try_from(changed).is_ok_and(|changed| changed >= settled)
}

/// Changes of a room of which Redis has no word of its own: to be read from PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// After this change,
    pub after: Seq,
    /// up to this one.
    pub until: Seq,
    /// Where they belong among the announcements.
    at: Position,
}

/// The holes in a room's history, from `shown` up to `target` at least.
pub fn holes(shown: Seq, history: &[(Position, Event)], target: Seq) -> Vec<Hole> {
    let (mut after, mut holes) = (shown, Vec::new());
    for (at, event) in history {
        let Some(seq) = event.seq.filter(|seq| *seq > after) else {
            continue;
        };
        let until = if announces(event) {
            Seq(seq.0 - 1)
        } else {
            seq
        };
        if until > after {
            let at = *at;
            holes.push(Hole { after, until, at });
        }
        after = seq;
    }
    if after < target {
        // Committed, and not announced yet: behind everything that is.
        let at = Position {
            micros: u64::MAX,
            index: u32::MAX,
        };
        holes.push(Hole {
            after,
            until: target,
            at,
        });
    }
    holes
}

/// A room's events after `shown`, without a hole: its history, and what was read for its [`holes`], in their order.
pub fn fill(
    shown: Seq,
    history: Vec<(Position, Event)>,
    holes: &[Hole],
    fillings: Vec<Vec<Event>>,
) -> Vec<(Position, Event)> {
    let mut fillings = holes.iter().zip(fillings).peekable();
    let (mut after, mut events) = (shown, Vec::new());
    for (position, event) in history {
        match event.seq {
            None => events.push((position, event)),
            Some(seq) if seq <= after => {}
            Some(seq) => {
                if let Some((hole, filling)) = fillings.next_if(|(hole, _)| hole.until <= seq) {
                    events.extend(filling.into_iter().map(|event| (hole.at, event)));
                }
                if announces(&event) {
                    events.push((position, event));
                }
                after = seq;
            }
        }
    }
    for (hole, filling) in fillings {
        events.extend(filling.into_iter().map(|event| (hole.at, event)));
    }
    events
}

/// Whether an event itself says what its change was.
fn announces(event: &Event) -> bool {
    !matches!(event.fact, Fact::Advanced)
}

/// Something that was missed.
#[derive(Debug)]
pub enum Missed {
    /// An event of a room.
    Event(ConversationId, Event),
    /// The user became a member of a conversation, by this change.
    Joined(Seq, Box<ConversationView>),
    /// The user was removed from a conversation that this socket had not joined.
    Removed(ConversationId, Event),
}

/// A room's part.
#[derive(Debug)]
pub struct RoomPart {
    /// Which room.
    pub conversation: ConversationId,
    /// Up to which change the client had been shown it.
    pub shown: Seq,
    /// Whether its announcements say so too; if not, the client's place names the room as an exception.
    pub regular: bool,
    /// What was announced of it, by change, old and new.
    pub announced: Vec<(Position, Seq)>,
    /// What is to be shown, in order, each at the position where it belongs among the other rooms' events.
    pub missed: Vec<(Position, Event)>,
}

/// What a client missed, with the means to say how far it has come while it is shown.
#[derive(Debug)]
pub struct Replay {
    items: Vec<(Position, Missed)>,
    position: Position,
    cut: Position,
    rooms: HashMap<ConversationId, Track>,
    differing: BTreeMap<ConversationId, Seq>,
    notices: BTreeSet<Position>,
    /// The last change of the user's membership that was told, by conversation.
    told: HashMap<ConversationId, Seq>,
}

/// How far a room has been shown.
#[derive(Debug)]
struct Track {
    shown: Seq,
    announced: Vec<(Position, Seq)>,
    /// What holds where no announcement says otherwise.
    base: Option<Seq>,
}

impl Track {
    /// Whether the announcements up to a position tell how far it was shown.
    fn is_told(&self, position: Position) -> bool {
        let until = self.announced.partition_point(|(at, _)| *at <= position);
        let last = self.announced[..until].iter().map(|(_, seq)| *seq).max();
        last.or(self.base) == Some(self.shown)
    }
}

/// One frame's worth of a replay.
#[derive(Debug)]
pub struct Step {
    /// What to show.
    pub missed: Missed,
    /// What its frame carries.
    pub offset: String,
}

impl Replay {
    /// What was missed since `since`, of what was announced until `cut`. Notices come with the positions where they were announced.
    pub fn new(
        since: &Offset,
        cut: Position,
        parts: Vec<RoomPart>,
        notices: Vec<(Position, Missed)>,
    ) -> Self {
        let mut replay = Self {
            items: Vec::new(),
            position: since.position,
            cut,
            rooms: HashMap::new(),
            differing: BTreeMap::new(),
            notices: since.notices.iter().copied().collect(),
            told: HashMap::new(),
        };
        replay
            .notices
            .retain(|pending| notices.iter().any(|(position, _)| position == pending));
        for part in parts {
            let RoomPart {
                conversation,
                shown,
                regular,
                announced,
                missed,
            } = part;
            let track = Track {
                shown,
                announced,
                base: regular.then_some(shown),
            };
            replay.rooms.insert(conversation, track);
            replay.place(conversation);
            let events = missed.into_iter();
            replay
                .items
                .extend(events.map(|(at, event)| (at, Missed::Event(conversation, event))));
        }
        replay.items.extend(notices);
        // Stable: a room's events stay in their order.
        replay.items.sort_by_key(|(position, _)| *position);
        replay
    }

    /// Takes what was missed out, in order, each with the offset that says it was seen. What comes later follows on the whole of it.
    pub fn steps(&mut self) -> Vec<Step> {
        let items = std::mem::take(&mut self.items);
        let mut steps = Vec::with_capacity(items.len());
        for (at, missed) in items {
            self.position = self.position.max(at.min(self.cut));
            match &missed {
                Missed::Event(conversation, event) => {
                    if let (Some(seq), Some(track)) = (event.seq, self.rooms.get_mut(conversation))
                    {
                        track.shown = track.shown.max(seq);
                    }
                    self.place(*conversation);
                }
                Missed::Joined(seq, view) => {
                    self.notices.remove(&at);
                    self.told.insert(view.id, *seq);
                }
                Missed::Removed(conversation, event) => {
                    self.notices.remove(&at);
                    self.told
                        .insert(*conversation, event.seq.unwrap_or_default());
                }
            }
            let offset = Offset {
                position: self.position,
                doubtful: false,
                rooms: self.differing.iter().map(|(r, s)| (*r, *s)).collect(),
                notices: self.notices.iter().copied().collect(),
            };
            steps.push(Step {
                missed,
                offset: offset.to_string(),
            });
        }
        self.position = self.cut;
        let rooms: Vec<ConversationId> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.place(room);
        }
        steps
    }

    /// Up to which change each room is shown, once all steps are taken.
    pub fn shown(&self) -> Vec<(ConversationId, Seq)> {
        let shown = self.rooms.iter();
        shown.map(|(room, track)| (*room, track.shown)).collect()
    }

    /// The rooms that were shown further than announcements say, once all steps are taken.
    pub fn ahead(&self) -> impl Iterator<Item = ConversationId> {
        self.differing.keys().copied()
    }

    /// The offset of something that was held back meanwhile, as it is to be sent after the replay.
    pub fn amend(&self, offset: Box<str>) -> Box<str> {
        match offset.parse::<Offset>() {
            Ok(amended) if amended.position >= self.cut && self.differing.is_empty() => offset,
            Ok(mut amended) => {
                amended.position = amended.position.max(self.cut);
                for (room, shown) in &self.differing {
                    if amended.exception(*room).is_none() {
                        amended.rooms.push((*room, *shown));
                    }
                }
                amended.to_string().into()
            }
            Err(_) => offset,
        }
    }

    /// Whether something that was held back meanwhile is still to be shown.
    pub fn wants(&mut self, held: &Held) -> bool {
        match held {
            Held::Frames(_) => true,
            Held::Notice {
                conversation, seq, ..
            } => self.told.get(conversation).is_none_or(|told| seq > told),
            Held::Event {
                subject,
                event,
                offset,
                ..
            } => {
                let conversation = &subject.id;
                let Some(track) = self.rooms.get_mut(conversation) else {
                    // Only its own removal from a room that it had not joined.
                    let told = self.told.get(conversation);
                    return told.is_none_or(|told| event.seq.is_none_or(|seq| seq > *told));
                };
                match event.seq {
                    Some(seq) if seq <= track.shown => false,
                    Some(seq) => {
                        track.shown = seq;
                        self.differing
                            .entry(*conversation)
                            .and_modify(|shown| *shown = seq);
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
                        .is_none_or(|offset| offset.position > self.cut),
                }
            }
        }
    }

    /// Notes whether a room's announcements up to the present place say how far it was shown.
    fn place(&mut self, conversation: ConversationId) {
        let Some(track) = self.rooms.get(&conversation) else {
            return;
        };
        if track.is_told(self.position) {
            self.differing.remove(&conversation);
        } else {
            self.differing.insert(conversation, track.shown);
        }
    }
}

#[cfg(test)]
mod tests;
