//! Places in the order in which a deployment's events were announced.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;

use super::timestamp::Timestamp;

/// A place in the order of announcements, across all conversations: a microsecond of Redis's clock, and an index within it.
///
/// Unique, and later announcements have later ones. It is the id of the entry in the history, with the first event's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Microseconds since 1970 by Redis's clock.
    pub micros: u64,
    /// Which of those announced together.
    pub index: u32,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed position")]
pub struct MalformedPosition;

impl Position {
    /// The place of the event this many after the one here, of those announced together.
    #[must_use]
    pub fn plus(self, events: usize) -> Self {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        Self {
            index: self.index.saturating_add(events),
            ..self
        }
    }
}

impl Position {
    /// The place so long before this one.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self {
            micros: self.micros.saturating_sub(by),
            index: 0,
        }
    }

    /// The moment that Redis's clock showed.
    pub fn moment(self) -> Timestamp {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.micros) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .into()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.micros, self.index)
    }
}

impl FromStr for Position {
    type Err = MalformedPosition;

    /// Reads what `Display` writes, and nothing else: one position, one spelling.
    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        let (micros, index) = text.split_once('-').ok_or(MalformedPosition)?;
        let position = Self {
            micros: micros.parse().map_err(|_| MalformedPosition)?,
            index: index.parse().map_err(|_| MalformedPosition)?,
        };
        if position.to_string() == text {
            Ok(position)
        } else {
            Err(MalformedPosition)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_survives_its_journey(micros: u64, index: u32) {
            let position = Position { micros, index };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn only_the_canonical_spelling_is_read(text in "[-+0-9]{0,24}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
