//! Golden files, and what holds for all that is sent and shown. See the bench.

use std::collections::HashSet;
use std::fmt::Write as _;

use confab_shared::id::MessageId;
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::event::Fact;
use confab_shared::model::message::MessageStatus;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{DIRECT_MESSAGES, NOTIFICATIONS, SESSION, Stomp, TOPIC, intent};
use crate::dialect::test_bench::{self as bench, Confirmed, Subjects, any as values};
use crate::dialect::{
    ALL, Audience, Badge, Dialect, Intent, Namespace, RoomName, Scene, Shown, Sight, Tier, named,
    speaking,
};

const KINDS: [&Stomp; 4] = [&SESSION, &TOPIC, &DIRECT_MESSAGES, &NOTIFICATIONS];

/// A MESSAGE's rest, in one line.
fn lines(into: &mut String, label: &str, frames: &[u8]) {
    for text in bench::texts(frames) {
        let text = text.replace('\n', "⏎").replace('\0', "␀");
        writeln!(into, "{label}: {text}").unwrap();
    }
}

fn shown(dialect: &Stomp, scene: Scene<'_>, fact: Fact, audience: Audience) -> Vec<u8> {
    let event = bench::happened(fact);
    let shown = [Shown {
        event: &event,
        offset: Some(bench::OFFSET),
    }];
    dialect.outbound(scene, &shown, audience).to_vec()
}

fn golden(dialect: &Stomp, name: &str, places: &[(&str, Scene<'_>)]) {
    let mut actual = String::new();
    for (place, scene) in places {
        for (label, fact) in bench::facts() {
            let others = shown(dialect, *scene, fact.clone(), Audience::Others);
            lines(&mut actual, &format!("{place}{label}"), &others);
            let own = shown(dialect, *scene, fact, Audience::Sender(bench::user(1)));
            if own != others {
                lines(&mut actual, &format!("{place}{label}, to its sender"), &own);
            }
        }
    }
    for (label, view) in bench::views() {
        let joined = dialect.joined(Namespace::Root, &view, Some(bench::OFFSET));
        lines(&mut actual, label, &joined);
        let badge = Badge {
            conversation: view.id,
            unread: view.unread_count,
            last: view.last_message.as_ref(),
            status: MessageStatus::Delivered,
            at: bench::at(6),
        };
        let unread = dialect.unread(Namespace::Root, badge);
        lines(&mut actual, &format!("unread, {label}"), &unread);
    }
    bench::golden(&SESSION, name, &actual);
}

#[test]
fn what_topics_show() {
    let subjects = Subjects::new();
    let [two, group, room, by_id] = subjects.scenes(Namespace::Root);
    golden(&TOPIC, "topic.txt", &[room, by_id, group, two]);
}

#[test]
fn what_queues_show() {
    let subjects = Subjects::new();
    let places = subjects.scenes(Namespace::Root);
    golden(&DIRECT_MESSAGES, "messages.txt", &places);
    golden(&NOTIFICATIONS, "notifications.txt", &places);
}

#[test]
fn client_to_server() {
    let mut actual = String::new();
    let cases = bench::read_golden(&SESSION, "inbound-cases.txt");
    for case in cases.lines().filter(|line| !line.is_empty()) {
        // Names may have blanks in them, bodies begin with what no name has.
        let body_at = case.find([' ', '{', '[', '"']).unwrap_or(case.len());
        let body_at = case[body_at..]
            .find(['{', '[', '"'])
            .map_or(body_at, |more| body_at + more);
        let (destination, body) = case.split_at(body_at);
        let result = match intent(destination.trim_end(), body.trim_start().as_bytes()) {
            Ok(intent) => format!("{intent:?}"),
            Err(rejection) => rejection.to_string(),
        };
        writeln!(actual, "{case}\n    {result}").unwrap();
    }
    bench::golden(&SESSION, "inbound.txt", &actual);
}

/// The heads and the body of the one MESSAGE that is shown.
fn message(frames: &[u8]) -> (Vec<String>, Value) {
    let texts = bench::texts(frames);
    assert_eq!(texts.len(), 1);
    let (head, rest) = texts[0].split_once("\n\n").unwrap();
    let body = rest.strip_suffix('\0').unwrap();
    let head: Vec<String> = head.lines().map(str::to_owned).collect();
    assert!(head.contains(&format!("content-length:{}", body.len())));
    assert!(head.contains(&"content-type:application/json".to_owned()));
    (head, serde_json::from_str(body).unwrap())
}

#[test]
fn nothing_that_lasts_is_invisible_to_a_topic_and_each_message_has_an_id_of_its_own() {
    let subjects = Subjects::new();
    for (_, scene) in subjects.scenes(Namespace::Root) {
        let mut ids = HashSet::new();
        for (label, fact) in bench::facts() {
            let frames = shown(&TOPIC, scene, fact.clone(), Audience::Others);
            let has_no_word = matches!(
                fact,
                Fact::ConversationCreated { .. } | Fact::Advanced | Fact::Typing { .. }
            );
            if has_no_word {
                assert!(frames.is_empty(), "{label}");
                continue;
            }
            let (head, body) = message(&frames);
            for field in ["type", "content", "sender", "roomId", "id", "timestamp"] {
                assert!(body[field].is_string(), "{label}: {field}");
            }
            if scene.subject.kind == ConversationKind::Direct && label != "added" {
                assert_ne!(body["sender"], "", "{label}: of two, both are known");
            }
            assert_eq!(body["roomId"], scene.room_id());
            let id = head[0].strip_prefix("message-id:").unwrap();
            assert!(!id.is_empty() && !id.contains([':', '\\']), "{id}");
            // The fixtures' changes have one place; what is no change has an id by who does what.
            ids.insert((label.split(',').next().unwrap(), id.to_owned()));
        }
        assert!(ids.len() >= 7);
    }
}

#[test]
fn only_direct_conversations_are_among_the_users_messages() {
    let subjects = Subjects::new();
    for (_, scene) in subjects.scenes(Namespace::Root) {
        let is_direct = scene.subject.kind == ConversationKind::Direct;
        for (label, fact) in bench::facts() {
            let queue = shown(&DIRECT_MESSAGES, scene, fact.clone(), Audience::Others);
            let topic = shown(&TOPIC, scene, fact, Audience::Others);
            let wanted = if is_direct { topic } else { Vec::new() };
            assert_eq!(queue, wanted, "{label}");
        }
    }
}

#[test]
fn a_session_as_such_is_shown_nothing() {
    let subjects = Subjects::new();
    for (_, scene) in subjects.scenes(Namespace::Root) {
        for (_, fact) in bench::facts() {
            assert!(shown(&SESSION, scene, fact, Audience::Others).is_empty());
        }
    }
    for dialect in KINDS {
        for (label, ack_id, confirmation) in Confirmed::new().all() {
            let frames = dialect.confirmed(Namespace::Root, ack_id, confirmation);
            assert!(frames.is_empty(), "{label}");
        }
        let refusal = bench::refusal();
        let frames = dialect.rejected(Namespace::Root, Some(1), "x", &refusal);
        assert!(frames.is_empty());
    }
}

#[test]
fn no_socket_of_socket_io_can_ask_for_them_and_they_are_limited_like_rooms() {
    let mut ids: HashSet<_> = ALL.iter().map(|dialect| dialect.id()).collect();
    for dialect in KINDS {
        assert!(ids.insert(dialect.id()), "two dialects of one name");
        assert!(named(dialect.id()).is_none());
        assert_eq!(dialect.tier(), Tier::Strict);
        assert!(!dialect.shows_contacts() && dialect.lobby().is_none());
    }
    assert!(speaking("chat.private", ALL[0]).is_none());
    assert!(!SESSION.hears() && TOPIC.hears());
    assert_eq!(TOPIC.sight(), Sight::Entered);
    assert!(DIRECT_MESSAGES.sight().includes(ConversationKind::Direct));
    assert!(!DIRECT_MESSAGES.sight().includes(ConversationKind::Group));
}

#[test]
fn several_events_are_several_messages_in_order() {
    let subjects = Subjects::new();
    let [_, _, (_, scene), _] = subjects.scenes(Namespace::Root);
    let events = [11, 12, 13].map(|number| {
        bench::happened(Fact::MessageDeleted {
            message: MessageId(number),
            by: bench::user(1),
        })
    });
    let shown = events.each_ref().map(|event| Shown {
        event,
        offset: None,
    });
    let texts = bench::texts(&TOPIC.outbound(scene, &shown, Audience::Others));
    assert_eq!(texts.len(), 3);
    for (text, number) in texts.iter().zip(11..) {
        assert!(text.contains(&format!("\"id\":\"{number}\"")), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_what_was_meant(
        room in values::room(),
        content in values::content(),
        temp_id in values::temp_id(),
        in_body in any::<bool>(),
    ) {
        let meant = Intent::Say {
            room: RoomName::parse(&room).unwrap(),
            content: Content::parse(&content).unwrap(),
            temp_id: temp_id.as_deref().map(|text| TempId::parse(text).unwrap()),
            inside: false,
        };
        let (destination, room_id) = if in_body {
            ("chat.sendMessage".to_owned(), json!(room))
        } else {
            (format!("chat/{room}/sendMessage"), Value::Null)
        };
        let body = json!({ "roomId": room_id, "content": content, "tempId": temp_id, "sender": [] });
        prop_assert_eq!(intent(&destination, body.to_string().as_bytes()), Ok(meant));
    }

    #[test]
    fn who_is_written_to_is_who_was_meant(receiver in values::user_id(), content in values::content()) {
        let meant = Intent::SayTo {
            receiver,
            content: Content::parse(&content).unwrap(),
            temp_id: None,
        };
        let body = json!({ "receiverId": receiver, "content": content });
        prop_assert_eq!(intent("chat.private", body.to_string().as_bytes()), Ok(meant));
    }

    #[test]
    fn nothing_that_is_sent_does_harm(destination in "\\PC{0,40}", body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = intent(&destination, &body);
        let _ = intent("chat.sendMessage", &body);
    }
}
