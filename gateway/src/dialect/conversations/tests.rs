//! Golden files: what each event looks like on the wire, both ways. `golden/` holds one file per direction; a line is a case.
//!
//! Where an event is added or its shape changes on purpose, run the tests with `CONFAB_GOLDEN=write` and read the difference.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use confab_gateway_protocol::socketio::{Body, decode};
use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::content::TempId;
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant, Subject,
};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;

use super::Conversations;
use crate::dialect::{Audience, Called, Confirmation, Dialect, Namespace, Scene, Shown};

fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/dialect/conversations/golden")
        .join(name);
    if std::env::var_os("CONFAB_GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(expected, actual, "{name}");
    }
    assert_eq!(expected, actual, "{name}: another number of lines");
}

fn user(n: u8) -> UserId {
    UserId(
        format!("01930000-0000-7000-8000-0000000000{n:02}")
            .parse()
            .unwrap(),
    )
}

fn conversation() -> ConversationId {
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

fn view() -> ConversationView {
    ConversationView {
        id: conversation(),
        kind: ConversationKind::Group,
        slug: None,
        name: Some("Team".into()),
        participants: vec![
            Participant {
                profile: profile(1, "Alice"),
                role: MemberRole::Owner,
            },
            Participant {
                profile: profile(2, "Bob"),
                role: MemberRole::Member,
            },
        ],
        last_message: Some(message()),
        unread_count: 3,
        last_seq: Seq(7),
        created_at: at(0),
        updated_at: at(1),
    }
}

fn scene(subject: &Subject) -> Scene<'_> {
    Scene {
        namespace: Namespace::Chat,
        subject,
        called: Called::ById,
    }
}

/// The payloads of concatenated server frames.
fn texts(mut frames: &[u8]) -> Vec<String> {
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

#[test]
fn server_to_client() {
    let edited = Message {
        content: "better".into(),
        change_seq: Seq(8),
        edited_at: Some(at(2)),
        ..message()
    };
    let facts = [
        ("created", Fact::ConversationCreated { by: user(1) }),
        (
            "stored",
            Fact::MessageStored {
                message: message(),
                temp_id: Some("t-1".into()),
            },
        ),
        ("edited", Fact::MessageEdited { message: edited }),
        (
            "deleted",
            Fact::MessageDeleted {
                message: MessageId(42),
                by: user(2),
            },
        ),
        (
            "read",
            Fact::MessagesRead {
                user: user(2),
                message: Some(MessageId(42)),
                read_count: 5,
            },
        ),
        (
            "read all",
            Fact::MessagesRead {
                user: user(2),
                message: None,
                read_count: 5,
            },
        ),
        (
            "added",
            Fact::MembersAdded {
                members: vec![Participant {
                    profile: profile(3, "Carol"),
                    role: MemberRole::Member,
                }],
            },
        ),
        (
            "removed",
            Fact::MemberRemoved {
                user: user(3),
                by: user(1),
            },
        ),
        (
            "room updated",
            Fact::RoomUpdated {
                by: user(1),
                name: "Lounge".into(),
                description: Some("Come in".into()),
                max_users: None,
            },
        ),
        ("room deleted", Fact::RoomDeleted { by: user(1) }),
        (
            "entered",
            Fact::Entered {
                user: Arc::new(profile(3, "Carol")),
                present: 2,
            },
        ),
        ("advanced", Fact::Advanced),
    ];
    let mut actual = String::new();
    let subject = Subject::unknown(conversation());
    for (label, fact) in facts {
        let event = Event {
            seq: Some(Seq(7)),
            at: at(3),
            fact,
        };
        let event = [Shown {
            event: &event,
            offset: Some("1735787043500000-1"),
        }];
        let others = Conversations.outbound(scene(&subject), &event, Audience::Others);
        lines(&mut actual, label, &others);
        let own = Conversations.outbound(scene(&subject), &event, Audience::Sender(user(1)));
        if own != others {
            lines(&mut actual, &format!("{label}, to its sender"), &own);
        }
    }
    golden("outbound.txt", &actual);
}

#[test]
fn server_to_one_client() {
    let mut actual = String::new();
    lines(
        &mut actual,
        "joined",
        &Conversations.joined(Namespace::Root, &view(), Some("1735787043500000-1")),
    );

    let temp_id = TempId::parse("t-1").unwrap();
    let stored = |temp_id| Confirmation::Stored {
        conversation: conversation(),
        message: MessageId(42),
        temp_id,
        at: at(1),
    };
    let confirmations = [
        ("done", Some(3), Confirmation::Done),
        ("done, no ack", None, Confirmation::Done),
        ("sent", Some(4), stored(Some(&temp_id))),
        ("sent, no ack", None, stored(None)),
        ("conversation", Some(5), Confirmation::Conversation(&view())),
    ];
    for (label, ack, confirmation) in confirmations {
        lines(
            &mut actual,
            label,
            &Conversations.confirmed(Namespace::Root, ack, confirmation),
        );
    }
    let rejection = Rejection::new(ErrorCode::NotFound, "conversation not found");
    lines(
        &mut actual,
        "rejected",
        &Conversations.rejected(Namespace::Chat, Some(6), "joinRoom", &rejection),
    );
    lines(
        &mut actual,
        "rejected, no ack",
        &Conversations.rejected(Namespace::Chat, None, "joinRoom", &rejection),
    );
    golden("confirmations.txt", &actual);
}

#[test]
fn several_events_are_one_chunk_in_order() {
    let event = |seq| Event {
        seq: Some(Seq(seq)),
        at: at(3),
        fact: Fact::MessageDeleted {
            message: MessageId(seq),
            by: user(1),
        },
    };
    let events = [event(1), event(2), event(3)];
    let shown = events.each_ref().map(|event| Shown {
        event,
        offset: None,
    });
    let subject = Subject::unknown(conversation());
    let frames = Conversations.outbound(scene(&subject), &shown, Audience::Others);
    let texts = texts(&frames);
    assert_eq!(texts.len(), 3);
    for (index, text) in texts.iter().enumerate() {
        assert!(
            text.contains(&format!("\"messageId\":\"{}\"", index + 1)),
            "{text}"
        );
    }
}

#[test]
fn client_to_server() {
    let cases = std::fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("src/dialect/conversations/golden/inbound-cases.txt"),
    )
    .unwrap();
    let mut actual = String::new();
    for case in cases.lines().filter(|line| !line.is_empty()) {
        let packet = decode(case, 10).unwrap();
        let Body::Event(event) = packet.body else {
            panic!("no event: {case}")
        };
        let result = match Conversations.inbound(&event.name, event.args) {
            Ok(intent) => format!("{intent:?}"),
            Err(rejection) => rejection.to_string(),
        };
        writeln!(actual, "{case}\n    {result}").unwrap();
    }
    golden("inbound.txt", &actual);
}
