//! SockJS: sessions for clients whose network or browser has no WebSocket, and for those that prefer to ask beforehand.
//!
//! Owns the endpoint below a path ([`SockJs`]), its sessions over HTTP, and how they are found. What the messages are is a
//! [`MessageHandler`](super::application::MessageHandler)'s; this must never know.
//!
//! A client makes its session's name up and may come with it to any node. The node that gets the first request that receives claims the name
//! in Redis ([`crate::registry::Claims`]): one command for a session, one when it ends, and a pipeline of renewals every 20 s. Another node asks
//! once, remembers the answer and passes the session's requests on, as it does polls of Engine.IO. A session over a WebSocket is its
//! connection's, has no claim and costs Redis nothing.
//!
//! Whoever knows a session's name may send and receive in its place, as the protocol has it: the name is what protects the session.
//! sockjs-client makes it of 8 random characters, cannot send headers, and may change its address between two requests, so there is nothing that
//! a session could be bound to besides. What comes over it counts as its user's only after CONNECT, like on any other transport.

mod answer;
mod bring;
mod door;
mod elsewhere;
mod endpoint;
mod form;
mod receive;
mod table;
mod task;
mod websocket;

pub use endpoint::{SockJs, SockJsParts};
