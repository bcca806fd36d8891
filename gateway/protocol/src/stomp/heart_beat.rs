//! What the two sides can and want to do about heart-beats.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The value of a `heart-beat` header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeartBeat {
    /// The shortest time in milliseconds after which whoever says this can send something; 0: it promises nothing.
    pub sends_ms: u32,
    /// The time in milliseconds after which it would like to hear something; 0: it does not care.
    pub wants_ms: u32,
}

/// A `heart-beat` header that is no pair of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("heart-beat is not two numbers with a comma between them")]
pub struct MalformedHeartBeat;

/// How often the two sides send something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// How often the server does, if it has to.
    pub server: Option<Duration>,
    /// How often the client does, if it said so.
    pub client: Option<Duration>,
}

impl HeartBeat {
    /// Reads a header's value, such as `10000,10000`. Who does not send the header means `0,0`, the default.
    ///
    /// A number beyond what fits is taken for the largest that does: it is a number all the same, and says "hardly ever".
    pub fn parse(value: &str) -> Result<Self, MalformedHeartBeat> {
        let (sends, wants) = value.split_once(',').ok_or(MalformedHeartBeat)?;
        Ok(Self {
            sends_ms: milliseconds(sends)?,
            wants_ms: milliseconds(wants)?,
        })
    }

    /// What follows from what a client and a server say: each sends as often as it can and the other one wants.
    pub fn negotiate(client: Self, server: Self) -> Intervals {
        Intervals {
            server: interval(server.sends_ms, client.wants_ms),
            client: interval(client.sends_ms, server.wants_ms),
        }
    }
}

impl fmt::Display for HeartBeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.sends_ms, self.wants_ms)
    }
}

fn milliseconds(digits: &str) -> Result<u32, MalformedHeartBeat> {
    // `str::parse` would take a sign as well.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MalformedHeartBeat);
    }
    Ok(digits.parse().unwrap_or(u32::MAX))
}

fn interval(sends_ms: u32, wants_ms: u32) -> Option<Duration> {
    let is_agreed = sends_ms > 0 && wants_ms > 0;
    is_agreed.then(|| Duration::from_millis(sends_ms.max(wants_ms).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_two_numbers() {
        let heart_beat = |sends_ms, wants_ms| HeartBeat { sends_ms, wants_ms };
        assert_eq!(HeartBeat::parse("0,0"), Ok(HeartBeat::default()));
        assert_eq!(
            HeartBeat::parse("10000,5000"),
            Ok(heart_beat(10_000, 5_000))
        );
        assert_eq!(
            HeartBeat::parse("99999999999999999999,0"),
            Ok(heart_beat(u32::MAX, 0))
        );
        assert_eq!(heart_beat(10_000, 5_000).to_string(), "10000,5000");
        for malformed in [
            "", ",", "1", "1,", ",1", "-1,0", "+1,0", "1,2,3", "1, 2", "1.5,0", "a,b",
        ] {
            assert_eq!(
                HeartBeat::parse(malformed),
                Err(MalformedHeartBeat),
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn either_side_may_do_without() {
        let negotiated = |client, server| {
            let parse = |value| HeartBeat::parse(value).unwrap();
            let intervals = HeartBeat::negotiate(parse(client), parse(server));
            let ms = |interval: Option<Duration>| interval.map_or(0, |every| every.as_millis());
            (ms(intervals.server), ms(intervals.client))
        };
        assert_eq!(negotiated("10000,10000", "10000,10000"), (10_000, 10_000));
        assert_eq!(negotiated("4000,30000", "10000,20000"), (30_000, 20_000));
        assert_eq!(negotiated("0,0", "10000,10000"), (0, 0));
        assert_eq!(negotiated("0,5000", "10000,10000"), (10_000, 0));
        assert_eq!(negotiated("5000,0", "10000,10000"), (0, 10_000));
        assert_eq!(negotiated("5000,5000", "0,0"), (0, 0));
    }
}
