//! What passes between the actor and the rest of the node: what reaches it, and what it asks of those who do I/O.
//!
//! Owns the words alone. What becomes of them is the actor's business, and who says them the [hub](super::Hub)'s.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::model::conversation::{ConversationView, Subject};
use confab_shared::model::event::{Event, RoomBatch, UserNotice};
use confab_shared::model::message::Message;
use confab_shared::model::position::Position;
use confab_shared::postgres::unread::Unread;
use confab_shared::telemetry::Unreadable;
use tokio::sync::oneshot;

use super::offset::Offset;
use super::room::{Backlog, JoinOutcome, Joining};
use super::socket::SocketRef;

/// What reaches the actor.
#[derive(Debug)]
pub(super) enum HubInput {
    /// A socket wants a room's live events.
    Join {
        /// Which room.
        conversation: ConversationId,
        /// Who, and how.
        joining: Joining,
        /// Where to say what came of it.
        done: oneshot::Sender<JoinOutcome>,
    },
    /// A socket wants them no more.
    Leave {
        /// Which socket.
        socket: u64,
        /// Which room.
        conversation: ConversationId,
    },
    /// A room channel carried this (a [`RoomBatch`](confab_shared::model::event::RoomBatch) behind its position).
    Published(Bytes),
    /// A room is subscribed, and the conversation stood at `seq` after that.
    Opened {
        /// Which.
        conversation: ConversationId,
        /// What is to be known of it; none: it does not exist.
        subject: Option<Arc<Subject>>,
        /// How far it had come.
        seq: Seq,
        /// The last beat when its channel had been subscribed to.
        since: u64,
    },
    /// What a room missed.
    Repaired {
        /// Which.
        conversation: ConversationId,
        /// The changes, in order.
        events: Vec<Event>,
        /// Up to where they are complete.
        up_to: Seq,
        /// The last announcement that Redis has.
        kept: Option<(Position, Seq)>,
        /// Whether nothing more follows.
        complete: bool,
    },
    /// PostgreSQL says how far a conversation has come.
    Checked {
        /// Which.
        conversation: ConversationId,
        /// How far.
        seq: Seq,
    },
    /// A user's own channel carried this; it is shown later, by [`HubInput::Joined`] or [`HubInput::Removed`].
    Noticed {
        /// Who.
        user: UserId,
        /// Where it was announced.
        position: Position,
        /// What.
        notice: UserNotice,
    },
    /// A user became a member of a conversation.
    Joined {
        /// Who.
        user: UserId,
        /// Where that was announced, if it was.
        position: Option<Position>,
        /// The change that made it so.
        seq: Seq,
        /// The conversation; none if there is nothing to show.
        view: Option<Box<ConversationView>>,
    },
    /// The same, of somebody with sockets that see all their conversations.
    Followed(Following),
    /// A user was removed from a conversation.
    Removed {
        /// Who.
        user: UserId,
        /// Where that was announced, if it was.
        position: Option<Position>,
        /// From which.
        conversation: ConversationId,
        /// The removal.
        event: Event,
    },
    /// A socket watches conversations that it may not have joined.
    Watch {
        /// Which socket.
        socket: SocketRef,
        /// Which conversations.
        watched: Vec<Watched>,
        /// Dropped when all of their rooms are open.
        opening: Opening,
    },
    /// A socket watches none any more.
    Unwatch(u64),
    /// Counts of what watchers have not read.
    Counted {
        /// In which conversation.
        conversation: ConversationId,
        /// How much.
        counted: Counted,
    },
    /// Messages up to these ordinals have reached somebody.
    Reached(Vec<(ConversationId, i64)>),
    /// Does a socket listen to a room?
    Listens {
        /// Which socket.
        socket: u64,
        /// Which room.
        conversation: ConversationId,
        /// Where to say so.
        answer: oneshot::Sender<bool>,
    },
    /// Say that everything has been done that was asked for before.
    CaughtUp(oneshot::Sender<()>),
    /// The node has heard this beat of its own: whatever was announced in this order up to here has arrived.
    Arrived(Partition, Position, u64),
    /// Something may have been lost that is not known yet.
    Doubt(u64),
    /// Everything was compared after this doubt.
    Certain(u64),
    /// Something is being missed.
    Suspicion(u64),
    /// Nothing is missed any more for this reason.
    Trust(u64),
    /// A room stands where its announcements may not tell.
    Diverged(ConversationId),
    /// Say when everything that was announced up to here is shown.
    Await(Awaited),
    /// How far has the node come?
    Offset(oneshot::Sender<Offset>),
    /// Which rooms are open?
    Rooms(oneshot::Sender<Vec<ConversationId>>),
}

/// A user became a member of a conversation that some of the user's sockets listen to from then on.
#[derive(Debug)]
pub(super) struct Following {
    /// Who.
    pub(super) user: UserId,
    /// Where that was announced, if it was.
    pub(super) position: Option<Position>,
    /// The change that made it so.
    pub(super) seq: Seq,
    /// The conversation.
    pub(super) view: Box<ConversationView>,
    /// What happened in it since.
    pub(super) backlog: Backlog,
    /// Where to say whether it was shown; if not, it has to be read again.
    pub(super) done: oneshot::Sender<bool>,
}

/// A conversation that a socket is to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Which.
    pub conversation: ConversationId,
    /// Where it stood when it was read that the socket's user is a member.
    pub as_of: Seq,
    /// Whether something has happened in it of which the socket may not know.
    pub owed: bool,
}

/// That rooms are being opened. Whoever waits for them holds the other end, and sees it closed when nobody has this any more.
pub(super) type Opening = Arc<oneshot::Sender<()>>;

/// How much members have not read, as PostgreSQL has it.
#[derive(Debug)]
pub struct Counted {
    /// Which asking is answered.
    pub ticket: u64,
    /// About whom it was asked.
    pub users: Vec<UserId>,
    /// Those of them who are members.
    pub counts: HashMap<UserId, Unread>,
    /// The newest message, if that was asked for.
    pub last: Newest,
}

/// A conversation's newest message, deleted ones included.
#[derive(Debug)]
pub enum Newest {
    /// It is not known.
    Unknown,
    /// There is none.
    Nothing,
    /// This one.
    Is(Box<Message>),
}

impl Newest {
    /// The message, if it is known that there is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Is(message) => Some(message),
            Self::Unknown | Self::Nothing => None,
        }
    }
}

impl From<Option<Message>> for Newest {
    fn from(read: Option<Message>) -> Self {
        read.map_or(Self::Nothing, |message| Self::Is(Box::new(message)))
    }
}

/// What somebody waits for.
#[derive(Debug)]
pub(super) struct Awaited {
    /// Everything announced in these orders up to there has arrived, and its notices
    pub(super) places: Vec<(Partition, Position)>,
    /// for this user are shown.
    pub(super) user: UserId,
    /// These rooms have been shown up to these changes.
    pub(super) rooms: Vec<(ConversationId, Seq)>,
    /// Who waits.
    pub(super) done: oneshot::Sender<()>,
}

/// What the actor asks of those who do I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubRequest {
    /// Subscribe to a room's channel, then answer [`HubInput::Opened`].
    Open(ConversationId),
    /// Nobody listens to it any more.
    Close(ConversationId),
    /// Read what changed after this and answer [`HubInput::Repaired`].
    Repair(ConversationId, Seq),
    /// Read what is needed to show this notice, then answer [`HubInput::Joined`] or [`HubInput::Removed`].
    Notice(UserId, Position, UserNotice),
    /// Memberships have changed since they were read: read again whether this user's sockets are to watch this, as far as they watch.
    Rewatch(UserId, Watched),
    /// Read how much these members have not read, and the last message if that is wanted, then answer [`HubInput::Counted`].
    Count {
        /// Which asking this is.
        ticket: u64,
        /// In which conversation.
        conversation: ConversationId,
        /// Whose counts.
        users: Vec<UserId>,
        /// Whether the last message is wanted.
        last: bool,
    },
    /// Everything up to these ordinals has reached a socket of somebody else than the sender.
    Delivered(Vec<(ConversationId, i64)>),
}

/// `<position>\n<RoomBatch>`, as the worker's script writes it.
pub(super) fn parse_published(payload: &[u8]) -> Result<(Position, RoomBatch), MalformedBatch> {
    let end = payload
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(MalformedBatch::NoPosition)?;
    let position = std::str::from_utf8(&payload[..end])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(MalformedBatch::NoPosition)?;
    let batch = serde_json::from_slice(&payload[end + 1..]).map_err(Unreadable::from)?;
    Ok((position, batch))
}

/// What a room channel should not carry.
#[derive(Debug, thiserror::Error)]
pub(super) enum MalformedBatch {
    #[error("no position before it")]
    NoPosition,
    #[error(transparent)]
    NoBatch(#[from] Unreadable),
}
