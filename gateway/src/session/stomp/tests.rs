use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confab_gateway_protocol::stomp::{Command, Frame, Headers, HeartBeat, Version};
use confab_gateway_protocol::{stomp, websocket};
use proptest::prelude::*;

use super::transactions::TransactionLimits;
use super::*;

const LIMITS: Limits = Limits {
    subscriptions: 3,
    transactions: TransactionLimits {
        transactions: 2,
        messages: 4,
        bytes: 200,
    },
};

fn destinations() -> Destinations {
    let prefixes = |list| Prefixes::parse(list).unwrap();
    Destinations {
        application: prefixes("/app"),
        topics: prefixes("/topic"),
        user: prefixes("/user"),
    }
}

fn frame(command: Command, headers: &[(&str, &str)], body: &'static [u8]) -> Frame {
    let headers: Headers = headers.iter().copied().collect();
    Frame::new(command, headers, Bytes::from_static(body))
}

fn connected(version: Version) -> Connected {
    Connected::new(version, Framing::Plain, LIMITS)
}

#[test]
fn a_connect_says_version_token_and_heart_beats() {
    let connecting = Connecting {
        offered: HeartBeat {
            sends_ms: 10_000,
            wants_ms: 5_000,
        },
    };
    let hello = frame(
        Command::Connect,
        &[
            ("accept-version", "1.0,1.1"),
            ("heart-beat", "1000,20000"),
            ("Authorization", "Bearer  abc "),
        ],
        b"",
    );
    let hello = connecting.take(&hello).unwrap();
    assert_eq!(hello.version, Version::V1_1);
    assert_eq!(hello.token, Some("abc"));
    assert_eq!(hello.beats.server, Some(Duration::from_secs(20)));
    assert_eq!(hello.beats.client, Some(Duration::from_secs(5)));
    let bare = frame(Command::Stomp, &[], b"");
    let bare = connecting.take(&bare).unwrap();
    assert_eq!((bare.version, bare.token), (Version::V1_0, None));
    assert_eq!((bare.beats.server, bare.beats.client), (None, None));
    for command in Command::ALL {
        if !command.begins_session() {
            let refused = connecting.take(&frame(command, &[], b"")).unwrap_err();
            assert_eq!(refused, Violation::NotConnected(command.as_str()));
        }
    }
}

#[test]
fn a_subscription_is_there_for_as_long_as_something_is_shown_to_it() {
    let (mut session, destinations) = (connected(Version::V1_2), destinations());
    let lobby = |id| {
        let headers = [("id", id), ("destination", "/topic/lobby")];
        frame(Command::Subscribe, &headers, b"")
    };
    let mut held = Vec::new();
    for id in ["1", "2", "3"] {
        let frame = lobby(id);
        let Ok(Action::Subscribe {
            topic: Topic::Room("lobby"),
            subscription,
        }) = session.take(&frame, &destinations)
        else {
            panic!("not subscribed")
        };
        held.push(subscription);
    }
    assert!(matches!(
        session.take(&lobby("2"), &destinations),
        Err(Violation::SubscriptionTaken)
    ));
    assert!(matches!(
        session.take(&lobby("4"), &destinations),
        Ok(Action::Refuse(_))
    ));
    held.pop();
    assert!(matches!(
        session.take(&lobby("4"), &destinations),
        Ok(Action::Subscribe { .. })
    ));
    // That one was not kept: its id is free at once.
    assert!(matches!(
        session.take(&lobby("4"), &destinations),
        Ok(Action::Subscribe { .. })
    ));
}

#[test]
fn a_session_is_shown_the_same_a_few_times_at_most_and_ids_are_short() {
    let limits = Limits {
        subscriptions: 100,
        ..LIMITS
    };
    let mut session = Connected::new(Version::V1_2, Framing::Plain, limits);
    let destinations = destinations();
    let mut held = Vec::new();
    for (room, is_taken) in [("a", true), ("b", true), ("a", false)] {
        for number in 0..4 {
            let id = format!("{room} {number} {is_taken}");
            let to = format!("/topic/{room}");
            let headers = [("id", &*id), ("destination", &*to)];
            let frame = frame(Command::Subscribe, &headers, b"");
            match session.take(&frame, &destinations) {
                Ok(Action::Subscribe { subscription, .. }) if is_taken => held.push(subscription),
                Ok(Action::Refuse(_)) if !is_taken => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let long = "i".repeat(257);
    let headers = [("id", &*long), ("destination", "/topic/c")];
    let frame = frame(Command::Subscribe, &headers, b"");
    let refused = session.take(&frame, &destinations).unwrap_err();
    assert_eq!(refused, Violation::IdTooLong);
}

#[test]
fn what_is_shown_is_addressed_to_a_subscription() {
    let rest = |body: &'static [u8]| {
        websocket::text_frame(|out| {
            stomp::message_rest(out, "7", "application/json", &[], |out| {
                out.extend_from_slice(body);
            });
        })
        .into_wire()
    };
    let rests = Bytes::from([rest(b"{}"), rest(b"[]")].concat());
    let head = "MESSAGE\nsubscription:a\\cb\ndestination:/topic/lobby\n";
    let plain = Subscription::new("a:b", "/topic/lobby", Version::V1_2, Framing::Plain);
    let frames: Vec<_> = websocket::frames(plain.address(rests.clone()))
        .map(|frame| String::from_utf8(frame.unwrap().payload().to_vec()).unwrap())
        .collect();
    assert_eq!(frames.len(), 2);
    for (frame, body) in frames.iter().zip(["{}", "[]"]) {
        assert!(frame.starts_with(head), "{frame}");
        assert!(frame.ends_with(&format!("\n\n{body}\0")), "{frame}");
        assert!(!frame.contains("ack:"));
    }
    let sockjs = Subscription::new("a:b", "/topic/lobby", Version::V1_2, Framing::SockJs);
    let frames =
        websocket::frames(sockjs.address(rests.clone())).map(|frame| frame.unwrap().payload());
    for (frame, plain) in frames.zip(frames_of(&plain, &rests)) {
        let text = std::str::from_utf8(&frame).unwrap();
        let inner: Vec<String> = serde_json::from_str(text.strip_prefix('a').unwrap()).unwrap();
        assert_eq!(inner, [plain]);
    }
    let acknowledged = |version| {
        let subscription = Subscription::acknowledged("1", "/topic/x", version, Framing::Plain);
        frames_of(&subscription, &rests)[0].contains("\nack:")
    };
    assert!(acknowledged(Version::V1_2));
    assert!(!acknowledged(Version::V1_1));
    assert_ne!(plain, sockjs);
    let again = Subscription::new("a:b", "/topic/lobby", Version::V1_2, Framing::Plain);
    assert_eq!(plain, again);
}

fn frames_of(subscription: &Arc<Subscription>, rests: &Bytes) -> Vec<String> {
    websocket::frames(subscription.address(rests.clone()))
        .map(|frame| String::from_utf8(frame.unwrap().payload().to_vec()).unwrap())
        .collect()
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let names = prop::sample::select(vec![
        "destination",
        "id",
        "transaction",
        "receipt",
        "ack",
        "message-id",
        "subscription",
        "accept-version",
        "heart-beat",
    ]);
    let values = prop::sample::select(vec![
        "a",
        "b",
        "",
        "auto",
        "client",
        "/app/x",
        "/app/nonsense",
        "/topic/lobby",
        "/topic/room/x",
        "/user/queue/errors",
        "/user/queue/messages",
        "/elsewhere",
    ]);
    let headers = prop::collection::vec((names, values), 0..6);
    let commands = prop::sample::select(Command::ALL[2..].to_vec());
    (commands, headers, 0_usize..100).prop_map(|(command, headers, body)| {
        Frame::new(
            command,
            headers.into_iter().collect(),
            Bytes::from(vec![b'x'; body]),
        )
    })
}

proptest! {
    /// Whatever comes, a session holds no more than it may, and what it says of subscriptions and messages is true.
    #[test]
    fn a_session_stays_within_its_bounds(
        frames in prop::collection::vec((any_frame(), any::<bool>()), 0..80),
        version in prop::sample::select(vec![Version::V1_0, Version::V1_1, Version::V1_2]),
    ) {
        let (mut session, destinations) = (connected(version), destinations());
        let mut held: Vec<Arc<Subscription>> = Vec::new();
        let mut kept = 0;
        for (frame, is_welcome) in frames {
            match session.take(&frame, &destinations) {
                Ok(Action::Subscribe { subscription, .. } | Action::SubscribeErrors(subscription)) => {
                    prop_assert_eq!(frame.command, Command::Subscribe);
                    prop_assert!(held.iter().all(|other| other.id() != subscription.id()));
                    if is_welcome {
                        held.push(subscription);
                    }
                }
                Ok(Action::Unsubscribe(id)) => held.retain(|subscription| subscription.id() != &*id),
                Ok(Action::UnsubscribeErrors) => {
                    held.retain(|subscription| subscription.destination() != "/user/queue/errors");
                }
                Ok(Action::Keep(name)) => {
                    prop_assert!(frame.header("destination").unwrap().ends_with(name));
                    if !is_welcome {
                        session.spoil(&frame);
                    } else if session.keep(&frame).is_ok() {
                        kept += 1;
                    }
                }
                Ok(Action::Commit(messages)) => {
                    prop_assert!(messages.len() <= LIMITS.transactions.messages);
                    prop_assert!(messages.len() <= kept);
                    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
                    prop_assert!(bytes <= LIMITS.transactions.bytes);
                    kept -= messages.len();
                }
                Ok(Action::Send(name)) => {
                    prop_assert_eq!(frame.header("transaction"), None);
                    prop_assert!(frame.header("destination").unwrap().ends_with(name));
                }
                Ok(Action::Disconnect) => prop_assert_eq!(frame.command, Command::Disconnect),
                Err(_) | Ok(Action::Nothing | Action::Refuse(_)) => {}
            }
            prop_assert!(session.subscriptions() <= LIMITS.subscriptions);
            prop_assert!(held.len() <= LIMITS.subscriptions);
        }
    }
}
