//! Engine.IO v4: the link below Socket.IO.
//!
//! Owns packets ([`Packet`]), the body of long-polling requests ([`PayloadEncoder`], [`decode_payload`]) and what the
//! handshake says ([`OpenPacket`], [`HandshakeError`]). It must never know which packet is allowed when: that is the
//! session's business.

mod handshake;
mod packet;
mod payload;

pub use handshake::{HandshakeError, OpenPacket};
pub use packet::{MessageKind, Packet, PacketError, begin_message};
pub use payload::{
    PayloadEncoder, PayloadError, PayloadFull, PayloadLimits, PayloadPackets, decode_payload,
};

/// The protocol's version, as the `EIO` query parameter names it.
pub const PROTOCOL_VERSION: &str = "4";
