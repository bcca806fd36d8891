//! Batches against a real PostgreSQL: every test in a fresh database of its own. What goes through Redis is tested end to end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod batches;
mod commands;
mod database;
mod fences;
mod histories;
mod lanes;
mod lists;
mod ownership;
mod plans;
mod redis;
mod rooms;
