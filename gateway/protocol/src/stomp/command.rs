//! What frames are called.

use std::fmt;

/// What a client's frame asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Begins a session.
    Connect,
    /// The same, by the name that 1.1 added.
    Stomp,
    /// Sends a message. The only one with a body.
    Send,
    /// Begins a subscription.
    Subscribe,
    /// Ends one.
    Unsubscribe,
    /// Says that a message was consumed.
    Ack,
    /// Says that it was not.
    Nack,
    /// Begins a transaction.
    Begin,
    /// Carries a transaction out.
    Commit,
    /// Gives a transaction up.
    Abort,
    /// Ends the session.
    Disconnect,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::Stomp,
        Self::Send,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ack,
        Self::Nack,
        Self::Begin,
        Self::Commit,
        Self::Abort,
        Self::Disconnect,
    ];

    /// Its name in a frame.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Stomp => "STOMP",
            Self::Send => "SEND",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Ack => "ACK",
            Self::Nack => "NACK",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Abort => "ABORT",
            Self::Disconnect => "DISCONNECT",
        }
    }

    /// The command of this name.
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|command| command.as_str().as_bytes() == name)
    }

    /// Whether it begins a session. Such a frame comes before there is a version to go by.
    pub fn begins_session(self) -> bool {
        matches!(self, Self::Connect | Self::Stomp)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a server's frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerCommand {
    /// The session has begun.
    Connected,
    /// A message for a subscription.
    Message,
    /// A frame that asked for a receipt was dealt with.
    Receipt,
    /// Something was wrong, and the connection closes.
    Error,
}

impl ServerCommand {
    /// Its name in a frame.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "CONNECTED",
            Self::Message => "MESSAGE",
            Self::Receipt => "RECEIPT",
            Self::Error => "ERROR",
        }
    }
}

impl fmt::Display for ServerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
