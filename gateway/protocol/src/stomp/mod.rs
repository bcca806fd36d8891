//! STOMP 1.0 to 1.2: frames of text headers and a body in a stream of bytes.
//!
//! Owns what clients write ([`Decoder`], [`Frame`], [`Command`]), what a server writes ([`write()`], [`message_head`],
//! [`message_rest`], [`HEART_BEAT`]), in which the versions differ ([`Version`]), and what the two sides say about
//! heart-beats ([`HeartBeat`]). It must never know which frame is allowed when, nor what a destination means: that is
//! the session's business and the dialect's.

mod command;
mod decoder;
mod encode;
mod error;
mod escape;
mod frame;
mod heart_beat;
mod version;

pub use command::{Command, ServerCommand};
pub use decoder::{Decoder, Item, Limits};
pub use encode::{HEART_BEAT, message_head, message_rest, write};
pub use error::DecodeError;
pub use frame::{Frame, Headers};
pub use heart_beat::{HeartBeat, Intervals, MalformedHeartBeat};
pub use version::Version;
