//! Picks single values out of JSON without parsing it.
//!
//! A quotation mark inside a JSON string is always escaped, so the bytes `"seq":` occur where the key `seq` stands and nowhere
//! else. Events of one kind from one server are laid out alike, so a field is looked for first where it was the last time.

use memchr::memmem::Finder;

/// A key to look for.
#[derive(Debug)]
pub struct Field {
    needle: Finder<'static>,
    last: usize,
}

impl Field {
    /// Looks for `needle`, which is the key with its quotation marks and the colon: `"seq":`.
    pub fn new(needle: &'static str) -> Self {
        Self {
            needle: Finder::new(needle),
            last: 0,
        }
    }

    /// What follows the first occurrence of the key (or, where the layout repeats itself, the same occurrence as last time).
    pub fn after<'a>(&mut self, json: &'a [u8]) -> Option<&'a [u8]> {
        let needle = self.needle.needle();
        let here = json
            .get(self.last..)
            .is_some_and(|rest| rest.starts_with(needle));
        if !here {
            self.last = self.needle.find(json)?;
        }
        json.get(self.last + needle.len()..)
    }

    /// The number that follows the key.
    pub fn number(&mut self, json: &[u8]) -> Option<i64> {
        leading_number(self.after(json)?).map(|(value, _)| value)
    }

    /// The number that follows the key, written as a string that holds nothing else.
    pub fn quoted_number(&mut self, json: &[u8]) -> Option<i64> {
        let (value, rest) = leading_number(self.after(json)?.strip_prefix(b"\"")?)?;
        rest.starts_with(b"\"").then_some(value)
    }

    /// The string that follows the key, as it is written: up to the next quotation mark.
    pub fn string<'a>(&mut self, json: &'a [u8]) -> Option<&'a [u8]> {
        let rest = self.after(json)?.strip_prefix(b"\"")?;
        Some(&rest[..memchr::memchr(b'"', rest)?])
    }
}

/// The decimal number at the start of `text`, and what follows it.
fn leading_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let mut value: i64 = 0;
    for byte in number {
        value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
    }
    (digits > 0).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_wherever_they_stand() {
        let (mut seq, mut id) = (Field::new("\"seq\":"), Field::new("\"_id\":"));
        for (json, wanted) in [
            (r#"{"_id":"7","seq":12}"#, 12),
            (r#"{"_id":"7","seq":13}"#, 13),
            (r#"{"_id":"7","content":"\"seq\":99","seq":14}"#, 14),
            (r#"{"seq":15,"_id":"7"}"#, 15),
        ] {
            assert_eq!(seq.number(json.as_bytes()), Some(wanted), "{json}");
            assert_eq!(id.quoted_number(json.as_bytes()), Some(7), "{json}");
        }
        assert_eq!(seq.number(b"{}"), None);
        assert_eq!(seq.number(b"{\"seq\":null}"), None);
        assert_eq!(id.quoted_number(b"{\"_id\":\"0190-a\"}"), None);
        assert_eq!(id.string(b"{\"_id\":\"ab\"}"), Some(&b"ab"[..]));
    }

    #[test]
    fn a_number_too_large_is_no_number() {
        assert_eq!(leading_number(b"99999999999999999999"), None);
        assert_eq!(
            leading_number(b"9223372036854775807,"),
            Some((i64::MAX, &b","[..]))
        );
    }
}
