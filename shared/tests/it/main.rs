//! The read side against a real PostgreSQL: every test in a fresh database of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod changes;
mod contacts;
mod conversations;
mod database;
mod messages;
mod rooms;
mod tokens;
mod users;
