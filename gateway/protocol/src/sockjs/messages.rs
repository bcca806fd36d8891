//! What clients send: JSON strings.

use std::borrow::Cow;

use thiserror::Error;

use crate::json::{Args, ArgsIter, Json};

/// Why what a client sent is no messages. The texts are those that SockJS servers answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessagesError {
    /// There is nothing. On a WebSocket that is to be ignored.
    #[error("Payload expected.")]
    Empty,
    /// It is no JSON, or not of strings.
    #[error("Broken JSON encoding.")]
    Broken,
}

/// Reads the body of an `xhr_send`: an array of messages. Its length is bounded by whoever received it.
pub fn messages(payload: &[u8]) -> Result<Messages<'_>, MessagesError> {
    Messages::of(json(payload)?.elements().ok_or(MessagesError::Broken)?)
}

/// Reads what came on a session's WebSocket: an array of messages, or one. Its length is bounded by whoever received it.
pub fn frame_messages(payload: &[u8]) -> Result<Messages<'_>, MessagesError> {
    let json = json(payload)?;
    Messages::of(json.elements().unwrap_or(Args::from(json)))
}

fn json(payload: &[u8]) -> Result<Json<'_>, MessagesError> {
    if payload.is_empty() {
        return Err(MessagesError::Empty);
    }
    let text = std::str::from_utf8(payload).map_err(|_| MessagesError::Broken)?;
    Json::check(text).map_err(|_| MessagesError::Broken)
}

/// Iterator over the messages of a payload. They borrow from it where nothing is escaped.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    strings: ArgsIter<'a>,
}

impl<'a> Messages<'a> {
    fn of(elements: Args<'a>) -> Result<Self, MessagesError> {
        if elements.iter().all(Json::is_string) {
            Ok(Self {
                strings: elements.iter(),
            })
        } else {
            Err(MessagesError::Broken)
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        self.strings.next().map(unquoted)
    }
}

impl std::iter::FusedIterator for Messages<'_> {}

/// What a string says. Unlike serde's this cannot fail: half of a surrogate pair, which JavaScript's strings may have
/// and UTF-8 may not, becomes U+FFFD, as it does when a browser sends such a string over a WebSocket.
fn unquoted(string: Json<'_>) -> Cow<'_, str> {
    let quoted = string.as_str();
    let content = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    if memchr::memchr(b'\\', content.as_bytes()).is_none() {
        return Cow::Borrowed(content);
    }
    let mut text = String::with_capacity(content.len());
    let mut rest = content;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        text.push_str(plain);
        let (character, after) = escape(escaped);
        text.push(character);
        rest = after;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character that a checked escape stands for, and what comes after it. `escaped` begins behind the backslash.
fn escape(escaped: &str) -> (char, &str) {
    let mut chars = escaped.chars();
    let character = match chars.next().unwrap_or_default() {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode_escape(chars.as_str()),
        itself => itself,
    };
    (character, chars.as_str())
}

/// The same for an escape by number, one or a pair of them. `digits` begins behind the `u`.
fn unicode_escape(digits: &str) -> (char, &str) {
    let (first, rest) = unit(digits);
    if let 0xd800..=0xdbff = first
        && let Some(low) = rest.strip_prefix("\\u")
        && let (second @ 0xdc00..=0xdfff, rest) = unit(low)
    {
        let number = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (
            char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER),
            rest,
        );
    }
    (
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        rest,
    )
}

/// The number that four digits are, and what comes after them.
fn unit(digits: &str) -> (u32, &str) {
    let (number, rest) = digits.split_at_checked(4).unwrap_or((digits, ""));
    // A number that is none is no character either.
    (u32::from_str_radix(number, 16).unwrap_or(0xd800), rest)
}
