//! What a log may say of JSON that cannot be read.

use std::fmt;

use serde_json::error::{Category, Error};

/// Why JSON could not be read, and where: the parser's own words quote what it read, and what people say is nothing for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    category: Category,
    line: usize,
    column: usize,
}

impl From<&Error> for Unreadable {
    fn from(error: &Error) -> Self {
        Self {
            category: error.classify(),
            line: error.line(),
            column: error.column(),
        }
    }
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            category,
            line,
            column,
        } = self;
        write!(f, "{category:?} error in line {line}, column {column}")
    }
}

impl std::error::Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_what_was_read_is_said() {
        let error = serde_json::from_str::<Vec<u8>>("[\"a secret\"]").unwrap_err();
        assert!(error.to_string().contains("a secret"));
        let said = Unreadable::from(error).to_string();
        assert_eq!(said, "Data error in line 1, column 11");
    }
}
