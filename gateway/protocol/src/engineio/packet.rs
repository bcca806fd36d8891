//! One Engine.IO packet in one WebSocket message.
//!
//! Owns the type digits. It must never look into a message's text.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::handshake::OpenPacket;

/// An Engine.IO packet. Text borrows from the message it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the server's first packet.
    Open(OpenPacket<'a>),
    /// `1`: the sender wants the session closed.
    Close,
    /// `2`: a heartbeat from the server, or a client's `probe` of a new transport.
    Ping(&'a str),
    /// `3`: the answer to a ping, with the ping's data.
    Pong(&'a str),
    /// `4`: a text message.
    Message(&'a str),
    /// `5`: the client moves over to the probed transport.
    Upgrade,
    /// `6`: nothing; it releases a waiting poll.
    Noop,
    /// A binary message. Over WebSocket it is the whole binary message, without a type.
    Binary(Bytes),
}

/// Which kind of WebSocket message carries a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
}

/// Why a text message is no Engine.IO packet.
#[derive(Debug, Error)]
pub enum PacketError {
    /// There is not even a type.
    #[error("the packet is empty")]
    Empty,
    /// The first character is no packet type of this version.
    #[error("unknown packet type {0:?}")]
    UnknownType(char),
    /// A packet of a type that carries nothing carries something.
    #[error("a packet of type {0} has no data")]
    UnexpectedData(char),
    /// The message is no UTF-8 text.
    #[error("the packet is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// The data of an open packet is not the handshake.
    #[error("the open packet's data is malformed")]
    MalformedOpen(#[source] serde_json::Error),
    /// The data after `b` is no base64.
    #[error("the binary packet's data is no base64")]
    MalformedBase64(#[source] base64::DecodeError),
}

impl<'a> Packet<'a> {
    /// Decodes the packet in a WebSocket text message. (A binary message is [`Packet::Binary`] as it stands.)
    pub fn decode(text: &'a str) -> Result<Self, PacketError> {
        let mut chars = text.chars();
        let kind = chars.next().ok_or(PacketError::Empty)?;
        let data = chars.as_str();
        let bare = |packet| {
            if data.is_empty() {
                Ok(packet)
            } else {
                Err(PacketError::UnexpectedData(kind))
            }
        };
        match kind {
            '0' => OpenPacket::parse(data)
                .map(Self::Open)
                .map_err(PacketError::MalformedOpen),
            '1' => bare(Self::Close),
            '2' => Ok(Self::Ping(data)),
            '3' => Ok(Self::Pong(data)),
            '4' => Ok(Self::Message(data)),
            '5' => bare(Self::Upgrade),
            '6' => bare(Self::Noop),
            unknown => Err(PacketError::UnknownType(unknown)),
        }
    }

    /// Decodes the packet in a text message whose UTF-8 nobody has checked yet.
    pub fn decode_utf8(message: &'a [u8]) -> Result<Self, PacketError> {
        std::str::from_utf8(message)
            .map_err(PacketError::NotUtf8)
            .and_then(Self::decode)
    }

    /// Appends the packet as the content of a WebSocket message and says of which kind that message is.
    pub fn encode(&self, out: &mut BytesMut) -> MessageKind {
        match self {
            Self::Open(open) => {
                out.put_u8(b'0');
                open.write(out);
            }
            Self::Close => out.put_u8(b'1'),
            Self::Ping(data) => put(out, b'2', data),
            Self::Pong(data) => put(out, b'3', data),
            Self::Message(text) => put(out, b'4', text),
            Self::Upgrade => out.put_u8(b'5'),
            Self::Noop => out.put_u8(b'6'),
            Self::Binary(bytes) => {
                out.put_slice(bytes);
                return MessageKind::Binary;
            }
        }
        MessageKind::Text
    }
}

/// Begins a message packet in place: what is appended to `out` afterwards is the message's text. This is how a Socket.IO
/// packet gets into its Engine.IO packet without a copy.
pub fn begin_message(out: &mut BytesMut) {
    out.put_u8(b'4');
}

fn put(out: &mut BytesMut, kind: u8, data: &str) {
    out.reserve(1 + data.len());
    out.put_u8(kind);
    out.put_slice(data.as_bytes());
}
