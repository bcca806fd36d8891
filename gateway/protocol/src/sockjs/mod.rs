//! SockJS 0.3.3: messages for clients whose network or browser has no WebSocket.
//!
//! Owns the frames a server writes ([`message`], [`close`], [`OPEN`], [`HEART_BEAT`]), their dress in each transport's
//! responses ([`Merger`], [`line()`], [`event`]), what clients send ([`messages`], [`frame_messages`]), the addresses
//! below an endpoint ([`Route`]) and the documents there ([`info`], [`iframe`]). It must never know what the messages
//! say, nor which response belongs to which session.

mod frame;
mod messages;
mod page;
mod response;
mod route;

pub use frame::{HEART_BEAT, OPEN, close, message};
pub use messages::{Messages, MessagesError, frame_messages, messages};
pub use page::{GREETING, iframe, info};
pub use response::{EVENT_PRELUDE, Merger, NotMerged, event, line, streaming_prelude};
pub use route::{Route, Transport};
