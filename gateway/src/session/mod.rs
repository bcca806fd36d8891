//! Sessions: what a client's protocol link is, apart from what carries it.
//!
//! State machines only: input in, decisions out. Nothing here does I/O, knows a transport or knows that chat exists.

pub mod heartbeat;
pub mod namespaces;
pub mod stomp;

use std::fmt;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client said so.
    ClientClosed,
    /// The connection ended without a word.
    TransportClosed,
    /// The connection broke.
    TransportError,
    /// No pong in time.
    PingTimeout,
    /// No namespace joined in time.
    ConnectTimeout,
    /// It sent what is no packet, or a packet out of place.
    ProtocolViolation,
    /// Something that it asked for was refused, and its protocol has no other way to tell it.
    Refused,
    /// It sent more than it may at once.
    PayloadTooLarge,
    /// It read too slowly for what it was sent.
    SlowConsumer,
    /// The node is going away; the client should come back to another one.
    Draining,
    /// What is needed to serve it cannot be reached; the client should come back.
    Unavailable,
    /// The server ended it: the socket never said who it is.
    Unauthenticated,
    /// Its client has come back on another connection.
    Superseded,
    /// Its user logged out, or the token that it came with is no longer good.
    LoggedOut,
}

impl DisconnectReason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 14] = [
        Self::ClientClosed,
        Self::TransportClosed,
        Self::TransportError,
        Self::PingTimeout,
        Self::ConnectTimeout,
        Self::ProtocolViolation,
        Self::Refused,
        Self::PayloadTooLarge,
        Self::SlowConsumer,
        Self::Draining,
        Self::Unavailable,
        Self::Unauthenticated,
        Self::Superseded,
        Self::LoggedOut,
    ];

    /// Its name, for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::TransportClosed => "transport_closed",
            Self::TransportError => "transport_error",
            Self::PingTimeout => "ping_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::ProtocolViolation => "protocol_violation",
            Self::Refused => "refused",
            Self::PayloadTooLarge => "payload_too_large",
            Self::SlowConsumer => "slow_consumer",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
            Self::Unauthenticated => "unauthenticated",
            Self::Superseded => "superseded",
            Self::LoggedOut => "logged_out",
        }
    }

    /// The WebSocket close code that tells the client (RFC 6455, 7.4.1; 1012 and 1013 are registered with IANA).
    pub fn close_code(self) -> u16 {
        match self {
            Self::ClientClosed
            | Self::TransportClosed
            | Self::Unauthenticated
            | Self::Superseded
            | Self::LoggedOut => 1000,
            Self::Draining => 1012,
            Self::SlowConsumer | Self::Unavailable => 1013,
            Self::ProtocolViolation => 1002,
            Self::PayloadTooLarge => 1009,
            Self::TransportError | Self::PingTimeout | Self::ConnectTimeout | Self::Refused => 1008,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
