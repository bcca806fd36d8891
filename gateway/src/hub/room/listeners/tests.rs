//! Who is sent what: groups in the same words, subscriptions each with its own address.

use std::collections::VecDeque;

use confab_gateway_protocol::stomp::Version;
use confab_gateway_protocol::websocket;
use confab_shared::id::{ConversationId, MessageId, Seq};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::event::Event;
use confab_shared::model::message::Message;
use confab_shared::model::timestamp::Timestamp;

use super::*;
use crate::dialect::stomp::{DIRECT_MESSAGES, TOPIC};
use crate::hub::send_queue::SendQueue;
use crate::hub::socket::{Carrier, Revealed, Socket};
use crate::hub::test_bench;
use crate::session::DisconnectReason;
use crate::session::stomp::Framing;

fn queue() -> Arc<SendQueue> {
    Arc::new(SendQueue::new(1 << 24))
}

fn subscription_on(
    queue: &Arc<SendQueue>,
    dialect: &'static dyn Dialect,
    id: &str,
    (version, framing): (Version, Framing),
) -> SocketRef {
    let subscription = Subscription::new(id, "/topic/lounge", version, framing);
    let carrier = Carrier::Subscription(subscription);
    let socket = Socket::stomp(UserId::generate(), None, dialect, carrier, queue.clone());
    socket.release(|_| Vec::new());
    socket
}

const PLAIN: (Version, Framing) = (Version::V1_2, Framing::Plain);

fn subscription(id: &str) -> SocketRef {
    subscription_on(&queue(), &TOPIC, id, PLAIN)
}

fn chunks(socket: &SocketRef) -> VecDeque<Bytes> {
    let mut chunks = VecDeque::new();
    socket.queue().take(&mut chunks);
    chunks
}

/// What a subscription was sent, as the texts of WebSocket messages.
fn texts(socket: &SocketRef) -> Vec<String> {
    chunks(socket)
        .into_iter()
        .flat_map(websocket::frames)
        .map(|frame| String::from_utf8(frame.unwrap().payload().to_vec()).unwrap())
        .collect()
}

/// Somebody has said something, with an id of their own for it.
fn said(user: UserId, temp_id: &str) -> Event {
    let sender = Profile {
        id: user,
        username: "ann".into(),
        name: "Ann".into(),
        avatar: None,
        account: AccountRole::Guest,
    };
    let message = Message {
        id: MessageId(1),
        conversation: ConversationId::generate(),
        seq: Seq(1),
        change_seq: Seq(1),
        ordinal: 1,
        sender: Arc::new(sender),
        message_type: "text".into(),
        content: "hello".into(),
        reply_to: None,
        created_at: Timestamp::now(),
        edited_at: None,
        deleted_at: None,
    };
    let temp_id = Some(temp_id.into());
    test_bench::event(1, Fact::MessageStored { message, temp_id })
}

fn show(listeners: &mut Listeners, number: i64) {
    let room = Subject {
        kind: ConversationKind::Room,
        slug: Some("lounge".into()),
        ..Subject::unknown(ConversationId::generate())
    };
    let event = test_bench::event(
        number,
        Fact::MessageDeleted {
            message: MessageId(number),
            by: UserId::generate(),
        },
    );
    let shown = Shown {
        event: &event,
        offset: None,
    };
    listeners.show(&Arc::new(room), &[shown]);
}

#[test]
fn each_subscription_is_addressed_as_it_was_made() {
    let mut listeners = Listeners::default();
    let shared = queue();
    let sockets = [
        subscription("sub-0"),
        subscription("sub-1"),
        subscription_on(&queue(), &TOPIC, "sub-0", (Version::V1_2, Framing::SockJs)),
        subscription_on(&queue(), &TOPIC, "a:b", (Version::V1_0, Framing::Plain)),
        subscription_on(&queue(), &TOPIC, "a:b", PLAIN),
        subscription_on(&shared, &TOPIC, "sub-2", PLAIN),
        subscription_on(&shared, &TOPIC, "sub-3", PLAIN),
    ];
    let plain = test_bench::socket(UserId::generate());
    for socket in &sockets {
        listeners.add(socket.clone(), Called::BySlug);
    }
    listeners.add(plain.clone(), Called::BySlug);
    show(&mut listeners, 7);
    let began = |text: &String, head: &str| {
        assert!(text.starts_with(head), "{text} begins with {head}");
    };
    for (socket, head) in sockets.iter().zip([
        "MESSAGE\nsubscription:sub-0\ndestination:/topic/lounge\nmessage-id:",
        "MESSAGE\nsubscription:sub-1\n",
        "a[\"MESSAGE\\nsubscription:sub-0\\ndestination:",
        "MESSAGE\nsubscription:a:b\n",
        "MESSAGE\nsubscription:a\\cb\n",
    ]) {
        let texts = texts(socket);
        assert_eq!(texts.len(), 1);
        began(&texts[0], head);
        assert!(texts[0].contains("lounge"));
    }
    let mut both = texts(&sockets[5]);
    both.sort();
    assert_eq!(both.len(), 2, "two subscriptions of one session");
    began(&both[0], "MESSAGE\nsubscription:sub-2\n");
    began(&both[1], "MESSAGE\nsubscription:sub-3\n");
    assert_eq!(test_bench::sent(&plain).len(), 1);
}

#[test]
fn those_that_look_alike_get_the_same_bytes() {
    let mut listeners = Listeners::default();
    let sockets: Vec<_> = (0..100).map(|_| subscription("sub-0")).collect();
    let others: Vec<_> = (0..3)
        .map(|_| test_bench::socket(UserId::generate()))
        .collect();
    for socket in sockets.iter().chain(&others) {
        listeners.add(socket.clone(), Called::ById);
    }
    show(&mut listeners, 1);
    for alike in [&sockets, &others] {
        let places: Vec<_> = alike
            .iter()
            .map(|socket| {
                let chunks = chunks(socket);
                assert_eq!(chunks.len(), 1);
                chunks[0].as_ptr()
            })
            .collect();
        assert!(places.iter().all(|place| *place == places[0]));
    }
}

#[test]
fn whoever_leaves_is_sent_nothing_more_and_nothing_is_left_of_all() {
    let mut listeners = Listeners::default();
    let sockets: Vec<_> = (0..60)
        .map(|n| subscription(&format!("sub-{}", n % 20)))
        .collect();
    let plain: Vec<_> = (0..5)
        .map(|_| test_bench::socket(UserId::generate()))
        .collect();
    let all: Vec<_> = sockets.iter().chain(&plain).cloned().collect();
    for socket in &all {
        listeners.add(socket.clone(), Called::ById);
        assert!(listeners.contains(socket.key()));
    }
    let (gone, left): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(n, _)| n % 3 == 0);
    for (_, socket) in &gone {
        listeners.remove(socket.key());
        listeners.remove(socket.key());
        assert!(!listeners.contains(socket.key()));
    }
    show(&mut listeners, 1);
    for (_, socket) in &gone {
        assert!(chunks(socket).is_empty());
    }
    for (_, socket) in &left {
        assert_eq!(chunks(socket).len(), 1);
    }
    // A session that is ending is let go with the next event; the others when all are.
    let (_, ending) = left[0];
    ending.queue().close(DisconnectReason::TransportClosed);
    show(&mut listeners, 2);
    assert!(!listeners.contains(ending.key()));
    assert!(!listeners.attends(ending));
    listeners.retain(|_| false);
    assert!(listeners.is_empty());
    for socket in &all {
        assert!(!listeners.contains(socket.key()) && !listeners.attends(socket));
    }
}

#[test]
fn a_session_attends_while_it_has_a_subscription_to_the_room_itself() {
    let mut listeners = Listeners::default();
    let session = queue();
    let [first, second] = ["a", "b"].map(|id| subscription_on(&session, &TOPIC, id, PLAIN));
    let wide = subscription_on(&session, &DIRECT_MESSAGES, "c", PLAIN);
    let elsewhere = subscription("a");
    listeners.add(wide.clone(), Called::ById);
    assert!(!listeners.attends(&wide), "it has not asked for this one");
    listeners.add(first.clone(), Called::ById);
    listeners.add(second.clone(), Called::ById);
    assert!(listeners.attends(&wide) && !listeners.attends(&elsewhere));
    listeners.remove(first.key());
    assert!(listeners.attends(&wide));
    listeners.remove(second.key());
    assert!(!listeners.attends(&wide));
    // Sockets of other protocols stand for themselves.
    let plain = test_bench::socket(UserId::generate());
    listeners.add(plain.clone(), Called::ById);
    assert!(!listeners.attends(&plain));
}

#[test]
fn subscriptions_have_no_word_for_typing() {
    let mut listeners = Listeners::default();
    let [one, other] = ["a", "b"].map(subscription);
    for socket in [&one, &other] {
        listeners.add(socket.clone(), Called::ById);
    }
    let profile = confab_shared::model::account::Profile {
        id: one.user(),
        username: "ann".into(),
        name: "Ann".into(),
        avatar: None,
        account: confab_shared::model::account::AccountRole::User,
    };
    let mut event = test_bench::event(
        1,
        Fact::Typing {
            user: Arc::new(profile),
            source: uuid::Uuid::nil(),
            typing: true,
        },
    );
    event.seq = None;
    let shown = Shown {
        event: &event,
        offset: None,
    };
    let subject = Arc::new(Subject::unknown(ConversationId::generate()));
    listeners.show_to_others(&subject, shown, one.user());
    assert!(texts(&one).is_empty() && texts(&other).is_empty());
}

#[test]
fn who_subscribed_before_saying_its_name_sees_its_own_temp_id_once_it_has() {
    let (user, revealed) = (UserId::generate(), Revealed::default());
    let subscription = Subscription::new("sub-0", "/topic/lounge", PLAIN.0, PLAIN.1);
    let socket = Socket::stomp_unknown(
        UserId::generate(),
        revealed.clone(),
        &TOPIC,
        Carrier::Subscription(subscription),
        queue(),
    );
    socket.release(|_| Vec::new());
    let mut listeners = Listeners::default();
    listeners.add(socket.clone(), Called::BySlug);
    let say = |listeners: &mut Listeners| {
        let event = said(user, "t-1");
        let shown = Shown {
            event: &event,
            offset: None,
        };
        let room = Subject::unknown(ConversationId::generate());
        listeners.show(&Arc::new(room), &[shown]);
        texts(&socket).concat()
    };
    let before = say(&mut listeners);
    assert!(
        before.contains("CHAT") && !before.contains("t-1"),
        "{before}"
    );
    assert!(listeners.has_others(user));
    revealed.get_or_init(|| user);
    let own = say(&mut listeners);
    assert!(own.contains(r#""tempId":"t-1""#), "{own}");
    assert!(!listeners.has_others(user), "nobody listens but the user");
}
