//! WebSocket frames as a server writes them (RFC 6455, section 5.2): whole messages, unmasked.
//!
//! Owns the frame header, so that an event can be encoded once, header included, and its bytes be written to any number
//! of connections, and read back ([`frames`]) where another transport carries what was encoded for this one. It must never
//! read clients' frames: they are masked and come in pieces, and belong to the transport.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// The longest header of an unmasked frame.
const HEADER_ROOM: usize = 10;

/// The most bytes a control frame may carry.
const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The end of the connection, with its reason.
    Close,
    /// A question that wants a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    /// The frame's first byte: the opcode with FIN set and no extension bits.
    fn first_byte(self) -> u8 {
        0x80 | match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// What a frame's first byte says, if it is one that [`first_byte`](Self::first_byte) makes.
    fn of_first_byte(byte: u8) -> Option<Self> {
        match byte {
            0x81 => Some(Self::Text),
            0x82 => Some(Self::Binary),
            0x88 => Some(Self::Close),
            0x89 => Some(Self::Ping),
            0x8a => Some(Self::Pong),
            _ => None,
        }
    }
}

/// One whole frame. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    opcode: Opcode,
    wire: Bytes,
    header_len: usize,
}

impl Frame {
    /// What the frame carries.
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The frame as it is written to a connection: header and payload.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The frame as it is written to a connection: header and payload.
    pub fn into_wire(self) -> Bytes {
        self.wire
    }

    /// The payload alone, sharing the frame's bytes. Another transport can carry what was encoded for this one.
    pub fn payload(&self) -> Bytes {
        self.wire.slice(self.header_len..)
    }
}

/// Builds a frame's payload in place, with room for the header in front, so that no byte is copied to add it.
#[derive(Debug)]
pub struct FrameBuilder {
    buffer: BytesMut,
}

impl FrameBuilder {
    /// A builder that holds `payload_capacity` bytes before it has to grow.
    pub fn with_capacity(payload_capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER_ROOM + payload_capacity);
        buffer.put_bytes(0, HEADER_ROOM);
        Self { buffer }
    }

    /// Where the payload is written. Only append: the first bytes are the header's.
    pub fn payload(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Puts the header in front and hands the frame out.
    pub fn finish(mut self, opcode: Opcode) -> Frame {
        // Holds unless a caller removed what it had not written; the frame is then short, but still a frame.
        debug_assert!(
            self.buffer.len() >= HEADER_ROOM,
            "the header's room was taken away"
        );
        if self.buffer.len() < HEADER_ROOM {
            self.buffer.resize(HEADER_ROOM, 0);
        }
        let (header, header_len) = header(opcode, self.buffer.len() - HEADER_ROOM);
        let unused = HEADER_ROOM - header_len;
        self.buffer[unused..HEADER_ROOM].copy_from_slice(&header[..header_len]);
        self.buffer.advance(unused);
        Frame {
            opcode,
            wire: self.buffer.freeze(),
            header_len,
        }
    }
}

/// A text frame whose payload `build` appends to the buffer it is given.
pub fn text_frame(build: impl FnOnce(&mut BytesMut)) -> Frame {
    built_frame(Opcode::Text, build)
}

/// A binary frame whose payload `build` appends to the buffer it is given.
pub fn binary_frame(build: impl FnOnce(&mut BytesMut)) -> Frame {
    built_frame(Opcode::Binary, build)
}

fn built_frame(opcode: Opcode, build: impl FnOnce(&mut BytesMut)) -> Frame {
    // Most packets are a few hundred bytes; a larger one grows the buffer as any writer would.
    const USUAL_PAYLOAD: usize = 502;
    let mut builder = FrameBuilder::with_capacity(USUAL_PAYLOAD);
    build(builder.payload());
    builder.finish(opcode)
}

/// A close frame. A reason longer than a control frame can hold is cut at a character's end.
pub fn close_frame(code: u16, reason: &str) -> Frame {
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_PAYLOAD - 2)];
    let mut builder = FrameBuilder::with_capacity(2 + reason.len());
    builder.payload().put_u16(code);
    builder.payload().put_slice(reason.as_bytes());
    builder.finish(Opcode::Close)
}

/// The payload is longer than a control frame can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a control frame holds at most {MAX_CONTROL_PAYLOAD} bytes")]
pub struct ControlTooLong;

/// The answer to a ping with this payload.
pub fn pong_frame(payload: &[u8]) -> Result<Frame, ControlTooLong> {
    if payload.len() > MAX_CONTROL_PAYLOAD {
        return Err(ControlTooLong);
    }
    let mut builder = FrameBuilder::with_capacity(payload.len());
    builder.payload().put_slice(payload);
    Ok(builder.finish(Opcode::Pong))
}

/// The bytes are no whole frames as this module writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a whole frame of a server's")]
pub struct NotAFrame;

/// Reads back the frames in `chunk`, one or several, each whole. They share its bytes.
pub fn frames(chunk: Bytes) -> Frames {
    Frames { unread: chunk }
}

/// Iterator over the frames of a chunk. After an error there is nothing more.
#[derive(Debug, Clone)]
pub struct Frames {
    unread: Bytes,
}

impl Frames {
    /// What has not been read yet.
    pub fn unread(&self) -> &Bytes {
        &self.unread
    }

    fn split_frame(&mut self) -> Option<Frame> {
        let (&[first, short], more) = self.unread.split_first_chunk()?;
        let opcode = Opcode::of_first_byte(first)?;
        let (payload_len, header_len) = match short {
            0..=125 => (u64::from(short), 2),
            126 => (u64::from(u16::from_be_bytes(*more.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*more.first_chunk()?), HEADER_ROOM),
            // The mask bit: a client's frame.
            128.. => return None,
        };
        let end = usize::try_from(payload_len).ok()?.checked_add(header_len)?;
        (end <= self.unread.len()).then(|| Frame {
            opcode,
            wire: self.unread.split_to(end),
            header_len,
        })
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, NotAFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.unread.is_empty() {
            return None;
        }
        let frame = self.split_frame();
        if frame.is_none() {
            self.unread.clear();
        }
        Some(frame.ok_or(NotAFrame))
    }
}

impl std::iter::FusedIterator for Frames {}

/// The header of an unmasked frame that is a whole message, and how many of the bytes it takes.
///
/// For a payload that lives elsewhere (an attachment that is passed on): write the header, then the payload.
pub fn header(opcode: Opcode, payload_len: usize) -> ([u8; HEADER_ROOM], usize) {
    let mut bytes = [0; HEADER_ROOM];
    bytes[0] = opcode.first_byte();
    let len = payload_len as u64;
    if let Ok(short @ 0..=125) = u8::try_from(payload_len) {
        bytes[1] = short;
        (bytes, 2)
    } else if let Ok(medium) = u16::try_from(payload_len) {
        bytes[1] = 126;
        bytes[2..4].copy_from_slice(&medium.to_be_bytes());
        (bytes, 4)
    } else {
        bytes[1] = 127;
        bytes[2..10].copy_from_slice(&len.to_be_bytes());
        (bytes, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_the_shortest_form() {
        let header_of = |len| {
            let (bytes, header_len) = header(Opcode::Text, len);
            bytes[..header_len].to_vec()
        };
        assert_eq!(header_of(0), [0x81, 0]);
        assert_eq!(header_of(125), [0x81, 125]);
        assert_eq!(header_of(126), [0x81, 126, 0, 126]);
        assert_eq!(header_of(65_535), [0x81, 126, 0xff, 0xff]);
        assert_eq!(header_of(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn frames_as_the_rfc_shows_them() {
        assert_eq!(
            text_frame(|out| out.put_slice(b"Hello")).into_wire(),
            &b"\x81\x05Hello"[..]
        );
        assert_eq!(
            pong_frame(b"Hello").map(Frame::into_wire),
            Ok(Bytes::from_static(b"\x8a\x05Hello"))
        );
        assert_eq!(
            close_frame(1000, "bye").into_wire(),
            &b"\x88\x05\x03\xe8bye"[..]
        );
        assert_eq!(header(Opcode::Ping, 0).0[0], 0x89);
    }

    #[test]
    fn no_byte_is_copied_for_the_header() {
        let mut builder = FrameBuilder::with_capacity(64);
        builder.payload().put_slice(b"payload");
        let payload_at = builder.payload()[HEADER_ROOM..].as_ptr();
        let frame = builder.finish(Opcode::Text);
        assert_eq!(frame.wire()[2..].as_ptr(), payload_at);
        assert_eq!(frame.payload().as_ptr(), payload_at);
    }
}
