//! Engine.IO over HTTP long-polling, and the way from there to a WebSocket.
//!
//! Requests come and go; the session is a task of its own ([`serve`]). What a request brings it leaves in the session's [`Mailbox`],
//! and waits there for the answer. Nothing here knows of other nodes: a request that was passed on by one looks like any other.

mod body;
mod mailbox;
mod polls;
mod probe;
mod requests;
mod task;
mod ticket;

pub(super) use mailbox::{Connection, Mailbox};
pub(super) use requests::{BodyError, Unanswered, discard, get, post, read_body};
pub(super) use task::serve;
