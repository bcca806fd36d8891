//! Which orders of announcements there are, and a place in each of them.
//!
//! Pure. On one Redis there is one order. On a cluster each partition has its own, and says nothing of the others': a server that is not
//! heard any more falls behind in its partitions' orders alone.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use confab_shared::id::{ConversationId, Partition, UserId};
use confab_shared::model::position::Position;

use super::offset::MalformedOffset;

/// The digits of a number in a place's text, five bits each; those of the second half have others behind them.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BITS: u32 = 5;
/// Behind the latest position, where there are several orders.
const SEVERAL: char = '@';
/// Before the index of a position that has one.
const INDEX: char = '.';

/// The orders of announcements of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    count: u16,
    is_split: bool,
}

impl Orders {
    /// One for everything.
    pub const ONE: Self = Self {
        count: 1,
        is_split: false,
    };

    /// One for each of so many partitions.
    pub fn of_partitions(count: u16) -> Self {
        Self {
            count: count.max(1),
            is_split: true,
        }
    }

    /// Whether each partition has its own. Then what is heard of one says nothing of what is not heard of another.
    pub fn is_split(self) -> bool {
        self.is_split
    }

    /// How many there are.
    pub fn count(self) -> usize {
        usize::from(self.count)
    }

    /// The order in which a conversation's events are announced.
    pub fn of_room(self, conversation: ConversationId) -> Partition {
        conversation.partition(self.count)
    }

    /// The order in which what concerns a user is announced.
    pub fn of_user(self, user: UserId) -> Partition {
        user.home(self.count)
    }
}

/// A place in each order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(Vec<Position>);

impl Default for Places {
    fn default() -> Self {
        Self::at(Position::default())
    }
}

impl Places {
    /// The beginning of each order.
    pub fn beginning(orders: Orders) -> Self {
        Self(vec![Position::default(); orders.count()])
    }

    /// A place in the only order that there is.
    pub fn at(position: Position) -> Self {
        Self(vec![position])
    }

    /// Whether these are places in these orders.
    pub fn are_in(&self, orders: Orders) -> bool {
        self.0.len() == orders.count()
    }

    /// The place in one order.
    pub fn of(&self, order: Partition) -> Position {
        self.0[self.index(order)]
    }

    /// Goes on to a later place in one order.
    pub fn advance(&mut self, order: Partition, position: Position) {
        let index = self.index(order);
        self.0[index] = self.0[index].max(position);
    }

    /// Goes on to the later place in each order.
    pub fn advance_all(&mut self, others: &Self) {
        for (place, other) in self.0.iter_mut().zip(&others.0) {
            *place = (*place).max(*other);
        }
    }

    /// Whether none of them is before the other's.
    pub fn cover(&self, others: &Self) -> bool {
        self.0.len() == others.0.len()
            && self
                .0
                .iter()
                .zip(&others.0)
                .all(|(own, other)| own >= other)
    }

    /// The latest, by the servers' clocks.
    pub fn latest(&self) -> Position {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// The earliest, by the servers' clocks.
    pub fn earliest(&self) -> Position {
        self.0.iter().min().copied().unwrap_or_default()
    }

    /// Where there is one order all partitions are in it.
    fn index(&self, order: Partition) -> usize {
        usize::from(order.0).min(self.0.len() - 1)
    }
}

/// One place as it is; several as the latest, and by how much earlier each is. Some four bytes for each that was heard of within a second.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.fmt(f);
        }
        let latest = self.latest().micros;
        write!(f, "{latest}{SEVERAL}")?;
        for place in &self.0 {
            write_number(f, latest - place.micros)?;
            if place.index > 0 {
                f.write_char(INDEX)?;
                write_number(f, u64::from(place.index))?;
            }
        }
        Ok(())
    }
}

impl FromStr for Places {
    type Err = MalformedOffset;

    fn from_str(text: &str) -> Result<Self, MalformedOffset> {
        let Some((latest, rest)) = text.split_once(SEVERAL) else {
            return Ok(Self::at(text.parse().map_err(|_| MalformedOffset)?));
        };
        let latest: u64 = latest.parse().map_err(|_| MalformedOffset)?;
        let (mut rest, mut places) = (rest.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let earlier = read_number(&mut rest)?;
            let micros = latest.checked_sub(earlier).ok_or(MalformedOffset)?;
            let index = match rest.split_first() {
                Some((byte, behind)) if char::from(*byte) == INDEX => {
                    rest = behind;
                    read_number(&mut rest)?
                }
                _ => 0,
            };
            let index = u32::try_from(index).map_err(|_| MalformedOffset)?;
            places.push(Position { micros, index });
        }
        if places.len() < 2 {
            return Err(MalformedOffset);
        }
        Ok(Self(places))
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, mut number: u64) -> fmt::Result {
    let more = 1_usize << BITS;
    loop {
        let digit = usize::try_from(number).unwrap_or(usize::MAX) & (more - 1);
        number >>= BITS;
        if number == 0 {
            return f.write_char(char::from(DIGITS[digit]));
        }
        f.write_char(char::from(DIGITS[digit + more]))?;
    }
}

fn read_number(rest: &mut &[u8]) -> Result<u64, MalformedOffset> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, behind) = rest.split_first().ok_or(MalformedOffset)?;
        *rest = behind;
        let digit = DIGITS.iter().position(|digit| digit == byte);
        let digit = u64::try_from(digit.ok_or(MalformedOffset)?).map_err(|_| MalformedOffset)?;
        let (more, low) = (digit >> BITS, digit & ((1 << BITS) - 1));
        if shift >= u64::BITS || low << shift >> shift != low {
            return Err(MalformedOffset);
        }
        number |= low << shift;
        if more == 0 {
            return Ok(number);
        }
        shift += BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_survive_their_journey(places in prop::collection::vec((any::<u64>(), any::<u32>()), 2..40)) {
            let places = places.into_iter().map(|(micros, index)| Position { micros, index });
            let places = Places(places.collect());
            prop_assert_eq!(places.to_string().parse::<Places>(), Ok(places));
        }

        #[test]
        fn no_text_breaks_them(text in "[0-9]{0,20}@[-0-9A-Za-z_.\\PC]{0,64}") {
            let _ = text.parse::<Places>();
        }
    }

    #[test]
    fn a_second_is_four_digits() {
        let at = |micros| Position { micros, index: 0 };
        let places = Places(vec![at(1_700_000_000_000_000), at(1_699_999_999_000_000)]);
        assert_eq!(places.to_string(), "1700000000000000@Agywe");
    }

    #[test]
    fn one_order_has_everything_and_several_their_own() {
        let (room, at) = (
            ConversationId::generate(),
            Position {
                micros: 7,
                index: 1,
            },
        );
        let mut one = Places::beginning(Orders::ONE);
        one.advance(Partition(9), at);
        assert_eq!(one.of(Orders::ONE.of_room(room)), at);
        let mut several = Places::beginning(Orders::of_partitions(3));
        several.advance(Partition(2), at);
        assert_eq!(several.of(Partition(1)), Position::default());
        assert_eq!((several.of(Partition(2)), several.latest()), (at, at));
    }
}
