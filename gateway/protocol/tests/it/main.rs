//! Golden vectors and properties of every codec.
//!
//! The vectors are the examples of the Engine.IO v4, Socket.IO v5, STOMP and SockJS specifications and what the reference
//! parsers refuse: they pin the exact bytes. The properties say that what is encoded decodes to the same, that JSON passed on keeps its
//! bytes, and that no input makes a decoder panic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod assembler;
mod engineio;
mod engineio_properties;
mod json;
mod placeholder;
mod socketio_properties;
mod socketio_read;
mod socketio_write;
mod sockjs;
mod sockjs_properties;
mod stomp_properties;
mod stomp_read;
mod stomp_refused;
mod stomp_write;
mod strategies;
mod websocket;
