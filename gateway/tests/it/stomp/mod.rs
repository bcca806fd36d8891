//! STOMP over raw WebSockets, against a small application of the tests' own.

mod client;
mod connecting;
mod ending;
mod frames;
mod heartbeats;
mod server;
mod stream;
mod subscriptions;
mod transactions;
