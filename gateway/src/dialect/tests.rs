//! What holds for all dialects: they can be told apart, none keeps anything back, and each says what its catalog says.

use std::collections::HashSet;

use confab_shared::id::{MessageId, Seq};
use confab_shared::model::event::{Event, Fact};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::catalog::Direction;
use super::test_bench::{self as bench, Confirmed, OFFSET, Subjects};
use super::{
    ALL, Audience, Called, ContactStatus, ContactsOnline, Dialect, Namespace, Scene, Shown, named,
    speaking,
};

/// What a server frame says: its event's name and arguments, or an acknowledgement's arguments without a name.
struct Said {
    event: Option<String>,
    args: Vec<Value>,
}

fn said(frames: &[u8]) -> Vec<Said> {
    let texts = bench::texts(frames);
    texts.iter().map(|text| read(text)).collect()
}

/// Reads a packet that a server sent: `42/chat,["name",…]` or `43/chat,7[…]`.
fn read(packet: &str) -> Said {
    let json = &packet[packet.find('[').unwrap()..];
    let mut args: Vec<Value> = serde_json::from_str(json).unwrap();
    let event = packet.starts_with("42").then(|| {
        let Value::String(name) = args.remove(0) else {
            panic!("an event without a name: {packet}")
        };
        name
    });
    Said { event, args }
}

fn client_events(dialect: &dyn Dialect) -> Vec<&'static str> {
    let events = dialect.catalog().events.into_iter();
    events
        .filter(|entry| entry.direction == Direction::FromClient)
        .map(|entry| entry.name)
        .collect()
}

#[test]
fn an_event_belongs_to_one_dialect() {
    let mut seen = HashSet::new();
    for dialect in ALL {
        assert_eq!(
            named(dialect.id()).map(Dialect::id),
            Some(dialect.id()),
            "two dialects of one name"
        );
        for event in client_events(*dialect) {
            assert!(dialect.knows(event), "{event} is in the catalog only");
            assert!(seen.insert(event), "{event} is known to two dialects");
            for preferred in ALL {
                let spoken = speaking(event, *preferred).map(Dialect::id);
                assert_eq!(spoken, Some(dialect.id()), "{event}");
            }
        }
    }
    assert!(speaking("fly", ALL[0]).is_none());
}

#[test]
fn nothing_that_happens_is_invisible() {
    let subjects = Subjects::new();
    for dialect in ALL {
        for (_, scene) in subjects.scenes(Namespace::Root) {
            for (label, fact) in bench::facts() {
                let words = usize::from(!bench::is_silent(*dialect, &fact));
                let event = bench::happened(fact);
                let shown = [Shown {
                    event: &event,
                    offset: None,
                }];
                let frames = said(&dialect.outbound(scene, &shown, Audience::Others));
                assert_eq!(frames.len(), words, "{} {label}", dialect.id());
            }
        }
    }
}

#[test]
fn several_events_are_one_chunk_in_order() {
    let event = |number| Event {
        seq: Some(Seq(number)),
        ..bench::happened(Fact::MessageDeleted {
            message: MessageId(number),
            by: bench::user(1),
        })
    };
    let events = [event(11), event(12), event(13)];
    let shown = events.each_ref().map(|event| Shown {
        event,
        offset: None,
    });
    let subjects = Subjects::new();
    let scene = Scene {
        namespace: Namespace::Chat,
        subject: &subjects.unknown,
        called: Called::ById,
    };
    for dialect in ALL {
        let frames = bench::texts(&dialect.outbound(scene, &shown, Audience::Others));
        assert_eq!(frames.len(), events.len());
        for (text, number) in frames.iter().zip(11..) {
            assert!(text.contains(&number.to_string()), "{text}");
        }
    }
}

/// A client that can be recovered takes a string at an event's end for an offset, the event's name included.
fn assert_ends_as_it_should(dialect: &dyn Dialect, frames: &[u8], offset: Option<&str>) {
    for Said { event, args } in said(frames) {
        let Some(event) = event else { continue };
        let last = args
            .last()
            .unwrap_or_else(|| panic!("{event} has nothing but its name"));
        assert_eq!(last.as_str(), offset, "{} {event}", dialect.id());
    }
}

#[test]
fn only_an_offset_is_a_string_at_an_events_end() {
    let subjects = Subjects::new();
    let confirmed = Confirmed::new();
    for dialect in ALL {
        for namespace in [Namespace::Root, Namespace::Chat] {
            for offset in [None, Some(OFFSET)] {
                for (_, scene) in subjects.scenes(namespace) {
                    for (_, fact) in bench::facts() {
                        let carried = offset.filter(|_| !fact.is_passing());
                        let event = bench::happened(fact);
                        let shown = [Shown {
                            event: &event,
                            offset,
                        }];
                        for audience in [Audience::Others, Audience::Sender(bench::user(1))] {
                            let frames = dialect.outbound(scene, &shown, audience);
                            assert_ends_as_it_should(*dialect, &frames, carried);
                        }
                    }
                }
                for (_, view) in bench::views() {
                    let frames = dialect.joined(namespace, &view, offset);
                    assert_ends_as_it_should(*dialect, &frames, offset);
                }
            }
            for (_, ack, confirmation) in confirmed.all() {
                let frames = dialect.confirmed(namespace, ack, confirmation);
                assert_ends_as_it_should(*dialect, &frames, None);
            }
            let frames = dialect.rejected(namespace, Some(1), "event", &bench::refusal());
            assert_ends_as_it_should(*dialect, &frames, None);
            let contacts = ContactsOnline {
                online: &[bench::user(1)],
                absent: &[(bench::user(2), bench::at(1))],
                at: bench::at(2),
            };
            let frames = dialect.contacts(namespace, contacts);
            assert_ends_as_it_should(*dialect, &frames, None);
            for is_online in [true, false] {
                let (user, at) = (bench::user(1), bench::at(2));
                let status = ContactStatus {
                    user,
                    is_online,
                    at,
                };
                let frames = dialect.contact(namespace, status);
                assert_eq!(frames.is_empty(), !dialect.shows_contacts());
                assert_ends_as_it_should(*dialect, &frames, None);
            }
        }
    }
}

#[test]
fn an_acknowledgement_comes_first_and_only_to_those_who_asked() {
    let success = |said: &Said| said.args[0]["success"].clone();
    for dialect in ALL {
        for (label, _, confirmation) in Confirmed::new().all() {
            let unasked = said(&dialect.confirmed(Namespace::Root, None, confirmation));
            assert!(unasked.iter().all(|said| said.event.is_some()), "{label}");
            let asked = said(&dialect.confirmed(Namespace::Root, Some(0), confirmation));
            assert_eq!(asked.len(), unasked.len() + 1, "{label}");
            assert!(asked[0].event.is_none(), "{label}");
            assert_eq!(success(&asked[0]), json!(true), "{label}");
        }
        let refusal = bench::refusal();
        let unasked = said(&dialect.rejected(Namespace::Root, None, "event", &refusal));
        let asked = said(&dialect.rejected(Namespace::Root, Some(0), "event", &refusal));
        assert_eq!((unasked.len(), asked.len()), (1, 2));
        assert!(unasked[0].event.is_some() && asked[0].event.is_none());
        assert_eq!(success(&asked[0]), json!(false));
        assert_eq!(asked[0].args[0]["error"]["code"], "NOT_FOUND");
    }
}

/// Any JSON, with the fields that events have among it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z0-9-]{0,36}".prop_map(Value::from),
        Just(json!(bench::user(1))),
        Just(json!(bench::conversation())),
    ];
    let key = prop_oneof![
        proptest::sample::select(vec![
            "conversationId",
            "messageId",
            "content",
            "type",
            "tempId",
            "replyTo",
            "participantIds",
            "name",
            "receiverId",
            "otherUserId",
            "before",
            "limit",
            "roomId",
            "username",
            "token",
            "participants",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_event() -> impl Strategy<Value = String> {
    let known: Vec<&str> = ALL
        .iter()
        .flat_map(|dialect| client_events(*dialect))
        .collect();
    prop_oneof![
        4 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_is_an_intent_or_a_refusal(
        event in any_event(),
        args in proptest::collection::vec(any_json(), 0..3),
    ) {
        for dialect in ALL {
            let intent = bench::intent(*dialect, &event, &args);
            prop_assert!(intent.is_err() || dialect.knows(&event));
            if let Err(rejection) = intent {
                let frames = dialect.rejected(Namespace::Root, None, &event, &rejection);
                prop_assert!(!frames.is_empty());
            }
        }
    }
}
