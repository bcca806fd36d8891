//! What Confab's gateways and workers must agree on.
//!
//! Owns the ids, the domain model, the Redis keyspace and its scripts, every SQL statement, tokens and passwords,
//! configuration layering, metrics and process lifecycle.
//!
//! Invariant: this crate knows no HTTP and no wire protocol. Nothing in here names a dialect, a namespace or a socket.

pub mod auth;
pub mod config;
pub mod id;
pub mod lifecycle;
pub mod metrics;
pub mod model;
pub mod postgres;
pub mod redis;
pub mod seen;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
