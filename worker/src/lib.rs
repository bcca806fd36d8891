//! Confab's worker: turns commands into committed facts, in order, and announces them.
//!
//! The library exists for the tests; `main.rs` is the program.
//!
//! Invariant: the worker knows no dialect, no socket and no client. It meets gateways only through Redis and PostgreSQL.

pub mod broadcast;
pub mod commands;
pub mod config;
pub mod consumer;
pub mod handler;
pub mod metrics;
pub mod ops;
pub mod ownership;
pub mod pause;
