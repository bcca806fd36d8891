//! SockJS on the wire: the rules of its protocol (0.3.3), and sessions that any of several nodes finds.

mod bench;
mod books;
mod claims;
mod client;
mod nodes;
mod rules;
mod streams;
mod websocket;
