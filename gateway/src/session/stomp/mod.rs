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

pub use connected::{Action, Connected, Limits};
pub use connecting::{Connecting, Hello};
pub use destination::{Destinations, Source, Topic};
pub use subscription::{Framing, Subscription};
pub use violation::Violation;
