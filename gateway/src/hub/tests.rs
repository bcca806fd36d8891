use confab_shared::config::load;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::event::Fact;
use confab_shared::model::timestamp::Timestamp;

use super::socket::Held;
use super::test_bench::{deleted, event, sent, socket};
use super::test_node::{TestNode, arriving, held};
use super::*;
use crate::config::{DEFAULTS, GatewayConfig};

/// A hub as it is by default, in which nothing has happened.
fn hub(stop: &CancellationToken) -> (Hub, mpsc::UnboundedReceiver<HubRequest>) {
    let config = load::<GatewayConfig>(DEFAULTS).unwrap().config.hub;
    let metrics = Arc::new(Metrics::new().unwrap());
    let (traces, vitals) = (Traces::default(), Vitals::default());
    Hub::start(&config, Orders::ONE, true, &metrics, &traces, &vitals, stop)
}

fn view(id: ConversationId, last_seq: i64, unread_count: i64) -> ConversationView {
    ConversationView {
        id,
        kind: ConversationKind::Direct,
        slug: None,
        name: None,
        participants: Vec::new(),
        last_message: None,
        unread_count,
        last_seq: Seq(last_seq),
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
    }
}

/// Whether a user is told how much is unread in a conversation of which it was just told, as somebody read it, and that stands there still.
async fn counts(last_seq: i64, unread_count: i64) -> bool {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let (hub, mut requests) = hub(&stop);
    let (user, conversation) = (UserId::generate(), ConversationId::generate());
    let client = socket(user);
    client.begin_watching();
    hub.users().add(client.clone());
    let view = view(conversation, last_seq, unread_count);
    hub.joined(user, None, Seq(1), Some(view)).await;
    assert!(matches!(requests.recv().await, Some(HubRequest::Open(id)) if id == conversation));
    hub.opened(conversation, None, Seq(last_seq), 0).await;
    hub.caught_up().await;
    assert_eq!(sent(&client).len(), 1, "the conversation itself");
    match requests.try_recv() {
        Ok(HubRequest::Count { users, .. }) => users == [user],
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    }
}

#[tokio::test]
async fn what_was_said_in_a_conversation_before_its_new_member_was_told_of_it_is_counted() {
    assert!(counts(3, 2).await);
    assert!(!counts(1, 0).await, "nothing was said");
}

fn at(micros: u64) -> Position {
    Position { micros, index: 0 }
}

/// A room that stands at 5, in which the other one listens, and a client that has not joined it, whose
/// removal, the change 7, was announced at 8, and its notice at 9. What came before it is missing.
fn removed_behind_a_gap() -> (TestNode, [SocketRef; 2], ConversationId, Event) {
    let mut node = TestNode::new(Orders::ONE);
    let (client, other) = (arriving(UserId::generate()), arriving(UserId::generate()));
    node.connect(&client);
    node.connect(&other);
    let (user, room, by) = (client.user(), ConversationId::generate(), other.user());
    let mut joined = node.begin_join(room, &other, Seq(5));
    node.opened(room, Seq(5));
    assert_eq!(joined.try_recv(), Ok(JoinOutcome::Joined(Seq(5))));
    let removal = event(7, Fact::MemberRemoved { user, by });
    let (seq, moment) = (Seq(7), removal.at);
    node.published(room, at(8), vec![removal.clone()]);
    let notice = UserNotice::Removed {
        conversation: room,
        seq,
        by,
        at: moment,
    };
    node.noticed(user, at(9), notice);
    node.removed(user, Some(at(9)), room, removal.clone());
    (node, [client, other], room, removal)
}

#[test]
fn a_removal_is_told_when_its_room_shows_it_and_not_before() {
    let (mut node, [client, _], room, removal) = removed_behind_a_gap();
    let noticed = (Partition(0), at(9));
    assert!(!node.offset().has_told(noticed), "nobody has been told yet");
    node.repaired(room, vec![deleted(6), removal], Seq(7));
    assert!(node.offset().has_told(noticed));
    let frames = held(&client);
    let [Held::Event { offset, .. }] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    let offset: Offset = offset.as_deref().unwrap().parse().unwrap();
    assert!(offset.has_told(noticed), "who sees it has been told");
}

#[test]
fn a_removal_that_was_undone_before_its_room_came_to_it_is_passed() {
    let (mut node, [client, _], room, _) = removed_behind_a_gap();
    node.repaired(room, vec![deleted(6), deleted(9)], Seq(9));
    assert!(node.offset().has_told((Partition(0), at(9))));
    assert!(held(&client).is_empty());
}

#[test]
fn a_room_that_is_still_to_show_a_removal_is_not_let_go() {
    let (mut node, [_, other], room, removal) = removed_behind_a_gap();
    node.leave(room, other.key());
    node.requests();
    node.rest();
    assert_eq!(node.requests(), []);
    node.repaired(room, vec![deleted(6), removal], Seq(7));
    node.rest();
    assert_eq!(node.requests(), [HubRequest::Close(room)]);
}
