//! Load for Confab, and the checker that compares what every client saw with what PostgreSQL holds.
//!
//! Written from the wire contracts, not from the servers: it shares nothing with them but the ids, the error codes and the way
//! tokens are signed.
//!
//! - [`client`]: one Socket.IO connection, or a STOMP one, cheap enough to share a machine with the system under test.
//! - [`setup`]: users and conversations for a run.
//! - [`member`]: one user's client: asks, and writes down what it asked and saw.
//! - [`listener`]: one user's STOMP subscriber.
//! - [`checker`]: the promises, and every place where a run broke one.
//!
//! Invariant: nothing in here repairs, retries or hides what the servers do unless it is written down.

pub mod checker;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod histogram;
pub mod http;
mod index;
pub mod instruments;
pub mod listener;
pub mod log;
pub mod member;
pub mod processes;
pub mod queries;
pub mod setup;
pub mod stamp;
pub mod truth;
