//! How often something may be done, as the settings say it: `120/1m`, or `off`.

use std::time::Duration;

use confab_shared::config::{ConfigError, parse_duration};
use serde::{Deserialize, Deserializer};

use super::Class;

/// The most that a limit can be. What comes back within less than a microsecond is not limited.
const MOST: u32 = 1_000_000;
/// The longest period, in seconds: a week.
const LONGEST: u64 = 7 * 86_400;

/// So many in a period, all of them at once if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: u32,
    /// After how long each of them is free again.
    pub interval: Duration,
}

impl Rate {
    /// Reads `<n>/<period>` or `off`.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text == "off" {
            return Ok(None);
        }
        let wanted = || format!("{text:?} is neither a rate such as 120/1m nor \"off\"");
        let (most, period) = text.split_once('/').ok_or_else(wanted)?;
        let period = parse_duration(period).ok_or_else(wanted)?;
        Self::new(most, period).map(Some)
    }

    fn new(most: &str, period: Duration) -> Result<Self, String> {
        let most: u32 = match most.trim().parse() {
            Ok(most) if (1..=MOST).contains(&most) => most,
            _ => return Err(format!("{most:?} is no number from 1 to {MOST}")),
        };
        if !(1..=LONGEST).contains(&period.as_secs()) {
            return Err(format!("a period has 1 to {LONGEST} seconds"));
        }
        // Whole microseconds, down: what is counted with them is exact, and nobody waits longer than the setting says.
        let interval = Duration::from_micros(
            u64::try_from(period.as_micros()).unwrap_or(u64::MAX) / u64::from(most),
        );
        Ok(Self { most, interval })
    }
}

/// A setting that is a text, or a number where the environment made one of it.
fn text_or_number<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a number")]
    enum Given {
        Text(String),
        Number(i64),
    }
    Ok(match Given::deserialize(value)? {
        Given::Text(text) => text,
        Given::Number(number) => number.to_string(),
    })
}

/// How often users may do what.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct RateLimitsConfig {
    pub enabled: bool,
    #[serde(deserialize_with = "text_or_number")]
    pub messages: String,
    #[serde(deserialize_with = "text_or_number")]
    pub rooms_messages: String,
    #[serde(deserialize_with = "text_or_number")]
    pub room_operations: String,
    #[serde(deserialize_with = "text_or_number")]
    pub rooms_room_operations: String,
    #[serde(deserialize_with = "text_or_number")]
    pub reads: String,
    #[serde(deserialize_with = "text_or_number")]
    pub questions: String,
    #[serde(deserialize_with = "text_or_number")]
    pub subscriptions: String,
    #[serde(deserialize_with = "text_or_number")]
    pub rest_requests: String,
    pub rest_window_seconds: u64,
    #[serde(deserialize_with = "text_or_number")]
    pub login: String,
    #[serde(deserialize_with = "text_or_number")]
    pub login_address: String,
    #[serde(deserialize_with = "text_or_number")]
    pub register: String,
    #[serde(deserialize_with = "text_or_number")]
    pub guests: String,
    pub block_seconds: u64,
    pub longest_block_seconds: u64,
    pub forget_seconds: u64,
}

/// What the settings come to.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// The classes' rates, in the order of [`Class::ALL`]; none: that class is not limited.
    pub rates: [Option<Rate>; Class::ALL.len()],
    /// How long the first block lasts; zero: nobody is blocked.
    pub block: Duration,
    /// How long the longest lasts.
    pub longest_block: Duration,
    /// How long after its end a block is forgotten.
    pub forget: Duration,
}

impl RateLimitsConfig {
    /// The figures, or which setting is bad.
    pub fn figures(&self) -> Result<Figures, ConfigError> {
        let read =
            |key, text: &str| Rate::parse(text).map_err(|why| ConfigError::invalid(key, why));
        let messages = read("rate_limits.messages", &self.messages)?;
        let operations = read("rate_limits.room_operations", &self.room_operations)?;
        let strict_messages = read("rate_limits.rooms_messages", &self.rooms_messages)?;
        let strict_operations = read(
            "rate_limits.rooms_room_operations",
            &self.rooms_room_operations,
        )?;
        let rest = match self.rest_requests.trim() {
            "off" => None,
            most => {
                let key = "rate_limits.rest_requests";
                let window = Duration::from_secs(self.rest_window_seconds);
                if !(1..=LONGEST).contains(&self.rest_window_seconds) {
                    let why = format!("must be from 1 to {LONGEST}");
                    return Err(ConfigError::invalid("rate_limits.rest_window_seconds", why));
                }
                let rate = Rate::new(most, window);
                Some(rate.map_err(|why| ConfigError::invalid(key, format!("{why}, nor \"off\"")))?)
            }
        };
        let rates = [
            messages,
            // Who switches a class off means all of it.
            strict_messages.filter(|_| messages.is_some()),
            operations,
            strict_operations.filter(|_| operations.is_some()),
            read("rate_limits.reads", &self.reads)?,
            read("rate_limits.questions", &self.questions)?,
            read("rate_limits.subscriptions", &self.subscriptions)?,
            rest,
            read("rate_limits.login", &self.login)?,
            read("rate_limits.login_address", &self.login_address)?,
            read("rate_limits.register", &self.register)?,
            read("rate_limits.guests", &self.guests)?,
        ];
        for (key, seconds) in [
            ("rate_limits.block_seconds", self.block_seconds),
            ("rate_limits.forget_seconds", self.forget_seconds),
            (
                "rate_limits.longest_block_seconds",
                self.longest_block_seconds,
            ),
        ] {
            if seconds > LONGEST {
                return Err(ConfigError::invalid(
                    key,
                    format!("must be at most {LONGEST}"),
                ));
            }
        }
        if self.longest_block_seconds < self.block_seconds {
            return Err(ConfigError::invalid(
                "rate_limits.longest_block_seconds",
                "must not be less than rate_limits.block_seconds",
            ));
        }
        Ok(Figures {
            rates: rates.map(|rate| rate.filter(|_| self.enabled)),
            block: Duration::from_secs(self.block_seconds),
            longest_block: Duration::from_secs(self.longest_block_seconds),
            forget: Duration::from_secs(self.forget_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use confab_shared::testing;

    use super::*;
    use crate::config::{DEFAULTS, GatewayConfig};

    fn defaults() -> RateLimitsConfig {
        testing::defaults::<GatewayConfig>(DEFAULTS).rate_limits
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let figures = defaults().figures().unwrap();
        let of = |class: Class| {
            let rate = figures.rates[class as usize].unwrap();
            (rate.most, rate.interval * rate.most)
        };
        let minute = Duration::from_secs(60);
        assert_eq!(of(Class::Messages), (120, minute));
        assert_eq!(of(Class::RoomsMessages), (30, minute));
        assert_eq!(of(Class::RoomOperations), (60, minute));
        assert_eq!(of(Class::RoomsRoomOperations), (5, minute));
        assert_eq!(of(Class::Rest), (100, minute));
        assert_eq!(of(Class::Reads), (600, minute));
        assert_eq!(of(Class::Questions), (120, minute));
        assert_eq!(of(Class::Subscriptions), (600, minute));
        assert_eq!(of(Class::Guests), (60, minute));
        let blocks = [figures.block, figures.longest_block, figures.forget];
        assert_eq!(blocks.map(|block| block.as_secs()), [10, 900, 600]);
    }

    #[test]
    fn off_means_what_it_says() {
        let mut config = defaults();
        config.messages = "off".into();
        let figures = config.figures().unwrap();
        let is_on = |class: Class| figures.rates[class as usize].is_some();
        assert!(!is_on(Class::Messages) && !is_on(Class::RoomsMessages));
        assert!(is_on(Class::RoomOperations) && is_on(Class::RoomsRoomOperations));
        config.enabled = false;
        assert!(config.figures().unwrap().rates.iter().all(Option::is_none));
    }

    #[test]
    fn a_bad_setting_is_named() {
        type Setting = fn(&mut RateLimitsConfig) -> &mut String;
        let cases: [(&str, Setting, &str); 11] = [
            ("messages", |c| &mut c.messages, "120"),
            ("rooms_messages", |c| &mut c.rooms_messages, "0/1m"),
            ("room_operations", |c| &mut c.room_operations, "60/soon"),
            (
                "rooms_room_operations",
                |c| &mut c.rooms_room_operations,
                "5/0s",
            ),
            ("rest_requests", |c| &mut c.rest_requests, "-1"),
            ("login", |c| &mut c.login, "Off"),
            ("register", |c| &mut c.register, "1/1m/1m"),
            ("reads", |c| &mut c.reads, "lots"),
            ("questions", |c| &mut c.questions, "1/8d"),
            ("subscriptions", |c| &mut c.subscriptions, "0/1m"),
            ("guests", |c| &mut c.guests, ""),
        ];
        for (key, setting, bad) in cases {
            let mut config = defaults();
            bad.clone_into(setting(&mut config));
            let refused = config.figures().unwrap_err().to_string();
            assert!(
                refused.contains(&format!("rate_limits.{key}:")),
                "{key}: {refused}"
            );
        }
        let mut config = defaults();
        config.longest_block_seconds = 9;
        let refused = config.figures().unwrap_err().to_string();
        assert!(
            refused.contains("rate_limits.longest_block_seconds"),
            "{refused}"
        );
        config.rest_window_seconds = 0;
        let refused = config.figures().unwrap_err().to_string();
        assert!(
            refused.contains("rate_limits.rest_window_seconds"),
            "{refused}"
        );
    }

    #[test]
    fn what_comes_back_in_uneven_parts_comes_back_no_later() {
        let rate = Rate::parse("7/1m").unwrap().unwrap();
        assert_eq!(
            (rate.most, rate.interval),
            (7, Duration::from_micros(8_571_428))
        );
        let high = Rate::parse(" 1000000 / 1s ").unwrap().unwrap();
        assert_eq!(high.interval, Duration::from_micros(1));
    }
}
