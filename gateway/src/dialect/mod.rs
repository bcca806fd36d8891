//! Dialects: one source API's names ↔ our commands and events.
//!
//! A dialect is a pure mapping, both ways. It does no I/O, knows no transport and keeps no state. A new API is one folder here and
//! one line in [`ALL`]. Whatever happens in a conversation has a word in every dialect; where a source has none, the dialect has one
//! in its source's style. [`asyncapi`] describes all of them to those who write clients.

mod ack;
pub mod asyncapi;
pub mod catalog;
pub mod conversations;
pub mod direct;
mod frames;
mod input;
mod intent;
pub mod namespaced;
mod numbers;
pub mod rooms;
pub mod stomp;

use std::fmt;

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::content::Slug;
use confab_shared::model::conversation::{ConversationKind, ConversationView, Subject};
use confab_shared::model::error::Rejection;
use confab_shared::model::event::Event;
use confab_shared::model::message::{Message, MessageStatus};
use confab_shared::model::timestamp::Timestamp;

use catalog::Catalog;
pub use frames::Frames;
pub use intent::{Confirmation, Intent};

/// Every dialect that a Socket.IO socket may speak: the one place where they are registered. Those of [`stomp`] are its sessions' own.
pub const ALL: &[&dyn Dialect] = &[
    &conversations::Conversations,
    &direct::Direct,
    &rooms::Rooms,
    &namespaced::Namespaced,
];

/// The dialect of this name.
pub fn named(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.id() == name)
}

/// The dialect that a socket's first event speaks: `preferred` if it knows the event, else the first one that does.
pub fn speaking(event: &str, preferred: &'static dyn Dialect) -> Option<&'static dyn Dialect> {
    std::iter::once(preferred)
        .chain(ALL.iter().copied())
        .find(|dialect| dialect.knows(event))
}

/// A Socket.IO namespace that Confab serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `/`
    Root,
    /// `/chat`
    Chat,
}

impl Namespace {
    /// The namespace of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "/" => Some(Self::Root),
            "/chat" => Some(Self::Chat),
            _ => None,
        }
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Chat => "/chat",
        }
    }
}

/// An event as it is shown now.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What happened.
    pub event: &'a Event,
    /// What a client gives back that has seen it: the last argument of its frame, if clients can be recovered.
    pub offset: Option<&'a str>,
}

/// What a socket calls a conversation that it has entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Called {
    /// It entered by its id, or was never asked.
    #[default]
    ById,
    /// It entered by its slug.
    BySlug,
}

impl Called {
    /// The conversation's name, as the socket has it.
    pub fn name(self, id: ConversationId, slug: Option<&str>) -> String {
        match (self, slug) {
            (Self::BySlug, Some(slug)) => slug.to_owned(),
            (Self::BySlug | Self::ById, _) => id.to_string(),
        }
    }
}

/// Where events are shown.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// To sockets of this namespace.
    pub namespace: Namespace,
    /// In this conversation,
    pub subject: &'a Subject,
    /// which they call thus.
    pub called: Called,
}

impl Scene<'_> {
    /// The conversation's name, as the sockets have it.
    pub fn room_id(&self) -> String {
        self.called
            .name(self.subject.id, self.subject.slug.as_deref())
    }
}

/// A conversation, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomName {
    /// By its id.
    Id(ConversationId),
    /// By its slug.
    Slug(Slug),
}

impl RoomName {
    /// Reads what a client calls a conversation.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Slug::parse(text).map(Self::Slug),
        }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Slug(slug) => slug.fmt(f),
        }
    }
}

/// For whose eyes an event is encoded. There are no more encodings than this tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// This user: it sees the client-chosen ids of its own messages.
    Sender(UserId),
    /// Everybody else.
    Others,
}

/// What a member is told of a conversation that its socket has not joined.
#[derive(Debug, Clone, Copy)]
pub struct Badge<'a> {
    /// Which.
    pub conversation: ConversationId,
    /// How many messages the member has not read. Exact.
    pub unread: i64,
    /// The newest message, deleted ones included.
    pub last: Option<&'a Message>,
    /// How far that has come.
    pub status: MessageStatus,
    /// When that is so.
    pub at: Timestamp,
}

/// What somebody's status has become, for those who share a conversation with them.
#[derive(Debug, Clone, Copy)]
pub struct ContactStatus {
    /// Whose.
    pub user: UserId,
    /// What it is.
    pub is_online: bool,
    /// Since when.
    pub at: Timestamp,
}

/// Who of a user's contacts is online, all at once.
#[derive(Debug, Clone, Copy)]
pub struct ContactsOnline<'a> {
    /// Those who are.
    pub online: &'a [UserId],
    /// Those who are not, if they may have been taken for it, each with when they were last seen.
    pub absent: &'a [(UserId, Timestamp)],
    /// When that is so.
    pub at: Timestamp,
}

/// How much a dialect's source lets its users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// As much as most.
    Usual,
    /// Little: strangers meet there.
    Strict,
}

/// Which of their user's conversations sockets see without entering them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// None: those alone that they enter.
    Entered,
    /// The direct ones.
    Directs,
    /// All of them, groups and direct ones.
    All,
}

impl Sight {
    /// Whether there are any.
    pub fn is_wide(self) -> bool {
        self != Self::Entered
    }

    /// The one kind that they are of, if they are not of all.
    pub fn only(self) -> Option<ConversationKind> {
        (self == Self::Directs).then_some(ConversationKind::Direct)
    }

    /// Whether a conversation of this kind is among them.
    pub fn includes(self, kind: ConversationKind) -> bool {
        match kind {
            ConversationKind::Direct => self.is_wide(),
            ConversationKind::Group => self == Self::All,
            ConversationKind::Room => false,
        }
    }
}

/// One source API's names ↔ our commands and events.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Its name, as clients may ask for it.
    fn id(&self) -> &'static str;

    /// Whether it has an event of this name from client to server.
    fn knows(&self, event: &str) -> bool;

    /// What a client asks for by an event.
    fn inbound(&self, event: &str, args: Args<'_>) -> Result<Intent, Rejection>;

    /// Whether its sockets are shown themselves what happens where they have entered. If not, others are, which their clients asked for.
    fn hears(&self) -> bool {
        true
    }

    /// Which of their user's conversations its sockets see without entering them.
    fn sight(&self) -> Sight {
        Sight::Entered
    }

    /// Whether a socket that has entered a conversation is shown it: [`Confirmation::Entered`] then, else [`Confirmation::Done`].
    fn shows_entered(&self) -> bool {
        false
    }

    /// Whether its sockets are told how much is unread in conversations that they have not joined.
    fn shows_unread(&self) -> bool {
        false
    }

    /// Whether its sockets are shown who of their users' contacts is online.
    fn shows_contacts(&self) -> bool {
        false
    }

    /// The room in which its sockets are from when it is known whose they are.
    fn lobby(&self) -> Option<RoomName> {
        None
    }

    /// How much its users may do; what they do in one tier is not counted in another.
    fn tier(&self) -> Tier {
        Tier::Usual
    }

    /// The frames that show events of a conversation, in order, to this audience. May be empty; at most one frame per event, so that
    /// its offset says that all of it was seen.
    fn outbound(&self, scene: Scene<'_>, events: &[Shown<'_>], audience: Audience) -> Bytes;

    /// The frames that tell a user of a conversation it has become a member of, with the offset as in [`Shown`].
    fn joined(&self, namespace: Namespace, view: &ConversationView, offset: Option<&str>) -> Bytes;

    /// The frames that tell a member how much it has not read. They are not told again, and carry no offset.
    fn unread(&self, _namespace: Namespace, _badge: Badge<'_>) -> Bytes {
        Bytes::new()
    }

    /// The frames that show who is online. They have no offset: whoever comes back is shown it anew.
    fn contacts(&self, _namespace: Namespace, _contacts: ContactsOnline<'_>) -> Bytes {
        Bytes::new()
    }

    /// The frames that show that a contact's status has changed. They have no offset either.
    fn contact(&self, _namespace: Namespace, _status: ContactStatus) -> Bytes {
        Bytes::new()
    }

    /// The frames that confirm an intent to the socket that had it; `ack_id` if it asked for an acknowledgement. May be empty.
    fn confirmed(
        &self,
        namespace: Namespace,
        ack_id: Option<u64>,
        confirmation: Confirmation<'_>,
    ) -> Bytes;

    /// The frames that refuse an event; an acknowledgement among them if the client asked for one.
    fn rejected(
        &self,
        namespace: Namespace,
        ack_id: Option<u64>,
        event: &str,
        rejection: &Rejection,
    ) -> Bytes;

    /// All its events and what they look like.
    fn catalog(&self) -> Catalog;
}

#[cfg(test)]
mod test_bench;
#[cfg(test)]
mod tests;
