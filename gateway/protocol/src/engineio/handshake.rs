//! What a handshake answers: the open packet, or an error.
//!
//! Owns the open packet's fields and the error codes with their exact words. It must never decide which applies.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::Deserialize;
use thiserror::Error;

use crate::json::{write_number, write_string};

/// The data of the open packet: exactly these fields, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPacket<'a> {
    /// The session's id.
    #[serde(borrow)]
    pub sid: Cow<'a, str>,
    /// The transports the client may upgrade to; empty over WebSocket.
    #[serde(borrow)]
    pub upgrades: Vec<Cow<'a, str>>,
    /// Milliseconds between the server's pings.
    pub ping_interval: u64,
    /// Milliseconds the client has for its pong.
    pub ping_timeout: u64,
    /// The most bytes a client may send in one message or one polling body.
    pub max_payload: u64,
}

impl<'a> OpenPacket<'a> {
    /// Reads the data of an open packet, as a client does.
    pub fn parse(data: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(data)
    }

    /// Appends the data of the packet.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_slice(b"{\"sid\":");
        write_string(out, &self.sid);
        out.put_slice(b",\"upgrades\":[");
        for (index, transport) in self.upgrades.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            write_string(out, transport);
        }
        out.put_slice(b"],\"pingInterval\":");
        write_number(out, self.ping_interval);
        out.put_slice(b",\"pingTimeout\":");
        write_number(out, self.ping_timeout);
        out.put_slice(b",\"maxPayload\":");
        write_number(out, self.max_payload);
        out.put_u8(b'}');
    }
}

/// Why a request on the Engine.IO path is refused. The words are those of the reference server; clients show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The `transport` parameter names none that is served.
    #[error("Transport unknown")]
    TransportUnknown,
    /// The `sid` parameter names no session.
    #[error("Session ID unknown")]
    SessionUnknown,
    /// A handshake that is no GET.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// The request does not fit the session's state or the protocol.
    #[error("Bad request")]
    BadRequest,
    /// The server does not want this client.
    #[error("Forbidden")]
    Forbidden,
    /// The `EIO` parameter is not [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).
    #[error("Unsupported protocol version")]
    UnsupportedProtocolVersion,
}

impl HandshakeError {
    /// Every error, in the order of the codes.
    pub const ALL: [Self; 6] = [
        Self::TransportUnknown,
        Self::SessionUnknown,
        Self::BadHandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedProtocolVersion,
    ];

    /// The number in the body.
    pub fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedProtocolVersion => 5,
        }
    }

    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::TransportUnknown
            | Self::SessionUnknown
            | Self::BadHandshakeMethod
            | Self::BadRequest
            | Self::UnsupportedProtocolVersion => 400,
        }
    }

    /// The answer's body, of type `application/json`.
    pub fn body(self) -> &'static str {
        match self {
            Self::TransportUnknown => r#"{"code":0,"message":"Transport unknown"}"#,
            Self::SessionUnknown => r#"{"code":1,"message":"Session ID unknown"}"#,
            Self::BadHandshakeMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
            Self::BadRequest => r#"{"code":3,"message":"Bad request"}"#,
            Self::Forbidden => r#"{"code":4,"message":"Forbidden"}"#,
            Self::UnsupportedProtocolVersion => {
                r#"{"code":5,"message":"Unsupported protocol version"}"#
            }
        }
    }
}
