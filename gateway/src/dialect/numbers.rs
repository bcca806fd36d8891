//! Numbers that clients get as strings.
//!
//! Owns how they are written. Must never know which of them are.

use std::fmt::Display;

use serde::Serializer;

/// Writes a number as a string: ids are strings to most clients, whatever they are to us.
pub fn as_string<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Writes an id that may be missing, as a string or null.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn as_string_or_null<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
