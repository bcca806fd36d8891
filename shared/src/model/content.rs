//! The texts that clients give us, parsed once at the edge into types that cannot hold a bad value.

use serde::{Deserialize, Serialize};

use super::error::Rejection;

/// The longest message, in characters (Unicode scalar values) after trimming.
pub const MAX_CONTENT_CHARS: usize = 4_000;
/// The longest client-chosen id of a send, in bytes.
pub const MAX_TEMP_ID_BYTES: usize = 128;
/// The longest display name of a user or conversation, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// The longest description of a room, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 500;
/// The most people that a room may be made for.
pub const MAX_ROOM_USERS: i32 = 100_000;
/// The longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3).
pub const MAX_EMAIL_BYTES: usize = 254;
/// The longest picture address, in bytes.
pub const MAX_AVATAR_BYTES: usize = 2_048;
/// The most people one request may name.
pub const MAX_PARTICIPANTS: usize = 256;

/// A message's text: trimmed, 1 to 4 000 characters, no NUL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(String);

impl Content {
    /// Checks and trims a text. Lone surrogates cannot occur here: they do not survive JSON decoding into a `str`.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Rejection::invalid("content must not be blank"));
        }
        if text.contains('\0') {
            return Err(Rejection::invalid("content must not contain NUL"));
        }
        // A byte length within the limit spares the count for nearly every message.
        if text.len() > MAX_CONTENT_CHARS && text.chars().count() > MAX_CONTENT_CHARS {
            return Err(Rejection::invalid(format!(
                "content must have at most {MAX_CONTENT_CHARS} characters"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, taken out.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A client-chosen id that makes a send repeatable: 1 to 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TempId(String);

impl TempId {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        if text.is_empty() || text.len() > MAX_TEMP_ID_BYTES {
            return Err(Rejection::invalid(format!(
                "tempId must have 1 to {MAX_TEMP_ID_BYTES} bytes"
            )));
        }
        if text.contains('\0') {
            return Err(Rejection::invalid("tempId must not contain NUL"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a room in addresses and events: 1 to 64 of `a-z0-9_-`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(String);

impl Slug {
    /// The longest slug, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        };
        if begins && text.len() <= Self::MAX_BYTES && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rejection::invalid(
                "a room's slug has 1 to 64 of a-z 0-9 _ -, the first a letter or digit",
            ))
        }
    }

    /// A slug that says what a name says, as far as its letters go; `room` if none do.
    pub fn of_name(name: &str) -> Self {
        let mut slug = String::with_capacity(Self::MAX_BYTES);
        for character in name.chars().flat_map(char::to_lowercase) {
            if slug.len() == Self::MAX_BYTES {
                break;
            }
            match character {
                'a'..='z' | '0'..='9' => slug.push(character),
                // Letters that a slug cannot have are left out; whatever else stands between words becomes one hyphen.
                other if other.is_alphanumeric() => {}
                _ if slug.is_empty() || slug.ends_with('-') => {}
                _ => slug.push('-'),
            }
        }
        let slug = slug.trim_end_matches('-');
        Self(if slug.is_empty() { "room" } else { slug }.to_owned())
    }

    /// The same with a number behind it, cut to fit.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let kept = self.0.len().min(Self::MAX_BYTES - suffix.len());
        Self(format!("{}{suffix}", &self.0[..kept]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a room's description: trimmed, at most 500 characters, no NUL. None where it is blank.
pub fn parse_description(text: &str) -> Result<Option<String>, Rejection> {
    let text = text.trim();
    if text.chars().count() > MAX_DESCRIPTION_CHARS {
        return Err(Rejection::invalid(format!(
            "description must have at most {MAX_DESCRIPTION_CHARS} characters"
        )));
    }
    if text.contains('\0') {
        return Err(Rejection::invalid("description must not contain NUL"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Checks a display name of a user or conversation: trimmed, 1 to 100 characters, no control characters.
pub fn parse_name(field: &str, text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_NAME_CHARS {
        return Err(Rejection::invalid(format!(
            "{field} must have 1 to {MAX_NAME_CHARS} characters"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Rejection::invalid(format!(
            "{field} must not contain control characters"
        )));
    }
    Ok(text.to_owned())
}

/// Checks a handle: 3 to 32 of `A-Za-z0-9_.-`.
pub fn parse_username(text: &str) -> Result<String, Rejection> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (3..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(Rejection::invalid(
            "username must have 3 to 32 of A-Z a-z 0-9 _ . -",
        ))
    }
}

/// Checks an e-mail address for its form (one `@`, a dotted domain) and returns it in lower case.
///
/// Whether it reaches anybody is for whoever sends mail to find out.
pub fn parse_email(text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    let well_formed = text.len() <= MAX_EMAIL_BYTES
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && !domain.contains('@')
                && domain.split('.').count() >= 2
                && domain.split('.').all(|label| {
                    !label.is_empty()
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|byte| {
                            byte.is_ascii_alphanumeric() || byte == b'-' || byte >= 0x80
                        })
                })
        })
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if well_formed {
        Ok(text.to_lowercase())
    } else {
        Err(Rejection::invalid("email must be an e-mail address"))
    }
}

/// Checks a picture's address: an http or https URL of at most 2 048 bytes, of the characters that URLs have (RFC 3986) but for
/// brackets, which only stand around a host's IPv6 address.
pub fn parse_avatar(text: &str) -> Result<String, Rejection> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    if rest.is_some_and(|rest| !rest.is_empty())
        && text.len() <= MAX_AVATAR_BYTES
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte))
    {
        Ok(text.to_owned())
    } else {
        Err(Rejection::invalid("avatar must be an http or https URL"))
    }
}

/// Checks a message type: empty means `text`; 1 to 32 of `a-z0-9_-`, as a lower-case word.
pub fn parse_message_type(text: &str) -> Result<String, Rejection> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(Rejection::invalid(
            "message type must have 1 to 32 of a-z 0-9 _ -",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn length_is_counted_in_characters_not_bytes() {
        assert!(Content::parse(&"😀".repeat(4_000)).is_ok());
        assert!(Content::parse(&"😀".repeat(4_001)).is_err());
        assert_eq!(Content::parse("  hi \n").unwrap().as_str(), "hi");
        assert!(Content::parse(" \t\n ").is_err());
        assert!(Content::parse("a\0b").is_err());
    }

    #[test]
    fn usernames_and_addresses() {
        for good in ["abc", "a.b-c_9", &"x".repeat(32)] {
            assert!(parse_username(good).is_ok(), "{good}");
        }
        for bad in ["ab", "a b", "é-é", "", &"x".repeat(33)] {
            assert!(parse_username(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_email("User@Example.com").unwrap(), "user@example.com");
        for bad in [
            "", "a", "a@b", "@b.c", "a@b..c", "a b@c.d", "a@b@c.d", "a@-b.c",
        ] {
            assert!(parse_email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slugs_come_from_names() {
        for (name, slug) in [
            ("Support Room", "support-room"),
            ("  --Ünïcode!! (2)", "ncode-2"),
            ("日本", "room"),
            ("a_b", "a-b"),
        ] {
            assert_eq!(Slug::of_name(name).as_str(), slug, "{name}");
        }
        let long = Slug::of_name(&"x".repeat(100));
        assert_eq!(long.as_str().len(), Slug::MAX_BYTES);
        assert_eq!(long.numbered(12).as_str(), format!("{}-12", "x".repeat(61)));
        for bad in ["", "-a", "_a", "A", "a b", "é", &"x".repeat(65)] {
            assert!(Slug::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_slug(name in "\\PC{1,100}", number in 0_u32..) {
            let slug = Slug::of_name(&name);
            prop_assert!(Slug::parse(slug.as_str()).is_ok());
            prop_assert!(Slug::parse(slug.numbered(number).as_str()).is_ok());
        }

        #[test]
        fn accepted_content_is_trimmed_and_within_limits(text in "\\PC{0,64}") {
            if let Ok(content) = Content::parse(&text) {
                prop_assert_eq!(content.as_str(), text.trim());
                prop_assert!(!content.as_str().is_empty());
            }
        }
    }
}
