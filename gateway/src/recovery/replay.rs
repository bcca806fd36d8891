//! What a client missed, in order: pure, so that it can be tested against everything that may have happened.
//!
//! A room's events have a strict order of their own (`seq`); across rooms they follow the positions at which they were announced. What
//! Redis kept need not be all: where the order of a room has a hole, whoever reads PostgreSQL fills it, and the offsets that the client
//! gets say how far each room was shown, so that a replay that breaks off half way can itself be resumed.

mod behind;
mod notices;
mod shown;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::position::Position;

use crate::hub::offset::{Announced, Offset};
use crate::hub::places::{Orders, Places};
pub use notices::{NoticePart, behind_joinings, last_words, untold};
pub use shown::{is_settled, shown_until, was_quiet};

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
    /// The user became a member of a conversation.
    Joined(Box<ConversationView>),
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
    /// Whether some of what is to be shown was announced late, or never.
    pub filled: bool,
    /// What is to be shown, in order, each at the position where it belongs among the other rooms' events.
    pub missed: Vec<(Position, Event)>,
}

/// What a client missed, with the means to say how far it has come while it is shown.
#[derive(Debug)]
pub struct Replay {
    items: Vec<(Position, Missed)>,
    orders: Orders,
    /// The order in which the user's notices are announced.
    home: Partition,
    places: Places,
    cut: Places,
    rooms: HashMap<ConversationId, Track>,
    differing: BTreeMap<ConversationId, Seq>,
    notices: BTreeSet<Position>,
    /// Notices of that order that it had been told, though its place there does not say so.
    ahead: BTreeSet<Position>,
    /// The last change of the user's membership that was told before or is told by this, by conversation.
    told: HashMap<ConversationId, Seq>,
}

/// How far a room has been shown.
#[derive(Debug)]
struct Track {
    shown: Seq,
    announced: Vec<(Position, Seq)>,
    /// What holds where no announcement says otherwise.
    base: Option<Seq>,
    /// The last of what is told so late that it would be taken for shown long before: until then, no announcement says how far it was.
    owed: Option<Seq>,
}

impl Track {
    /// Of a room that was shown up to a change, whatever was announced.
    fn excepted(shown: Seq) -> Self {
        Self {
            shown,
            announced: Vec::new(),
            base: None,
            owed: None,
        }
    }

    /// Whether the announcements up to a position tell how far it was shown.
    fn is_told(&self, position: Position) -> bool {
        if self.owed.is_some_and(|owed| self.shown < owed) {
            return false;
        }
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
    /// What a user's client missed since `since`, of what was announced until `cut`. A room without a part must have had nothing announced
    /// in between, unless the user has come into it since.
    pub fn new(
        orders: Orders,
        user: UserId,
        since: &Offset,
        cut: &Places,
        parts: Vec<RoomPart>,
        notices: NoticePart,
    ) -> Self {
        let home = orders.of_user(user);
        let at_home = |announced: &[Announced]| {
            let announced = announced.iter().filter(|(order, _)| *order == home);
            announced.map(|(_, position)| *position).collect()
        };
        let mut replay = Self {
            items: Vec::new(),
            orders,
            home,
            places: since.places.clone(),
            cut: cut.clone(),
            rooms: HashMap::new(),
            differing: BTreeMap::new(),
            notices: at_home(&since.notices),
            ahead: at_home(&since.ahead),
            told: notices.told,
        };
        let joinings = joinings(&notices.missed);
        replay.notices.retain(|pending| {
            let mut missed = notices.missed.iter();
            missed.any(|(position, _)| position == pending)
        });
        // First: what happened in a conversation comes behind the word that the user is in it.
        replay.items.extend(notices.missed);
        for part in parts {
            let RoomPart {
                conversation,
                shown,
                regular,
                announced,
                filled,
                missed,
            } = part;
            let last = missed.iter().filter_map(|(_, event)| event.seq).max();
            let track = Track {
                shown,
                announced,
                base: regular.then_some(shown),
                owed: last.filter(|_| filled),
            };
            replay.rooms.insert(conversation, track);
            replay.place(conversation);
            // An exception says how far it was shown, so that its events may come later than where they were announced. But what ends with the
            // user's removal, after which it came in again, was before that.
            let ended = missed.last().is_some_and(|(_, event)| {
                let is_own =
                    matches!(event.fact, Fact::MemberRemoved { user: gone, .. } if gone == user);
                is_own && event.seq < replay.told.get(&conversation).copied()
            });
            let joining = joinings.get(&conversation).filter(|_| !regular && !ended);
            let from = joining.copied().unwrap_or_default();
            let events = missed.into_iter();
            replay.items.extend(
                events.map(|(at, event)| (at.max(from), Missed::Event(conversation, event))),
            );
        }
        for (conversation, seq) in notices.followed {
            // From its joining on it is held back: it has been shown no further, whatever was announced.
            replay
                .rooms
                .entry(conversation)
                .or_insert(Track::excepted(seq));
        }
        // Stable: a room's events stay in their order.
        replay.items.sort_by_key(|(position, _)| *position);
        replay
    }

    /// Takes what was missed out, in order, each with the offset that says it was seen. What comes later follows on the whole of it.
    pub fn steps(&mut self) -> Vec<Step> {
        let items = std::mem::take(&mut self.items);
        let mut steps = Vec::with_capacity(items.len());
        for (at, missed) in items {
            let order = match &missed {
                Missed::Event(conversation, _) => self.orders.of_room(*conversation),
                Missed::Joined(..) | Missed::Removed(..) => self.home,
            };
            self.places.advance(order, at.min(self.cut.of(order)));
            match &missed {
                Missed::Event(conversation, event) => {
                    if let (Some(seq), Some(track)) = (event.seq, self.rooms.get_mut(conversation))
                    {
                        track.shown = track.shown.max(seq);
                    }
                    self.place(*conversation);
                }
                Missed::Joined(view) => {
                    self.notices.remove(&at);
                    self.place(view.id);
                }
                Missed::Removed(..) => {
                    self.notices.remove(&at);
                }
            }
            let offset = self.offset().to_string();
            steps.push(Step { missed, offset });
        }
        self.places.advance_all(&self.cut);
        let rooms: Vec<ConversationId> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.place(room);
        }
        steps
    }

    /// Where whoever has seen the steps that are taken may go on from.
    fn offset(&self) -> Offset {
        let place = self.places.of(self.home);
        let ahead = self.ahead.iter().filter(|position| **position > place);
        let announced = |position: &Position| (self.home, *position);
        Offset {
            places: self.places.clone(),
            doubtful: false,
            rooms: self.differing.iter().map(|(r, s)| (*r, *s)).collect(),
            notices: self.notices.iter().map(announced).collect(),
            ahead: ahead.map(announced).collect(),
        }
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

    /// Notes whether a room's announcements up to the present place say how far it was shown.
    fn place(&mut self, conversation: ConversationId) {
        let Some(track) = self.rooms.get(&conversation) else {
            return;
        };
        let place = self.places.of(self.orders.of_room(conversation));
        if track.is_told(place) {
            self.differing.remove(&conversation);
        } else {
            self.differing.insert(conversation, track.shown);
        }
    }
}

/// Where it was announced that the user came into conversations.
fn joinings(notices: &[(Position, Missed)]) -> HashMap<ConversationId, Position> {
    let joinings = notices
        .iter()
        .filter_map(|(position, missed)| match missed {
            Missed::Joined(view) => Some((view.id, *position)),
            Missed::Event(..) | Missed::Removed(..) => None,
        });
    joinings.collect()
}

#[cfg(test)]
mod tests;
