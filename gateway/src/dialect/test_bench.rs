//! What the dialects' tests share: everything that can happen and be asked for, as fixtures, and golden files to hold it against.
//!
//! A dialect's `golden/` has one file per direction; a line is a case. Where an event is added or its shape changes on purpose, run
//! the tests with `CONFAB_GOLDEN=write` and read the difference.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{Body, decode};
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
use serde_json::Value;

use super::{Audience, Called, Confirmation, Dialect, Intent, Namespace, RoomName, Scene, Shown};

/// The offset that fixtures carry.
pub(super) const OFFSET: &str = "1735787043500000-1";

fn golden_path(dialect: &dyn Dialect, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/dialect")
        .join(dialect.id())
        .join("golden")
        .join(name)
}

/// What a dialect's golden file of this name says.
pub(super) fn read_golden(dialect: &dyn Dialect, name: &str) -> String {
    std::fs::read_to_string(golden_path(dialect, name)).unwrap_or_default()
}

/// Holds what came against what is written down.
pub(super) fn golden(dialect: &dyn Dialect, name: &str, actual: &str) {
    if std::env::var_os("CONFAB_GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(golden_path(dialect, name), actual).unwrap();
    }
    let expected = read_golden(dialect, name);
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(expected, actual, "{} {name}", dialect.id());
    }
    let dialect = dialect.id();
    assert_eq!(
        expected, actual,
        "{dialect} {name}: another number of lines"
    );
}

pub(super) fn user(n: u8) -> UserId {
    UserId(
        format!("01930000-0000-7000-8000-0000000000{n:02}")
            .parse()
            .unwrap(),
    )
}

pub(super) fn conversation() -> ConversationId {
    ConversationId("01930000-0000-7000-9000-000000000001".parse().unwrap())
}

fn at(second: u8) -> Timestamp {
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

fn participant(n: u8, name: &str, role: MemberRole) -> Participant {
    Participant {
        profile: profile(n, name),
        role,
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
pub(super) fn group_view() -> ConversationView {
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

/// The conversation of two people.
fn direct_view() -> ConversationView {
    ConversationView {
        kind: ConversationKind::Direct,
        name: None,
        participants: vec![
            participant(1, "Alice", MemberRole::Member),
            participant(2, "Bob", MemberRole::Member),
        ],
        ..group_view()
    }
}

/// A group that nobody gave a name.
fn nameless_view() -> ConversationView {
    ConversationView {
        name: None,
        participants: vec![
            participant(1, "Alice", MemberRole::Owner),
            participant(2, "Bob", MemberRole::Admin),
            participant(3, "Carol", MemberRole::Member),
            participant(4, "Dave", MemberRole::Member),
        ],
        last_message: None,
        unread_count: 0,
        ..group_view()
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
pub(super) struct Subjects {
    pub(super) unknown: Subject,
    direct: Subject,
    group: Subject,
    room: Subject,
}

impl Subjects {
    pub(super) fn new() -> Self {
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
    pub(super) fn scenes(&self, namespace: Namespace) -> [(&'static str, Scene<'_>); 4] {
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
pub(super) fn facts() -> Vec<(&'static str, Fact)> {
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
                user: carol,
                present: 1,
            },
        ),
        ("advanced", Fact::Advanced),
    ]
}

/// Whether a dialect has no word for a fact. Nothing else that happens is invisible in any dialect.
pub(super) fn is_silent(dialect: &dyn Dialect, fact: &Fact) -> bool {
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
        | Fact::RoomDeleted { .. } => false,
    }
}

/// It happened, at a certain place and time.
pub(super) fn happened(fact: Fact) -> Event {
    Event {
        seq: Some(Seq(7)),
        at: at(3),
        fact,
    }
}

/// What confirmations speak of.
pub(super) struct Confirmed {
    subjects: Subjects,
    temp_id: TempId,
    made: ConversationView,
    room: ConversationView,
    by_slug: RoomName,
    by_id: RoomName,
    messages: [Message; 3],
    admin: Profile,
}

impl Confirmed {
    pub(super) fn new() -> Self {
        Self {
            subjects: Subjects::new(),
            temp_id: TempId::parse("t-1").unwrap(),
            made: group_view(),
            room: room_view(),
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
    pub(super) fn all(&self) -> Vec<(&'static str, Option<u64>, Confirmation<'_>)> {
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

/// Conversations that a user may find itself in.
pub(super) fn views() -> [(&'static str, ConversationView); 3] {
    [
        ("joined", group_view()),
        ("joined by two", direct_view()),
        ("joined by many", nameless_view()),
    ]
}

/// A refusal.
pub(super) fn refusal() -> Rejection {
    Rejection::new(ErrorCode::NotFound, "conversation not found")
}

/// The payloads of concatenated server frames.
pub(super) fn texts(mut frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [_, length, ..] = frames {
        let (header, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            127 => panic!("no event here is that long"),
            short => (2, usize::from(*short)),
        };
        texts.push(String::from_utf8(frames[header..header + length].to_vec()).unwrap());
        frames = &frames[header + length..];
    }
    texts
}

fn lines(into: &mut String, label: &str, frames: &[u8]) {
    for text in texts(frames) {
        writeln!(into, "{label}: {text}").unwrap();
    }
}

/// How a dialect shows everything that can happen in these places.
pub(super) fn server_to_client(dialect: &dyn Dialect, scenes: &[(&str, Scene<'_>)]) {
    let mut actual = String::new();
    for (place, scene) in scenes {
        for (label, fact) in facts() {
            let event = happened(fact);
            let event = [Shown {
                event: &event,
                offset: Some(OFFSET),
            }];
            let others = dialect.outbound(*scene, &event, Audience::Others);
            lines(&mut actual, &format!("{place}{label}"), &others);
            let own = dialect.outbound(*scene, &event, Audience::Sender(user(1)));
            if own != others {
                lines(&mut actual, &format!("{place}{label}, to its sender"), &own);
            }
        }
    }
    golden(dialect, "outbound.txt", &actual);
}

/// How a dialect tells one client what came of its own doings.
pub(super) fn server_to_one_client(dialect: &dyn Dialect, event: &str) {
    let mut actual = String::new();
    for (label, view) in views() {
        let frames = dialect.joined(Namespace::Root, &view, Some(OFFSET));
        lines(&mut actual, label, &frames);
    }
    for (label, ack, confirmation) in Confirmed::new().all() {
        let frames = dialect.confirmed(Namespace::Root, ack, confirmation);
        lines(&mut actual, label, &frames);
    }
    let acked = dialect.rejected(Namespace::Chat, Some(6), event, &refusal());
    lines(&mut actual, "rejected", &acked);
    let unasked = dialect.rejected(Namespace::Chat, None, event, &refusal());
    lines(&mut actual, "rejected, no ack", &unasked);
    golden(dialect, "confirmations.txt", &actual);
}

/// What a dialect makes of what clients send: the cases are a file of their own.
pub(super) fn client_to_server(dialect: &dyn Dialect) {
    let mut actual = String::new();
    let cases = read_golden(dialect, "inbound-cases.txt");
    for case in cases.lines().filter(|line| !line.is_empty()) {
        let packet = decode(case, 10).unwrap();
        let Body::Event(event) = packet.body else {
            panic!("no event: {case}")
        };
        let result = match dialect.inbound(&event.name, event.args) {
            Ok(intent) => format!("{intent:?}"),
            Err(rejection) => rejection.to_string(),
        };
        writeln!(actual, "{case}\n    {result}").unwrap();
    }
    golden(dialect, "inbound.txt", &actual);
}

/// What a dialect makes of an event with these arguments.
pub(super) fn intent(
    dialect: &dyn Dialect,
    event: &str,
    args: &[Value],
) -> Result<Intent, Rejection> {
    let text = Value::from(args).to_string();
    let args = Json::check(&text).unwrap().elements().unwrap();
    dialect.inbound(event, args)
}

/// Values for properties.
pub(super) mod any {
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use uuid::Uuid;

    use super::{ConversationId, MessageId, UserId};

    /// A message's text, as it is after trimming.
    pub(in super::super) fn content() -> impl Strategy<Value = String> {
        "\\PC{1,64}".prop_filter_map("blank", |text| {
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        })
    }

    /// A client's own id, or none.
    pub(in super::super) fn temp_id() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(string_regex("[ -~]{1,128}").unwrap())
    }

    pub(in super::super) fn user_id() -> impl Strategy<Value = UserId> {
        any::<u128>().prop_map(|bits| UserId(Uuid::from_u128(bits)))
    }

    pub(in super::super) fn conversation_id() -> impl Strategy<Value = ConversationId> {
        any::<u128>().prop_map(|bits| ConversationId(Uuid::from_u128(bits)))
    }

    pub(in super::super) fn message_id() -> impl Strategy<Value = MessageId> {
        (1..=i64::MAX).prop_map(MessageId)
    }

    /// What a client calls a room: its slug, or a conversation's id.
    pub(in super::super) fn room() -> impl Strategy<Value = String> {
        prop_oneof![
            string_regex("[a-z0-9][a-z0-9_-]{0,30}").unwrap(),
            conversation_id().prop_map(|id| id.to_string()),
        ]
    }
}
