//! The protocol layers on the wire: raw frames against the echo example, each test named for the point it proves.

mod engineio;
mod raw;
mod socketio;
mod websocket;
