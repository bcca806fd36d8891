//! JSON that is carried, not understood.
//!
//! Owns the types that stand for checked JSON inside a packet and the scanner that finds where one array element ends.
//! It must never re-serialise anything: what a client wrote is what an echo gives back, spaces and number forms
//! included.

use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One complete JSON text, checked for syntax and kept as it was written, without the white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Checks that `text` is one JSON value and nothing else.
    pub fn check(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from)
    }

    /// The text itself.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Reads the text as a `T`, which may borrow from it.
    pub fn parse<T: Deserialize<'a>>(self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0)
    }

    /// Whether the value is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether the value is a string.
    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether the value is a number.
    pub fn is_number(self) -> bool {
        self.0
            .starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// The elements of the array this value is, or `None` if it is none.
    pub fn elements(self) -> Option<Args<'a>> {
        let inner = self.0.strip_prefix('[')?.strip_suffix(']')?;
        Some(Args(trim(inner)))
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(raw.get())
    }
}

/// The elements of a JSON array as they were written: checked JSON values with commas between them, no brackets.
///
/// These are the arguments of an event or of an acknowledgement. Splitting them is lazy and cannot fail, since the
/// array was checked when the packet was decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Args<'a>(&'a str);

impl<'a> Args<'a> {
    /// No arguments.
    pub const EMPTY: Self = Self("");

    /// The elements with the commas between them, ready to be written into another array.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The first element. Most events have just this one.
    pub fn first(self) -> Option<Json<'a>> {
        self.split_first().map(|(first, _)| first)
    }

    /// The first element and those after it.
    pub fn split_first(self) -> Option<(Json<'a>, Self)> {
        if self.is_empty() {
            return None;
        }
        let end = element_end(self.0.as_bytes());
        let rest = self.0.get(end + 1..).unwrap_or_default();
        Some((Json(trim(&self.0[..end])), Self(trim(rest))))
    }

    /// The elements, one after the other.
    pub fn iter(self) -> ArgsIter<'a> {
        ArgsIter(self)
    }

    /// Trusts `text` to be what [`Args::as_str`] once returned.
    pub(crate) fn trusted(text: &'a str) -> Self {
        Self(text)
    }
}

/// One element.
impl<'a> From<Json<'a>> for Args<'a> {
    fn from(element: Json<'a>) -> Self {
        Self(element.0)
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = Json<'a>;
    type IntoIter = ArgsIter<'a>;

    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Args`].
#[derive(Debug, Clone)]
pub struct ArgsIter<'a>(Args<'a>);

impl<'a> Iterator for ArgsIter<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }
}

impl std::iter::FusedIterator for ArgsIter<'_> {}

/// Appends `text` as a JSON string, quotes included. Unlike serde's writers this cannot fail, so the packets a server
/// is bound to be able to say (an open, a connect error) have no error path.
pub fn write_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.put_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => {
                out.put_slice(b"\\u00");
                out.put_u8(HEX[usize::from(control >> 4)]);
                out.put_u8(HEX[usize::from(control & 0x0f)]);
            }
        }
    }
    out.put_slice(&bytes[plain_from..]);
    out.put_u8(b'"');
}

/// Appends `number` in decimal digits.
pub(crate) fn write_number(out: &mut BytesMut, number: u64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// White space as JSON knows it, which is less than what Unicode does.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// Where the first element of a checked element list ends: at the comma outside of every string and bracket, or at the
/// end of the text.
fn element_end(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(text, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return at - 1,
            _ => {}
        }
    }
    text.len()
}

/// The position after the closing quote of the string whose content begins at `at`.
pub(crate) fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        if text[at + found] == b'"' {
            return at + found + 1;
        }
        // A backslash escapes whatever follows it, be it a quote or another backslash.
        at += found + 2;
    }
    text.len()
}
