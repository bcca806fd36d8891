//! Confab's gateway: terminates client connections, publishes their commands, delivers events.
//!
//! Floors, lowest first; a lower one never imports a higher one: `dialect` → `session` → `hub` → `ingress`, `backplane`, `limits`, `registry`
//! → `node` → `transport`, `chat`, `rest` → `http`, `doors`, `internal` → `serve`, `commands`. ARCHITECTURE.md draws the picture.

pub mod backplane;
pub mod chat;
pub mod commands;
pub mod config;
pub mod descriptors;
pub mod dialect;
pub mod doors;
pub mod http;
pub mod hub;
pub mod ingress;
pub mod internal;
pub mod limits;
pub mod metrics;
pub mod node;
pub mod presence;
pub mod recovery;
pub mod registry;
pub mod rest;
pub mod rooms;
pub mod serve;
pub mod session;
pub mod transport;
