//! How each transport carries frames in HTTP responses.
//!
//! A WebSocket carries them as they are. A poll gets one, so that messages that wait are merged ([`Merger`]); a stream has
//! one on each line ([`line()`]), an event source one in each event ([`event`]).

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// How much a streaming response begins with: browsers that hold back the first bytes of a response get them at once.
const STREAMING_PRELUDE: usize = 2048;

/// What an event source's response begins with.
pub const EVENT_PRELUDE: &[u8] = b"\r\n";

/// Appends what a streaming response begins with.
pub fn streaming_prelude(out: &mut BytesMut) {
    out.put_bytes(b'h', STREAMING_PRELUDE);
    out.put_u8(b'\n');
}

/// Appends a frame as polls and streams have it.
pub fn line(out: &mut BytesMut, frame: &[u8]) {
    out.reserve(frame.len() + 1);
    out.put_slice(frame);
    out.put_u8(b'\n');
}

/// Appends a frame as an event source has it. Frames have no ends of lines in them: strings escape them.
///
/// sockjs-client reads an event's data as if it were part of a URI, so a percent sign has to stand for itself, and only it.
pub fn event(out: &mut BytesMut, frame: &[u8]) {
    const BEFORE: &[u8] = b"data: ";
    const AFTER: &[u8] = b"\r\n\r\n";
    out.reserve(BEFORE.len() + frame.len() + AFTER.len());
    out.put_slice(BEFORE);
    for (index, part) in frame.split(|byte| *byte == b'%').enumerate() {
        if index > 0 {
            out.put_slice(b"%25");
        }
        out.put_slice(part);
    }
    out.put_slice(AFTER);
}

/// Why a frame was not merged; what was merged before is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotMerged {
    /// There is no room for it.
    #[error("the frame has no room for more messages")]
    Full,
    /// It is no frame of messages.
    #[error("the frame has no messages")]
    NoMessages,
}

/// Makes one frame of messages out of several.
///
/// The first one always fits, however large: what is too large for every response could otherwise never be sent.
#[derive(Debug)]
pub struct Merger {
    /// The frame without its last bracket, or nothing.
    out: BytesMut,
    max_bytes: usize,
}

impl Merger {
    /// No messages, and room for them until the frame would exceed `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            out: BytesMut::new(),
            max_bytes,
        }
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Adds the messages of a frame.
    pub fn push(&mut self, frame: &[u8]) -> Result<(), NotMerged> {
        let messages = frame
            .strip_prefix(b"a[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .ok_or(NotMerged::NoMessages)?;
        if self.is_empty() {
            self.out.reserve(frame.len());
            self.out.put_slice(b"a[");
        } else {
            // A comma between them, a bracket behind them.
            let len = self.out.len().saturating_add(messages.len()) + 2;
            if len > self.max_bytes {
                return Err(NotMerged::Full);
            }
            self.out.put_u8(b',');
        }
        self.out.put_slice(messages);
        Ok(())
    }

    /// The frame, if there are messages.
    pub fn finish(mut self) -> Option<Bytes> {
        if self.is_empty() {
            return None;
        }
        self.out.put_u8(b']');
        Some(self.out.freeze())
    }
}
