//! Placeholders: `{"_placeholder":true,"num":0}` stands where the first attachment belongs.
//!
//! Owns the search for them. It must never put attachments in: whoever passes a packet on passes its JSON and its
//! attachments on as they came.

use super::error::DecodeError;
use crate::json::{Json, string_end};

/// Deeper nesting is refused. It is also as deep as serde_json will go when somebody reads the payload for good.
const MAX_DEPTH: usize = 128;

/// Checks that every placeholder in `payload` points to one of `attachments` attachments.
///
/// As for the reference parser, any object whose `_placeholder` is `true` is one, whatever else it holds. Its `num` has
/// to be written as a plain integer. The search walks over the text, which is known to be JSON, instead of parsing it:
/// serde_json has no say in whether strings and numbers that are only passed on fit Rust's types.
pub(super) fn check(payload: Json<'_>, attachments: usize) -> Result<(), DecodeError> {
    let text = payload.as_str();
    let bytes = text.as_bytes();
    let mut open: Vec<Container> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' | b'[' => {
                found(&mut open, Value::Other);
                if open.len() == MAX_DEPTH {
                    return Err(DecodeError::TooDeep { max: MAX_DEPTH });
                }
                open.push(if byte == b'{' {
                    Container::Object(Members::default())
                } else {
                    Container::Array
                });
            }
            b'}' | b']' => {
                if let Some(Container::Object(members)) = open.pop()
                    && members.is_illegal_placeholder(attachments)
                {
                    return Err(DecodeError::IllegalPlaceholder);
                }
            }
            b',' => {
                if let Some(Container::Object(members)) = open.last_mut() {
                    members.key = None;
                }
            }
            b'"' => {
                at = string_end(bytes, at);
                let string = &text[start..at];
                match open.last_mut() {
                    Some(Container::Object(members)) if members.key.is_none() => {
                        members.key = Some(Key::of(string));
                    }
                    _ => found(&mut open, Value::Other),
                }
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => {
                let ends =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                at = bytes[at..]
                    .iter()
                    .position(ends)
                    .map_or(bytes.len(), |length| at + length);
                found(&mut open, Value::of(&text[start..at]));
            }
        }
    }
    Ok(())
}

/// An array or object that is not closed yet.
enum Container {
    Array,
    Object(Members),
}

/// What is known of an object: the key whose value comes next, and as much as can make it a placeholder. A key that is
/// there twice counts as it does in JavaScript, the last one wins; but the value it replaces is searched as well.
#[derive(Default)]
struct Members {
    key: Option<Key>,
    is_placeholder: bool,
    num: Option<usize>,
}

impl Members {
    fn is_illegal_placeholder(&self, attachments: usize) -> bool {
        self.is_placeholder && self.num.is_none_or(|num| num >= attachments)
    }
}

enum Key {
    Placeholder,
    Num,
    Other,
}

impl Key {
    fn of(quoted: &str) -> Self {
        match quoted {
            r#""_placeholder""# => Self::Placeholder,
            r#""num""# => Self::Num,
            escaped if escaped.contains('\\') => {
                match serde_json::from_str::<String>(escaped).as_deref() {
                    Ok("_placeholder") => Self::Placeholder,
                    Ok("num") => Self::Num,
                    // An error is a key that is no Unicode, which is another key.
                    Ok(_) | Err(_) => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }
}

/// What matters about a value.
#[derive(Clone, Copy)]
enum Value {
    True,
    Index(usize),
    Other,
}

impl Value {
    fn of(scalar: &str) -> Self {
        match (scalar, scalar.parse()) {
            ("true", _) => Self::True,
            (_, Ok(index)) => Self::Index(index),
            (_, Err(_)) => Self::Other,
        }
    }
}

/// Notes a value in the object it is a member of, if it is in one.
fn found(open: &mut [Container], value: Value) {
    let Some(Container::Object(members)) = open.last_mut() else {
        return;
    };
    match members.key {
        Some(Key::Placeholder) => members.is_placeholder = matches!(value, Value::True),
        Some(Key::Num) => {
            members.num = if let Value::Index(index) = value {
                Some(index)
            } else {
                None
            }
        }
        Some(Key::Other) | None => {}
    }
}
