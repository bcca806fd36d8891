//! The protocol layers on the wire: raw frames against the echo example, each test named for the point it proves. And who is present, by
//! nodes without clients, against a real Redis and PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, in its helpers as well"
)]

mod abandoned;
mod admission;
mod backplane;
mod bounds;
mod browsers;
mod connections;
mod draining;
mod engineio;
mod entering;
mod http;
mod ingress;
mod insides;
mod lifetime;
mod limits;
mod nodes;
mod peers;
mod polling;
mod posts;
mod presence;
mod raw;
mod records;
mod recovery;
mod registry;
mod scripts;
mod socketio;
mod sockjs;
mod stomp;
mod tls;
mod tunnel;
mod upgrade;
mod websocket;
