//! Why bytes are no STOMP.

use thiserror::Error;

use super::command::Command;

/// Why what a client sent is no STOMP. Each message is one line, fit for an ERROR frame's `message`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A frame's first line is no client's command.
    #[error("unknown command {0:?}")]
    UnknownCommand(String),
    /// A frame is too large. What is left of it was not read.
    #[error("the frame exceeds {max} bytes")]
    FrameTooLarge {
        /// The limit.
        max: usize,
    },
    /// A header is too long.
    #[error("a header exceeds {max} bytes")]
    HeaderTooLarge {
        /// The limit.
        max: usize,
    },
    /// A frame has too many headers.
    #[error("the frame exceeds {max} headers")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// A NUL before the blank line. A frame that leaves that line out would else swallow those that follow it.
    #[error("the frame ends before the blank line after its headers")]
    UnfinishedHead,
    /// A header line that has no colon.
    #[error("a header without a colon")]
    MissingColon,
    /// A header line that has nothing before its colon.
    #[error("a header without a name")]
    MissingHeaderName,
    /// A header is no text.
    #[error("a header that is not UTF-8")]
    HeaderNotUtf8,
    /// A carriage return inside a header, which 1.2 wants escaped.
    #[error("a carriage return inside a header")]
    StrayCarriageReturn,
    /// A backslash with something after it that the version has no escape for.
    #[error("undefined escape \"\\{}\" in a header", .0.escape_debug())]
    UndefinedEscape(char),
    /// A header ends with a lone backslash.
    #[error("a header ends inside an escape")]
    UnfinishedEscape,
    /// `content-length` is no number.
    #[error("content-length is no number")]
    MalformedContentLength,
    /// There is no NUL where the body should end.
    #[error("no NUL where the body ends by content-length")]
    MissingNul,
    /// A body in a frame that has none.
    #[error("a {0} frame has no body")]
    UnexpectedBody(Command),
}
