//! STOMP, as a WebSocket or SockJS carries it: runs the sessions' state machines for a [`StompApplication`].
//!
//! [`StompApplication`]: super::application::StompApplication

mod link;
mod reply;

pub use link::{StompLink, error_frame};
pub use reply::Reply;
