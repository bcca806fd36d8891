//! STOMP sessions: what the frames of one client mean, one after the other.
//!
//! Owns the protocol's rules: what must come first, which headers a command needs in which version, which subscriptions and transactions
//! there are, what a destination names, and when a heart-beat is due. It must never know what is shown in a room, who a client is, or what
//! carries its frames.

pub mod connected;
pub mod connecting;
pub mod destination;
pub mod heartbeat;
pub mod subscription;
pub mod transactions;
pub mod violation;

use std::time::Duration;

use confab_gateway_protocol::stomp::{self, HeartBeat};

pub use connected::{Action, Connected, Limits};
pub use connecting::{Connecting, Hello};
pub use destination::{BadPrefix, Destinations, Prefixes, Source, Topic};
pub use subscription::{Framing, Subscription};
pub use violation::Violation;

/// What a session may do, and what things are called in it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Limits of frames.
    pub frames: stomp::Limits,
    /// Limits of a session.
    pub session: Limits,
    /// What destinations mean.
    pub destinations: Destinations,
    /// How often the server would send something, and have clients do so.
    pub heart_beat: HeartBeat,
    /// From the connection to CONNECT.
    pub connect_timeout: Duration,
    /// How long a DISCONNECT waits for what was asked before it.
    pub last_answers: Duration,
}

#[cfg(test)]
mod tests;
