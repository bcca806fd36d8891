//! From a stream of bytes to frames.
//!
//! Owns the grammar of a frame, what each version makes of it, and what is kept of a frame that has not come
//! whole. It must never keep more than a frame may have.

use bytes::{Buf, Bytes, BytesMut};

use super::command::Command;
use super::error::DecodeError;
use super::escape::Escapes;
use super::frame::{Frame, Headers};
use super::version::Version;

/// Longer than every command, so that what is refused can be named.
const MAX_COMMAND: usize = 16;

/// What a frame may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a frame, from its command to its NUL.
    pub max_frame: usize,
    /// The most headers, repeated ones included.
    pub max_headers: usize,
    /// The most bytes of one header's line, as it is written.
    pub max_header: usize,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An end of line between frames: a sign of life, or what some clients write after a frame.
    HeartBeat,
    /// A frame.
    Frame(Frame),
}

/// Takes a client's bytes as they come and gives back what is whole.
///
/// Where messages begin and end means nothing: a frame may be split over several, and several may be in one. After each
/// [`push`](Self::push) everything is to be taken out with [`next`](Self::next); then what is kept is less than one
/// frame. After an error there is nothing more: what is pushed is dropped.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    version: Version,
    unread: BytesMut,
    /// How many of the unread bytes have been searched for an end already, so that no byte is searched twice.
    searched: usize,
    partial: Option<Partial>,
    has_failed: bool,
}

impl Decoder {
    /// A decoder for a new connection. Until [`set_version`](Self::set_version) it expects what every version begins with.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            version: Version::V1_0,
            unread: BytesMut::new(),
            searched: 0,
            partial: None,
            has_failed: false,
        }
    }

    /// Says what was agreed upon. It holds from the next frame on.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.has_failed {
            self.unread.extend_from_slice(bytes);
        }
    }

    /// How many bytes are kept of a frame that has not come whole.
    pub fn kept(&self) -> usize {
        let headers = self.partial.as_ref().map(|partial| &partial.headers);
        self.unread.len() + headers.map_or(0, Headers::bytes)
    }

    /// The next item, if it is there whole.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is no iterator: after `None` there may be more"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, DecodeError> {
        let result = self.advance();
        if result.is_err() {
            self.has_failed = true;
            self.unread.clear();
        }
        if self.unread.is_empty() {
            // Most of the time a client says nothing, and then its buffer should take no memory.
            self.unread = BytesMut::new();
        }
        result
    }

    fn advance(&mut self) -> Result<Option<Item>, DecodeError> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => match self.unread.as_ref() {
                [] | [b'\r'] => return Ok(None),
                [b'\n', ..] => return Ok(Some(self.heart_beat(1))),
                [b'\r', b'\n', ..] => return Ok(Some(self.heart_beat(2))),
                _ => match self.command()? {
                    Some(partial) => partial,
                    None => return Ok(None),
                },
            },
        };
        let body = loop {
            if let Some(expected) = partial.body {
                break self.body(&partial, expected)?;
            }
            if !self.header(&mut partial)? {
                break None;
            }
        };
        let Some(body) = body else {
            self.partial = Some(partial);
            return Ok(None);
        };
        Ok(Some(Item::Frame(Frame::new(
            partial.command,
            partial.headers,
            body,
        ))))
    }

    fn heart_beat(&mut self, len: usize) -> Item {
        self.unread.advance(len);
        Item::HeartBeat
    }

    /// Reads a frame's first line, if it is whole.
    fn command(&mut self) -> Result<Option<Partial>, DecodeError> {
        let end = match self.line_end(MAX_COMMAND + 1)? {
            Line::Whole(end) => end,
            Line::Incomplete => return Ok(None),
            Line::TooLong => self.unread.len(),
        };
        let line = without_cr(&self.unread[..end]);
        let command = Command::of_name(line).ok_or_else(|| unknown_command(line))?;
        self.unread.advance(end + 1);
        Ok(Some(Partial {
            command,
            version: self.version,
            size: end + 1,
            headers: Headers::with_capacity(self.unread.len()),
            body: None,
        }))
    }

    /// Reads a header, or the blank line after the last one. False if the line is not whole.
    fn header(&mut self, partial: &mut Partial) -> Result<bool, DecodeError> {
        let Limits {
            max_frame,
            max_header,
            ..
        } = self.limits;
        // Behind each line at least a NUL has to fit, so the line's own end does in any case.
        let room = max_frame
            .checked_sub(partial.size + 2)
            .ok_or(DecodeError::FrameTooLarge { max: max_frame })?;
        let longest = max_header.saturating_add(1);
        let end = match self.line_end(longest.min(room))? {
            Line::Whole(end) => end,
            Line::Incomplete => return Ok(false),
            Line::TooLong if room < longest => {
                return Err(DecodeError::FrameTooLarge { max: max_frame });
            }
            Line::TooLong => return Err(DecodeError::HeaderTooLarge { max: max_header }),
        };
        partial.size += end + 1;
        match without_cr(&self.unread[..end]) {
            [] => partial.end_head(self.limits)?,
            line => partial.header(line, self.limits)?,
        }
        self.unread.advance(end + 1);
        Ok(true)
    }

    /// Where the line ends at whose beginning the unread bytes are. `longest` does not count its LF.
    fn line_end(&mut self, longest: usize) -> Result<Line, DecodeError> {
        let window = self.unread.len().min(longest.saturating_add(1));
        let found = self
            .unread
            .get(self.searched..window)
            .and_then(|fresh| memchr::memchr2(b'\n', 0, fresh));
        let Some(found) = found else {
            self.searched = window;
            return Ok(if self.unread.len() > longest {
                Line::TooLong
            } else {
                Line::Incomplete
            });
        };
        let end = std::mem::take(&mut self.searched) + found;
        match self.unread[end] {
            0 => Err(DecodeError::UnfinishedHead),
            _ => Ok(Line::Whole(end)),
        }
    }

    /// Reads the body and the NUL behind it, if they are whole.
    fn body(&mut self, partial: &Partial, expected: Body) -> Result<Option<Bytes>, DecodeError> {
        let end = match expected {
            Body::Counted(len) => match self.unread.get(len) {
                None => return Ok(None),
                Some(0) => len,
                Some(_) => return Err(DecodeError::MissingNul),
            },
            Body::UntilNul { longest } => {
                let window = self.unread.len().min(longest.saturating_add(1));
                let found = self
                    .unread
                    .get(self.searched..window)
                    .and_then(|fresh| memchr::memchr(0, fresh));
                match found {
                    Some(found) => std::mem::take(&mut self.searched) + found,
                    None if self.unread.len() > longest => return Err(self.over_long(partial)),
                    None => {
                        self.searched = window;
                        return Ok(None);
                    }
                }
            }
        };
        // A copy, since a part of the buffer would keep all of it for as long as a transaction keeps the frame.
        let body = Bytes::copy_from_slice(&self.unread[..end]);
        self.unread.advance(end + 1);
        Ok(Some(body))
    }

    fn over_long(&self, partial: &Partial) -> DecodeError {
        if partial.may_have_body() {
            DecodeError::FrameTooLarge {
                max: self.limits.max_frame,
            }
        } else {
            DecodeError::UnexpectedBody(partial.command)
        }
    }
}

/// Whether a line is there.
enum Line {
    /// Up to its LF, which stands here.
    Whole(usize),
    /// Not yet.
    Incomplete,
    /// It is longer than it may be.
    TooLong,
}

/// How a body ends.
#[derive(Debug, Clone, Copy)]
enum Body {
    /// After as many bytes as `content-length` says.
    Counted(usize),
    /// At the first NUL, after so many bytes at most.
    UntilNul { longest: usize },
}

/// A frame that has not come whole.
#[derive(Debug)]
struct Partial {
    command: Command,
    version: Version,
    /// How many of its bytes have been read.
    size: usize,
    headers: Headers,
    /// How its body ends, once its headers are known.
    body: Option<Body>,
}

impl Partial {
    fn header(&mut self, line: &[u8], limits: Limits) -> Result<(), DecodeError> {
        if line.len() > limits.max_header {
            return Err(DecodeError::HeaderTooLarge {
                max: limits.max_header,
            });
        }
        if self.headers.len() >= limits.max_headers {
            return Err(DecodeError::TooManyHeaders {
                max: limits.max_headers,
            });
        }
        let line = std::str::from_utf8(line).map_err(|_| DecodeError::HeaderNotUtf8)?;
        // Values with colons are common (addresses, tokens), escaped or not: the first one is the one that counts.
        let (name, value) = line.split_once(':').ok_or(DecodeError::MissingColon)?;
        if name.is_empty() {
            return Err(DecodeError::MissingHeaderName);
        }
        let escapes = if self.command.begins_session() {
            Escapes::None
        } else {
            Escapes::of(self.version)
        };
        if escapes == Escapes::V1_2 && line.contains('\r') {
            return Err(DecodeError::StrayCarriageReturn);
        }
        self.headers.try_push(
            |out| escapes.read(out, name),
            |out| escapes.read(out, value),
        )
    }

    /// The blank line has come.
    fn end_head(&mut self, limits: Limits) -> Result<(), DecodeError> {
        if self.command.begins_session() {
            // What is to be spoken is not agreed upon yet; but who sends this header knows more than 1.0.
            self.version = match self.headers.get("accept-version") {
                None => Version::V1_0,
                Some(_) => Version::V1_1,
            };
        }
        // 1.0 has spaces after colons in its own examples, and the later ones forbid to take them away.
        if self.version == Version::V1_0 {
            self.headers.trim_values();
        }
        let too_large = DecodeError::FrameTooLarge {
            max: limits.max_frame,
        };
        let room = limits
            .max_frame
            .checked_sub(self.size + 1)
            .ok_or(too_large.clone())?;
        let longest = if self.may_have_body() { room } else { 0 };
        self.body = Some(match self.headers.get("content-length") {
            None => Body::UntilNul { longest },
            Some(digits) => match content_length(digits)? {
                len if len > room => return Err(too_large),
                len if len > longest => return Err(DecodeError::UnexpectedBody(self.command)),
                len => Body::Counted(len),
            },
        });
        Ok(())
    }

    /// Versions after 1.0 forbid bodies where they mean nothing.
    fn may_have_body(&self) -> bool {
        self.command == Command::Send || self.version == Version::V1_0
    }
}

/// A line without the CR of its end.
///
/// Only 1.2 has CR LF, but clients on some systems write it in every version, and servers have always read it. So a value that
/// ends in CR loses it before 1.2; no client is known to mean one.
fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Names what was sent instead of a command, but not all of it.
fn unknown_command(line: &[u8]) -> DecodeError {
    let shown = &line[..line.len().min(MAX_COMMAND)];
    DecodeError::UnknownCommand(String::from_utf8_lossy(shown).into_owned())
}

fn content_length(digits: &str) -> Result<usize, DecodeError> {
    // `str::parse` would take a sign as well.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::MalformedContentLength);
    }
    // What does not fit is beyond every limit.
    Ok(digits.parse().unwrap_or(usize::MAX))
}
