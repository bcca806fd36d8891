//! A Socket.IO packet, whole or still waiting for its attachments.
//!
//! Owns the shape only. It must never know how it is written.

use std::borrow::Cow;

use crate::json::{Args, Json};

/// A Socket.IO packet that borrows from the message it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The namespace, `/` if the packet names none. Never empty, begins with `/`, has neither comma nor `?`.
    pub namespace: &'a str,
    /// What followed the namespace's `?`. Older clients put query parameters there; they are no part of the name.
    pub query: Option<&'a str>,
    /// What the packet says.
    pub body: Body<'a>,
}

/// What a packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// A client asks to join the namespace, with an object of credentials; or a server grants it, with an object of ids.
    Connect(Option<Json<'a>>),
    /// The sender leaves the namespace.
    Disconnect,
    /// Something happened.
    Event(Event<'a>),
    /// The answer to an event that asked for one.
    Ack(Ack<'a>),
    /// A server refuses a client; an object, or a string.
    ConnectError(Option<Json<'a>>),
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name. A number in its place is kept as it was written. A name that is no Unicode (a lone surrogate
    /// escape) is kept escaped: nobody can be listening to it, and it is answered like any unknown event.
    pub name: Cow<'a, str>,
    /// What comes with it.
    pub args: Args<'a>,
    /// The id its acknowledgement shall have, if the sender wants one.
    pub ack_id: Option<u64>,
    /// How many binary messages belong to it.
    pub attachments: usize,
}

/// The acknowledgement of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The id that came with the event.
    pub id: u64,
    /// What comes with it.
    pub args: Args<'a>,
    /// How many binary messages belong to it.
    pub attachments: usize,
}

impl Packet<'_> {
    /// How many binary messages belong to the packet.
    pub fn attachments(&self) -> usize {
        match &self.body {
            Body::Event(event) => event.attachments,
            Body::Ack(ack) => ack.attachments,
            Body::Connect(_) | Body::Disconnect | Body::ConnectError(_) => 0,
        }
    }
}
