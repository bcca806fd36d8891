//! Everything that can happen, be confirmed and be refused, with the people and places that it takes.

use std::sync::Arc;

use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::content::{Slug, TempId};
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant, Subject,
};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;
use uuid::Uuid;

use crate::dialect::{Called, Confirmation, Dialect, Namespace, RoomName, Scene};

pub(in crate::dialect) fn user(n: u8) -> UserId {
    UserId(
        format!("01930000-0000-7000-8000-0000000000{n:02}")
            .parse()
            .unwrap(),
    )
}

pub(in crate::dialect) fn conversation() -> ConversationId {
    ConversationId("01930000-0000-7000-9000-000000000001".parse().unwrap())
}

pub(in crate::dialect) fn at(second: u8) -> Timestamp {
    serde_json::from_str(&format!("\"2026-01-02T03:04:{second:02}.500Z\"")).unwrap()
}

fn profile(n: u8, name: &str) -> Profile {
    Profile {
        id: user(n),
        username: name.to_lowercase().into(),
        name: name.into(),
        avatar: None,
        account: AccountRole::User,
    }
}

pub(super) fn participant(n: u8, name: &str, role: MemberRole) -> Participant {
    Participant {
        // Carol is there.
        is_online: n == 3,
        ..Participant::new(profile(n, name), role)
    }
}

fn message() -> Message {
    Message {
        id: MessageId(42),
        conversation: conversation(),
        seq: Seq(7),
        change_seq: Seq(7),
        ordinal: 5,
        sender: profile(1, "Alice").into(),
        message_type: "text".into(),
        content: "say \"hi\" \u{1f600}".into(),
        reply_to: Some(MessageId(41)),
        created_at: at(1),
        edited_at: None,
        deleted_at: None,
    }
}

fn edited() -> Message {
    Message {
        content: "better".into(),
        change_seq: Seq(8),
        edited_at: Some(at(2)),
        ..message()
    }
}

fn answer_taken_back() -> Message {
    Message {
        deleted_at: Some(at(3)),
        sender: profile(2, "Bob").into(),
        ..message()
    }
}

/// A group of two.
pub(in crate::dialect) fn group_view() -> ConversationView {
    ConversationView {
        id: conversation(),
        kind: ConversationKind::Group,
        slug: None,
        name: Some("Team".into()),
        participants: vec![
            participant(1, "Alice", MemberRole::Owner),
            participant(2, "Bob", MemberRole::Member),
        ],
        last_message: Some(message()),
        unread_count: 3,
        last_seq: Seq(7),
        created_at: at(0),
        updated_at: at(1),
    }
}

/// A public room with a guest in it.
fn room_view() -> ConversationView {
    let mut guest = participant(3, "Carol", MemberRole::Member);
    guest.profile.account = AccountRole::Guest;
    ConversationView {
        kind: ConversationKind::Room,
        slug: Some("lounge".into()),
        name: Some("Lounge".into()),
        participants: vec![guest],
        unread_count: 0,
        ..group_view()
    }
}

/// Conversations of every kind.
pub(in crate::dialect) struct Subjects {
    pub(in crate::dialect) unknown: Subject,
    direct: Subject,
    group: Subject,
    room: Subject,
}

impl Subjects {
    pub(in crate::dialect) fn new() -> Self {
        let unknown = Subject::unknown(conversation());
        let group = Subject {
            name: Some("Team".into()),
            ..unknown.clone()
        };
        let direct = Subject {
            kind: ConversationKind::Direct,
            pair: Some([profile(1, "Alice").into(), profile(2, "Bob").into()]),
            ..unknown.clone()
        };
        let room = Subject {
            kind: ConversationKind::Room,
            slug: Some("lounge".into()),
            name: Some("Lounge".into()),
            ..unknown.clone()
        };
        Self {
            unknown,
            direct,
            group,
            room,
        }
    }

    /// Where things happen, with what golden files call it.
    pub(in crate::dialect) fn scenes(
        &self,
        namespace: Namespace,
    ) -> [(&'static str, Scene<'_>); 4] {
        let scene = |subject, called| Scene {
            namespace,
            subject,
            called,
        };
        [
            ("two, ", scene(&self.direct, Called::ById)),
            ("group, ", scene(&self.group, Called::ById)),
            ("room, ", scene(&self.room, Called::BySlug)),
            ("room by id, ", scene(&self.room, Called::ById)),
        ]
    }
}

/// Everything that can happen. Who adds a fact adds it here: [`is_silent`] does not compile without it.
pub(in crate::dialect) fn facts() -> Vec<(&'static str, Fact)> {
    let carol: Arc<Profile> = profile(3, "Carol").into();
    let tombstone = || Message {
        deleted_at: Some(at(3)),
        ..edited()
    };
    let stored = |message| Fact::MessageStored {
        message,
        temp_id: None,
    };
    let by = user(1);
    let read = |message| Fact::MessagesRead {
        user: user(2),
        message,
        read_count: 5,
    };
    let changed = |description: Option<&str>, max_users| Fact::RoomUpdated {
        by,
        name: "Lounge".into(),
        description: description.map(Into::into),
        max_users,
    };
    let typing = |typing| Fact::Typing {
        user: carol.clone(),
        source: Uuid::nil(),
        typing,
    };
    vec![
        ("created", Fact::ConversationCreated { by }),
        (
            "stored",
            Fact::MessageStored {
                message: message(),
                temp_id: Some("t-1".into()),
            },
        ),
        ("stored, edited since", stored(edited())),
        ("stored, deleted since", stored(tombstone())),
        ("edited", Fact::MessageEdited { message: edited() }),
        (
            "edited, deleted since",
            Fact::MessageEdited {
                message: tombstone(),
            },
        ),
        (
            "deleted",
            Fact::MessageDeleted {
                message: MessageId(42),
                by: user(2),
            },
        ),
        ("read", read(Some(MessageId(42)))),
        ("read all", read(None)),
        (
            "added",
            Fact::MembersAdded {
                members: vec![participant(3, "Carol", MemberRole::Member)],
            },
        ),
        ("removed", Fact::MemberRemoved { user: user(3), by }),
        ("room updated", changed(Some("Come in"), Some(50))),
        ("room updated, unlimited", changed(None, None)),
        ("room deleted", Fact::RoomDeleted { by }),
        (
            "entered",
            Fact::Entered {
                user: carol.clone(),
                present: 2,
            },
        ),
        (
            "exited",
            Fact::Exited {
                user: carol.clone(),
                present: 1,
            },
        ),
        ("typing", typing(true)),
        ("typing no more", typing(false)),
        ("advanced", Fact::Advanced),
    ]
}

/// Whether a dialect has no word for a fact. Nothing else that happens is invisible in any dialect.
pub(in crate::dialect) fn is_silent(dialect: &dyn Dialect, fact: &Fact) -> bool {
    match fact {
        Fact::ConversationCreated { .. } | Fact::Advanced => true,
        Fact::Entered { .. } | Fact::Exited { .. } => dialect.id() != "rooms",
        Fact::MessageStored { .. }
        | Fact::MessageEdited { .. }
        | Fact::MessageDeleted { .. }
        | Fact::MessagesRead { .. }
        | Fact::MembersAdded { .. }
        | Fact::MemberRemoved { .. }
        | Fact::RoomUpdated { .. }
        | Fact::RoomDeleted { .. }
        | Fact::Typing { .. } => false,
    }
}

/// It happened, at a certain place and time.
pub(in crate::dialect) fn happened(fact: Fact) -> Event {
    Event {
        seq: Some(Seq(7)),
        at: at(3),
        fact,
    }
}

/// What confirmations speak of.
pub(in crate::dialect) struct Confirmed {
    subjects: Subjects,
    temp_id: TempId,
    made: ConversationView,
    room: ConversationView,
    by_slug: RoomName,
    by_id: RoomName,
    messages: [Message; 3],
    admin: Profile,
    online: [UserId; 2],
}

impl Confirmed {
    pub(in crate::dialect) fn new() -> Self {
        Self {
            subjects: Subjects::new(),
            temp_id: TempId::parse("t-1").unwrap(),
            made: group_view(),
            room: room_view(),
            online: [user(2), user(3)],
            by_slug: RoomName::Slug(Slug::parse("lounge").unwrap()),
            by_id: RoomName::Id(conversation()),
            messages: [message(), edited(), answer_taken_back()],
            admin: Profile {
                account: AccountRole::Admin,
                ..profile(1, "Alice")
            },
        }
    }

    /// Everything that can be confirmed, with the acknowledgement that was asked for. Who adds a confirmation adds it here.
    pub(in crate::dialect) fn all(&self) -> Vec<(&'static str, Option<u64>, Confirmation<'_>)> {
        let stored = |temp_id| Confirmation::Stored {
            conversation: conversation(),
            message: MessageId(42),
            temp_id,
            at: at(1),
        };
        let made = Confirmation::Conversation(&self.made);
        let made_a_room = Confirmation::Conversation(&self.room);
        let entered = |view, called| Confirmation::Entered { view, called };
        let left = |room| Confirmation::Left { room };
        let history = |subject, messages| Confirmation::History { subject, messages };
        let (two, group) = (&self.subjects.direct, &self.subjects.group);
        let (in_room, in_group) = (
            entered(&self.room, Called::BySlug),
            entered(&self.made, Called::ById),
        );
        vec![
            ("done", Some(3), Confirmation::Done),
            ("done, no ack", None, Confirmation::Done),
            ("sent", Some(4), stored(Some(&self.temp_id))),
            ("sent, no ack", None, stored(None)),
            ("conversation", Some(5), made),
            ("conversation, no ack", None, made),
            ("room", Some(6), made_a_room),
            ("room, no ack", None, made_a_room),
            ("entered", Some(7), in_room),
            ("entered, no ack", None, in_room),
            ("entered by id", Some(8), in_group),
            ("left", Some(9), left(&self.by_slug)),
            ("left, no ack", None, left(&self.by_slug)),
            ("left by id", Some(10), left(&self.by_id)),
            ("history", Some(11), history(two, &self.messages)),
            ("history, no ack", None, history(two, &self.messages)),
            (
                "history of a group",
                Some(12),
                history(group, &self.messages[..1]),
            ),
            ("history, empty", Some(13), history(two, &[])),
            ("online", Some(16), Confirmation::Online(&self.online)),
            (
                "online, no ack",
                None,
                Confirmation::Online(&self.online[..1]),
            ),
            ("logged in", Some(14), Confirmation::LoggedIn(&self.admin)),
            (
                "logged in, no ack",
                None,
                Confirmation::LoggedIn(&self.admin),
            ),
            ("logged out", Some(15), Confirmation::LoggedOut),
            ("logged out, no ack", None, Confirmation::LoggedOut),
        ]
    }
}

/// A refusal.
pub(in crate::dialect) fn refusal() -> Rejection {
    Rejection::new(ErrorCode::NotFound, "conversation not found")
}
