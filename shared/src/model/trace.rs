//! Which trace something belongs to, as it travels: in a request's `traceparent`, in a command's envelope, in a room's batch.
//!
//! Only what is traced carries one, so that nothing is written or read for all the rest.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of a trace that is being recorded: what happens because of it belongs below it.
///
/// Written as W3C Trace Context has it: `00-<trace>-<span>-01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
}

/// What a `traceparent` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceParent {
    /// It is recorded where it comes from: what follows belongs to it.
    Recorded(TraceContext),
    /// It was decided not to record it: what follows is not, either.
    Unrecorded,
}

impl TraceContext {
    /// The span of this id in the trace of that id. Neither is zero.
    pub fn new(trace: u128, span: u64) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self { trace, span })
    }

    /// The trace's id.
    pub fn trace(self) -> u128 {
        self.trace
    }

    /// The span's id.
    pub fn span(self) -> u64 {
        self.span
    }

    fn recorded(text: &str) -> Option<Self> {
        match TraceParent::parse(text)? {
            TraceParent::Recorded(context) => Some(context),
            TraceParent::Unrecorded => None,
        }
    }
}

impl TraceParent {
    /// Reads a `traceparent`. None: it is none, and whoever reads it decides as if there were none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = hex(parts.next()?, 2)?;
        // Later versions may have more parts; what they have in common with this one still holds.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = TraceContext::new(trace, span)?;
        Some(if flags & 1 == 1 {
            Self::Recorded(context)
        } else {
            Self::Unrecorded
        })
    }
}

/// A number of so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a context that may be there. One that cannot be read is as good as none: it must not cost anybody a message.
pub(super) fn one<'de, D: Deserializer<'de>>(value: D) -> Result<Option<TraceContext>, D::Error> {
    let value = serde_json::Value::deserialize(value)?;
    Ok(value.as_str().and_then(TraceContext::recorded))
}

/// Reads contexts as [`one`] does.
pub(super) fn several<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<TraceContext>, D::Error> {
    let value = serde_json::Value::deserialize(value)?;
    let texts = value.as_array().into_iter().flatten();
    let texts = texts.filter_map(serde_json::Value::as_str);
    Ok(texts.filter_map(TraceContext::recorded).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_written_as_it_is_read() {
        let context = TraceContext::recorded(RECORDED).unwrap();
        assert_eq!(context.trace(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(context.to_string(), RECORDED);
    }

    #[test]
    fn what_is_not_recorded_says_so() {
        let text = RECORDED.replace("-01", "-00");
        assert_eq!(TraceParent::parse(&text), Some(TraceParent::Unrecorded));
        assert_eq!(TraceContext::recorded(&text), None);
    }

    #[test]
    fn whatever_else_there_is_is_no_context() {
        let later = RECORDED.replacen("00", "cc", 1) + "-what-the-future-brings";
        assert!(TraceParent::parse(&later).is_some());
        for text in [
            "",
            "00",
            &RECORDED[..54],
            &format!("{RECORDED}-more"),
            &RECORDED.replacen("00", "ff", 1),
            &RECORDED.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
