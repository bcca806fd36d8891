//! Socket.IO v5: namespaces, events and acknowledgements inside Engine.IO messages.
//!
//! Owns the packets ([`Packet`]), how they are read ([`decode`], and [`Assembler`] for those with attachments) and
//! written ([`encode`] and the functions beside it). It must never know which namespaces and events exist.

mod assembler;
mod decode;
mod encode;
mod error;
mod packet;
mod placeholder;

pub use assembler::{AssembledPacket, Assembler, AssemblerError, AssemblerLimits};
pub use decode::decode;
pub use encode::{
    ArgsWriter, ack, binary_ack, binary_event, connect_error, connected, disconnect, encode, event,
    is_valid_namespace,
};
pub use error::DecodeError;
pub use packet::{Ack, Body, Event, Packet};

/// The namespace of packets that name none.
pub const ROOT_NAMESPACE: &str = "/";

/// Names that clients' libraries emit locally and that therefore never travel.
const RESERVED_EVENT_NAMES: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];
