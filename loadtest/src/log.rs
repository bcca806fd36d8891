//! What one client did and saw, kept small: a run has millions of these records.
//!
//! Clients, conversations and messages sent are named by their index within the run; see [`Population`](crate::setup::Population).

use confab_shared::model::error::ErrorCode;

use crate::client::Kind;

/// Everything one client did and saw.
#[derive(Debug, Clone, Default)]
pub struct ClientLog {
    /// Its connections, in order.
    pub connections: Vec<Link>,
    /// The events it received, in order.
    pub seen: Vec<Seen>,
    /// The messages it sent, in the order of their first attempts.
    pub sends: Vec<Sent>,
    /// What else it asked for, in order.
    pub changes: Vec<Change>,
    /// The histories it read after a reconnection.
    pub histories: Vec<History>,
    /// The first few things received that it could not make sense of.
    pub strays: Vec<String>,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// To which gateway, as far as the client knows.
    pub gateway: u32,
    /// How it was to be carried.
    pub kind: Kind,
    /// The socket's id.
    pub sid: String,
    /// Its private id, where the server gives one.
    pub pid: Option<String>,
    /// Whether the client concluded that this goes on where the connection before broke.
    pub recovered: bool,
    /// When it was open.
    pub opened: u64,
    /// When it broke; none while it is open.
    pub closed: Option<u64>,
}

/// What kind of event was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// `newMessage`; `place` is its `seq`.
    Message,
    /// `messageUpdated`.
    Edited,
    /// `messageDeleted`.
    Deleted,
    /// `messageRead`, or `conversationRead` where `message` is 0; `place` is the client that read.
    Read,
}

/// An event received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The message's id.
    pub message: i64,
    /// See [`Sight`].
    pub place: u32,
    /// In which conversation.
    pub conversation: u32,
    /// The version of the text, or [`TOMBSTONE`].
    pub version: u16,
    /// On which of the client's connections.
    pub connection: u16,
    /// What happened.
    pub sight: Sight,
}

/// The version of a message that is shown as deleted.
pub const TOMBSTONE: u16 = u16::MAX;

/// What is known of something asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Asked, and neither answered nor cut off.
    Pending,
    /// Confirmed.
    Done {
        /// With this.
        value: T,
        /// When.
        at: u64,
    },
    /// Refused.
    Refused(ErrorCode),
    /// Cut off, or answered with a code that leaves it open: it may have happened.
    Unknown,
}

/// A message sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Where.
    pub conversation: u32,
    /// When first.
    pub at: u64,
    /// How often, with the same temporary id.
    pub attempts: u16,
    /// How many `messageSent` came for it.
    pub notices: u16,
    /// The latest version that an edit may have given it.
    pub version: u16,
    /// With what result; a confirmed one has its message's id.
    pub outcome: Outcome<i64>,
}

impl Sent {
    /// Whether it is confirmed.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done { .. })
    }
}

/// Another change asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub conversation: u32,
    /// Of or up to which message.
    pub message: i64,
    /// What.
    pub kind: ChangeKind,
    /// When.
    pub at: u64,
    /// With what result.
    pub outcome: Outcome<()>,
}

/// What a [`Change`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The text of this version.
    Edit(u16),
    /// A tombstone.
    Delete,
    /// Everything up to the message is read.
    Read,
    /// Everything is read; the message is 0.
    ReadAll,
}

/// A history read after a reconnection, back to what the client had seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Whose.
    pub conversation: u32,
    /// During which of the client's connections.
    pub connection: u16,
    /// Ids and `seq`s, in the order received: newest first.
    pub messages: Vec<(i64, u32)>,
}

impl ClientLog {
    /// Whether the client was connected the whole time, and is so still.
    pub fn was_always_connected(&self) -> bool {
        self.connections.len() == 1 && self.is_connected()
    }

    /// Whether the client is connected at the end, and to it the connection has never been another: each but the first was
    /// recovered.
    pub fn had_one_session(&self) -> bool {
        self.is_connected() && self.connections.iter().skip(1).all(|link| link.recovered)
    }

    /// The session of each connection, by the index of its first: where a connection was recovered, it is that of the one
    /// before.
    pub fn sessions(&self) -> Vec<u16> {
        let mut session = 0;
        (0..)
            .zip(&self.connections)
            .map(|(index, link)| {
                if !link.recovered {
                    session = index;
                }
                session
            })
            .collect()
    }

    /// Whether the client is connected at the end.
    pub fn is_connected(&self) -> bool {
        self.connections
            .last()
            .is_some_and(|link| link.closed.is_none())
    }
}
