//! Transports: they carry sessions. They run the protocols' state machines and do what these decide.
//!
//! Nothing here knows chat: what happens in a namespace is an [`application::Application`]'s, what happens to raw Engine.IO messages
//! is an [`application::EngineHandler`]'s; what STOMP clients subscribe to and send is an [`application::StompApplication`]'s.

pub mod admission;
mod answer;
pub mod application;
pub mod connection;
pub mod endpoint;
mod engine;
pub mod origin;
pub mod peers;
mod polling;
pub mod request_id;
pub mod sessions;
pub mod sid;
pub mod socketio;
pub mod sockjs;
pub mod stomp;
pub mod stream;
mod upgrade;
mod websocket;
