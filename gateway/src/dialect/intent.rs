//! What clients want, and what came of it: the words that all dialects are translated to and from.

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::command::Command;
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::{ConversationKind, ConversationView, Subject};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;

use super::{Called, RoomName};

/// What a client asks for by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Make a conversation.
    Create {
        /// Direct or group.
        kind: ConversationKind,
        /// A group's name.
        name: Option<String>,
        /// The people named, as they were named.
        participants: Vec<UserId>,
    },
    /// Change a conversation.
    Change {
        /// Which.
        conversation: ConversationId,
        /// How.
        command: Command,
    },
    /// Make a public room of this name.
    CreateRoom {
        /// Its name.
        name: String,
    },
    /// Listen to a conversation's live events; in a public room, be present.
    Enter {
        /// Which.
        room: RoomName,
        /// What somebody without an account wants to be called. Not checked: it is nothing to those who have one.
        guest_name: Option<String>,
    },
    /// Listen no more, be present no more.
    Exit(RoomName),
    /// Let others see that the user types, or types no more.
    Type {
        /// Where.
        room: RoomName,
        /// Whether it does.
        typing: bool,
    },
    /// Say something in a conversation by its name.
    Say {
        /// Where.
        room: RoomName,
        /// What.
        content: Content,
        /// The client's own id for it.
        temp_id: Option<TempId>,
        /// Whether the socket must have entered it.
        inside: bool,
    },
    /// Say something to somebody, in the conversation of the two, which is made if need be.
    SayTo {
        /// To whom; or a conversation's id.
        receiver: UserId,
        /// What.
        content: Content,
        /// The client's own id for it.
        temp_id: Option<TempId>,
    },
    /// Read what was said between the two.
    History {
        /// With whom; or a conversation's id.
        with: UserId,
        /// Before this message.
        before: Option<MessageId>,
        /// At most so many.
        limit: u32,
    },
    /// Know who of the user's contacts is online.
    WhoIsOnline,
    /// Be seen as online, or as offline whatever one does.
    Appear {
        /// As online.
        online: bool,
    },
    /// Be the user of this token from now on.
    LogIn {
        /// The token.
        token: String,
    },
    /// Go, and not come back.
    LogOut,
}

impl Intent {
    /// Its name, for metric labels. A change is called as its command is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Change { command, .. } => command.name(),
            Self::CreateRoom { .. } => "make_room",
            Self::Enter { .. } => "enter",
            Self::Exit(_) => "exit",
            Self::Type { .. } => "type",
            Self::Say { .. } => "say",
            Self::SayTo { .. } => "say_to",
            Self::History { .. } => "history",
            Self::WhoIsOnline => "who_is_online",
            Self::Appear { .. } => "appear",
            Self::LogIn { .. } => "log_in",
            Self::LogOut => "log_out",
        }
    }
}

/// What came of an intent that succeeded.
#[derive(Debug, Clone, Copy)]
pub enum Confirmation<'a> {
    /// It is done, and there is no more to say.
    Done,
    /// A message is stored.
    Stored {
        /// Where.
        conversation: ConversationId,
        /// Its number.
        message: MessageId,
        /// The client's own id for it.
        temp_id: Option<&'a TempId>,
        /// When.
        at: Timestamp,
    },
    /// The conversation is there.
    Conversation(&'a ConversationView),
    /// The socket is in a conversation, with these people present.
    Entered {
        /// Which, with those who are present as its participants if it is a public room.
        view: &'a ConversationView,
        /// What the socket calls it.
        called: Called,
    },
    /// The socket is in a conversation no more.
    Left {
        /// What the client called it.
        room: &'a RoomName,
    },
    /// What was said, oldest first.
    History {
        /// Where.
        subject: &'a Subject,
        /// The messages.
        messages: &'a [Message],
    },
    /// Those of the user's contacts who are online.
    Online(&'a [UserId]),
    /// The socket is this user's.
    LoggedIn(&'a Profile),
    /// The socket is about to be closed.
    LoggedOut,
}
