//! How a socket comes to listen to a room.

use confab_shared::id::Seq;
use confab_shared::model::event::Event;

use crate::dialect::Called;
use crate::hub::socket::SocketRef;

/// What became of an attempt to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinOutcome {
    /// Live events after this one flow to the socket from here on.
    Joined(Seq),
    /// They did already, and the room stands at this one.
    AlreadyIn(Seq),
    /// Memberships changed since the caller looked: look again.
    Recheck,
}

/// A socket that wants to listen.
#[derive(Debug)]
pub struct Joining {
    /// Which.
    pub socket: SocketRef,
    /// What it calls the room.
    pub called: Called,
    /// Where the conversation stood when it was read that it may.
    pub as_of: Seq,
    /// What it is to be shown first.
    pub backlog: Option<Backlog>,
}

/// What happened in a conversation before a socket listens, and is to be shown to it all the same.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// The changes, in order.
    pub events: Vec<Event>,
    /// Up to where they are complete.
    pub up_to: Seq,
}
