//! What a client gives back when it comes again: up to where everything was shown to it.
//!
//! Pure. Owns the offset's text, which is opaque to clients.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_shared::id::{ConversationId, Partition, Seq};
use confab_shared::model::position::Position;
use uuid::Uuid;

use super::places::Places;

/// The most exceptions an offset may name. A node that is further out of order says so instead, until it has caught up.
pub const MAX_EXCEPTIONS: usize = 16;

/// A place in the order in which a node shows events to everybody: of each order of announcements it has shown whatever was announced up to
/// its place there, but for the exceptions.
///
/// Nothing in it belongs to one socket, so that the frames which carry it are the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offset {
    /// Everything announced up to here was shown.
    pub places: Places,
    /// Something may have been lost that is not known yet: this is no place to go on from.
    pub doubtful: bool,
    /// Rooms that had been shown up to these changes, whatever was announced: they were behind a gap, or ahead by its repair.
    pub rooms: Vec<(ConversationId, Seq)>,
    /// Notices that were still to be shown, by where they were announced.
    pub notices: Vec<Announced>,
    /// Notices that were announced behind the place in their order and had been shown all the same.
    pub ahead: Vec<Announced>,
}

/// Where a notice was announced: in which order, and where there.
pub type Announced = (Partition, Position);

/// A text that is no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed offset")]
pub struct MalformedOffset;

impl Offset {
    /// An offset without exceptions.
    pub fn at(places: Places) -> Self {
        Self {
            places,
            ..Self::default()
        }
    }

    /// What is said where nobody can go on from, whatever the exceptions are.
    pub fn doubtful(position: Position) -> Self {
        Self {
            doubtful: true,
            ..Self::at(Places::at(position))
        }
    }

    /// Whether a client can go on from here.
    pub fn is_certain(&self) -> bool {
        !self.doubtful && self.exceptions() <= MAX_EXCEPTIONS
    }

    /// How many there are.
    pub fn exceptions(&self) -> usize {
        self.rooms.len() + self.notices.len() + self.ahead.len()
    }

    /// Whether what was seen here contains what was seen there, and more.
    pub fn is_later_than(&self, other: &Self) -> bool {
        if other.doubtful {
            // It does not say where it was in each order.
            return self.places.latest() > other.places.latest();
        }
        self.places != other.places && self.places.cover(&other.places)
    }

    /// Up to where this room had been shown, if the position does not tell.
    pub fn exception(&self, conversation: ConversationId) -> Option<Seq> {
        self.rooms
            .iter()
            .find(|(room, _)| *room == conversation)
            .map(|(_, seq)| *seq)
    }

    /// Whether the notice that was announced there had been shown.
    pub fn has_told(&self, at: Announced) -> bool {
        let (order, position) = at;
        if position <= self.places.of(order) {
            !self.notices.contains(&at)
        } else {
            self.ahead.contains(&at)
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_certain() {
            return write!(f, "{}?", self.places.latest());
        }
        self.places.fmt(f)?;
        for (room, seq) in &self.rooms {
            let room = URL_SAFE_NO_PAD.encode(room.0.as_bytes());
            write!(f, "~{room}:{seq}")?;
        }
        for (order, position) in &self.notices {
            write!(f, "!{order}.{position}")?;
        }
        for (order, position) in &self.ahead {
            write!(f, "+{order}.{position}")?;
        }
        Ok(())
    }
}

impl FromStr for Offset {
    type Err = MalformedOffset;

    fn from_str(text: &str) -> Result<Self, MalformedOffset> {
        let end = text.find(['?', '~', '!', '+']).unwrap_or(text.len());
        let (places, mut rest) = text.split_at(end);
        let mut offset = Self::at(places.parse()?);
        if rest == "?" {
            offset.doubtful = true;
            return Ok(offset);
        }
        while let Some(kind) = rest.chars().next() {
            let body = &rest[1..];
            let end = body.find(['~', '!', '+']).unwrap_or(body.len());
            let (exception, after) = body.split_at(end);
            match kind {
                '~' => offset.rooms.push(parse_room(exception)?),
                '!' => offset.notices.push(parse_notice(exception)?),
                '+' => offset.ahead.push(parse_notice(exception)?),
                _ => return Err(MalformedOffset),
            }
            if offset.exceptions() > MAX_EXCEPTIONS {
                return Err(MalformedOffset);
            }
            rest = after;
        }
        Ok(offset)
    }
}

fn parse_room(text: &str) -> Result<(ConversationId, Seq), MalformedOffset> {
    let (room, seq) = text.split_once(':').ok_or(MalformedOffset)?;
    let bytes = URL_SAFE_NO_PAD.decode(room).map_err(|_| MalformedOffset)?;
    let room = Uuid::from_slice(&bytes).map_err(|_| MalformedOffset)?;
    let seq = seq.parse::<u32>().map_err(|_| MalformedOffset)?;
    Ok((ConversationId(room), Seq(i64::from(seq))))
}

fn parse_notice(text: &str) -> Result<Announced, MalformedOffset> {
    let (order, position) = text.split_once('.').ok_or(MalformedOffset)?;
    let order = order.parse().map_err(|_| MalformedOffset)?;
    let position = position.parse().map_err(|_| MalformedOffset)?;
    Ok((Partition(order), position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u32>()).prop_map(|(micros, index)| Position { micros, index })
    }

    proptest! {
        #[test]
        fn an_offset_survives_its_journey(
            position in position(),
            rooms in prop::collection::vec((any::<u128>(), any::<u32>()), 0..8),
            notices in prop::collection::vec((any::<u16>(), position()), 0..4),
            ahead in prop::collection::vec((any::<u16>(), position()), 0..4),
        ) {
            let rooms = rooms
                .into_iter()
                .map(|(room, seq)| (ConversationId(Uuid::from_u128(room)), Seq(i64::from(seq))))
                .collect();
            let places = Places::at(position);
            let placed = |notices: Vec<(u16, Position)>| {
                notices.into_iter().map(|(order, at)| (Partition(order), at)).collect()
            };
            let (notices, ahead) = (placed(notices), placed(ahead));
            let offset = Offset { places, doubtful: false, rooms, notices, ahead };
            prop_assert_eq!(offset.to_string().parse::<Offset>(), Ok(offset));
        }

        #[test]
        fn no_text_breaks_it(text in "[-0-9~!+?.:A-Za-z_\\PC]{0,64}") {
            let _ = text.parse::<Offset>();
        }
    }

    #[test]
    fn too_many_exceptions_are_a_doubt() {
        let offset = Offset {
            notices: vec![(Partition(0), Position::default()); MAX_EXCEPTIONS + 1],
            ..Offset::at(Places::at(Position {
                micros: 7,
                index: 1,
            }))
        };
        assert_eq!(offset.to_string(), "7-1?");
        assert!(offset.to_string().parse::<Offset>().unwrap().doubtful);
    }
}
