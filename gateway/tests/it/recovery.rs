//! The records of sockets: they stand while their sockets do, change hands as a whole, and nobody is forgotten who may still have something of
//! a socket. By nodes in this process, against a real Redis.

mod bench;

use std::collections::BTreeMap;

use confab_gateway::dialect::{Called, Namespace};
use confab_gateway::recovery::{EnteredRoom, NoteError, RecoveryError, Refusal};
use confab_shared::id::{ConversationId, NodeId, Partition, Seq, UserId};
use confab_shared::redis::scripts;
use fred::interfaces::{HashesInterface, KeysInterface};

use crate::registry::keyspace;
use bench::{Bench, EVERYTHING, Visitor, socket, until};

/// Where a room stood when it was entered.
const SOMEWHERE: EnteredRoom = EnteredRoom {
    floor: Seq(7),
    called: Called::ById,
};

/// For how long a record goes on from here, in milliseconds.
async fn left(bench: &Bench, visitor: &Visitor) -> i64 {
    let key = keyspace().session(&visitor.pid);
    bench.redis.pttl(key).await.unwrap()
}

/// A node takes a socket over, and is never heard of again.
async fn taken_over(bench: &Bench, visitor: &Visitor) -> NodeId {
    let (node, user) = (NodeId::generate(), visitor.socket.user());
    let namespace = Namespace::Chat.as_str();
    let arguments = [
        &user.to_string(),
        namespace,
        &node.to_string(),
        "90000",
        "8",
    ];
    let arguments: Vec<String> = arguments.map(str::to_owned).into();
    let (answer, _): (String, Vec<String>) = scripts::run(
        &scripts::session_adopt(),
        &bench.redis,
        vec![keyspace().session(&visitor.pid)],
        arguments,
    )
    .await
    .unwrap();
    assert_eq!(answer, "ok");
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_has_lapsed_stands_again_whole() {
    let bench = Bench::new().await;
    let node = bench.node().await;
    let visitor = node.connect().await;
    let whole = bench.record(&visitor.pid).await;
    assert!(whole.keys().any(|field| field.starts_with("r:")));
    // As after a time without Redis; its memory is the same.
    let key = keyspace().session(&visitor.pid);
    let _: i64 = bench.redis.del(key).await.unwrap();
    until("the record is not whole again", async || {
        visitor.answers();
        bench.record(&visitor.pid).await == whole
    })
    .await;
    assert!(left(&bench, &visitor).await > 0);
    assert!(!visitor.is_superseded());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_refreshed_hold_up_no_others() {
    let bench = Bench::new().await;
    let node = bench.node_of("near").await;
    let mut visitors = Vec::new();
    for _ in 0..400 {
        visitors.push(node.connect().await);
    }
    let home = |visitor: &Visitor| keyspace().home(&visitor.pid);
    let away = home(&visitors[0]);
    for visitor in &visitors {
        let key = keyspace().session(&visitor.pid);
        let _: i64 = bench.redis.pexpire(key, 100_000, None).await.unwrap();
    }
    let within_reach = (keyspace().partitions())
        .filter(|partition| *partition != away)
        .map(|partition| format!("~confab:{{{partition}}}:*"));
    let within_reach: Vec<String> = within_reach.collect();
    let within_reach = format!("resetkeys ~confab:[^{{]* {}", within_reach.join(" "));
    bench.allow("near", &within_reach).await;
    until("records within reach are not refreshed", async || {
        for visitor in &visitors {
            visitor.answers();
        }
        for visitor in visitors.iter().filter(|visitor| home(visitor) != away) {
            if left(&bench, visitor).await <= 100_000 {
                return false;
            }
        }
        true
    })
    .await;
    assert!(left(&bench, &visitors[0]).await <= 100_000, "it is away");
    bench.allow("near", EVERYTHING).await;
    until("what was away is not refreshed", async || {
        visitors[0].answers();
        left(&bench, &visitors[0]).await > 100_000
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_refreshed_hold_up_none_beside_them() {
    let bench = Bench::new().await;
    let node = bench.node().await;
    // More of one partition than are refreshed at a time, several times over.
    let mut visitors: Vec<Visitor> = Vec::new();
    while visitors.len() < 200 {
        let visitor = node.connect().await;
        if keyspace().home(&visitor.pid) == Partition(0) {
            visitors.push(visitor);
        } else {
            node.recovery.release(&visitor.kept, true);
        }
    }
    let (broken, well) = visitors.split_at(60);
    for visitor in broken {
        let key = keyspace().session(&visitor.pid);
        let _: i64 = bench.redis.del(&key).await.unwrap();
        let () = (bench.redis.set(key, "no hash", None, None, false))
            .await
            .unwrap();
    }
    for visitor in well {
        let key = keyspace().session(&visitor.pid);
        let _: i64 = bench.redis.pexpire(key, 100_000, None).await.unwrap();
    }
    until("a record beside broken ones is not refreshed", async || {
        for visitor in &visitors {
            visitor.answers();
        }
        for visitor in well {
            if left(&bench, visitor).await <= 100_000 {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_another_node_has_is_not_written_anew() {
    let bench = Bench::new().await;
    let node = bench.node().await;
    let visitor = node.connect().await;
    // Unheard here.
    let other = taken_over(&bench, &visitor).await;
    let key = keyspace().session(&visitor.pid);
    let _: i64 = bench.redis.hset(key, ("r:entered", "3")).await.unwrap();
    let theirs = bench.record(&visitor.pid).await;
    assert_eq!(theirs["node"], other.to_string());
    // The memory seems to be lost, and nothing of it is.
    let memory = keyspace().memory(Partition(0));
    let _: i64 = bench.redis.del(memory).await.unwrap();
    until("the socket does not end", async || visitor.is_superseded()).await;
    assert_eq!(bench.record(&visitor.pid).await, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_whose_record_another_node_has() {
    let bench = Bench::new().await;
    let node = bench.node().await;
    let visitor = node.connect().await;
    taken_over(&bench, &visitor).await;
    let theirs = bench.record(&visitor.pid).await;
    until("the socket does not end", async || {
        visitor.answers();
        visitor.is_superseded()
    })
    .await;
    assert_eq!(bench.record(&visitor.pid).await, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_noted_in_a_record_that_another_node_has() {
    let bench = Bench::new().await;
    let node = bench.node().await;
    for attempt in 0..3 {
        let visitor = node.connect().await;
        // Unheard here.
        taken_over(&bench, &visitor).await;
        let theirs = bench.record(&visitor.pid).await;
        let (kept, room) = (&visitor.kept, ConversationId::generate());
        let noted = match attempt {
            0 => node.recovery.joined(kept, room, SOMEWHERE).await,
            1 => node.recovery.left(kept, visitor.room).await,
            _ => node.recovery.speaks(kept, "rooms").await,
        };
        assert!(matches!(noted, Err(NoteError::Lost(_))), "{noted:?}");
        assert_eq!(bench.record(&visitor.pid).await, theirs);
        assert!(visitor.is_superseded());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_found_in_a_room_is_noted_there_unless_that_was_done() {
    let bench = Bench::new().await;
    let node = bench.node_of("near").await;
    let visitor = node.connect().await;
    let (kept, room) = (&visitor.kept, ConversationId::generate());
    let field = format!("r:{room}");
    bench.allow("near", "resetkeys").await;
    assert!(node.recovery.joined(kept, room, SOMEWHERE).await.is_err());
    bench.allow("near", EVERYTHING).await;
    node.recovery.was_in(kept, room).await.unwrap();
    assert_eq!(bench.record(&visitor.pid).await[&field], "7");
    let key = keyspace().session(&visitor.pid);
    let _: i64 = bench.redis.hdel(key, &field).await.unwrap();
    node.recovery.was_in(kept, room).await.unwrap();
    assert_eq!(bench.record(&visitor.pid).await.get(&field), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_noted_is_written_later() {
    let bench = Bench::new().await;
    let node = bench.node_of("near").await;
    let visitor = node.connect().await;
    let field = format!("r:{}", visitor.room);
    assert!(bench.record(&visitor.pid).await.contains_key(&field));
    bench.allow("near", "resetkeys").await;
    let left = node.recovery.left(&visitor.kept, visitor.room).await;
    assert!(matches!(left, Err(NoteError::Redis(_))), "{left:?}");
    bench.allow("near", EVERYTHING).await;
    until("a room that was left stays in the record", async || {
        !bench.record(&visitor.pid).await.contains_key(&field)
    })
    .await;
    assert!(!visitor.is_superseded());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_next_asks_every_node_that_may_still_have_something_of_a_socket() {
    let bench = Bench::new().await;
    let (one, other) = (bench.node_of("one").await, bench.node().await);
    let mut ghost = bench.ghost().await;
    let (pid, user) = ("someone", UserId::generate());
    let record = [
        ("user", user.to_string()),
        ("namespace", Namespace::Chat.as_str().to_owned()),
        ("sid", "sid".to_owned()),
        ("node", ghost.id.to_string()),
        ("seen", "5-0".to_owned()),
    ];
    let key = keyspace().session(pid);
    let _: i64 = bench.redis.hset(&key, record.to_vec()).await.unwrap();
    // It cannot say anything to the node that has the socket.
    let own = format!("resetchannels &{}", keyspace().node(one.id));
    bench.allow("one", &own).await;
    for turn in ["1", "2"] {
        let failed = one.recovery.adopt(pid, None, user, Namespace::Chat).await;
        // A client that was turned away once begins anew: that server may be away for long.
        match failed.err() {
            Some(RecoveryError::Redis(_)) => assert_eq!(turn, "1"),
            Some(RecoveryError::Refused(Refusal::Unsettled)) => assert_eq!(turn, "2"),
            other => panic!("{other:?}"),
        }
        let record = bench.record(pid).await;
        assert_eq!(
            (record["node"].as_str(), record["turn"].as_str()),
            (one.id.to_string().as_str(), turn)
        );
        assert_eq!(record["former"].trim(), ghost.id.to_string());
    }
    let adopting = other.recovery.adopt(pid, None, user, Namespace::Chat);
    let (adopted, asking) = tokio::join!(adopting, ghost.asked_to_end(pid));
    assert_eq!(asking, other.id);
    let between = bench.record(pid).await;
    let former: Vec<&str> = between["former"].split_whitespace().collect();
    assert_eq!(former, [ghost.id.to_string(), one.id.to_string()]);
    let socket = socket(user);
    let adopted = adopted.unwrap();
    let kept = (other.recovery)
        .keep_adopted(pid, &adopted, &socket, BTreeMap::new())
        .unwrap();
    other.recovery.settle(&adopted, &kept).await;
    let record = bench.record(pid).await;
    assert_eq!(
        (record["node"].as_str(), record["turn"].as_str()),
        (other.id.to_string().as_str(), "3")
    );
    assert_eq!(record.get("former"), None, "all of them were asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_certain_while_everything_is_subscribed_to_anew() {
    let bench = Bench::new().await;
    let node = bench.node_of("node").await;
    let (ann, ben) = (UserId::generate(), UserId::generate());
    let channel = |user| keyspace().user(user);
    let own = keyspace().node(node.id);
    node.backplane.listen_to(ann).await.unwrap();
    // Whoever subscribes is busy.
    let only = format!("resetchannels &{own} &{}", channel(ann));
    bench.allow("node", &only).await;
    let listening = tokio::spawn({
        let backplane = node.backplane.clone();
        async move { backplane.listen_to(ben).await }
    });
    until("nobody asks for the other's channel", async || {
        let refused = bench.administer("ACL", "LOG").await;
        format!("{refused:?}").contains(&channel(ben))
    })
    .await;
    // Whose channel may not be listened to any more has its connection broken.
    bench.allow("node", &format!("resetchannels &{own}")).await;
    until("that its connection broke is no suspicion", async || {
        !node.hub.offset().await.unwrap().is_certain()
    })
    .await;
    // Somebody else settles a later one, and so this one, too.
    let mut before = node.hub.offset().await.unwrap();
    until("a later suspicion does not settle it", async || {
        let later = node.hub.suspect().await;
        node.hub.trust(later).await;
        before = node.hub.offset().await.unwrap();
        before.is_certain()
    })
    .await;
    let only = format!("resetchannels &{own} &{}", channel(ben));
    bench.allow("node", &only).await;
    listening.await.unwrap().unwrap();
    // The node hears itself, and nothing that is said to the first user.
    let mut offset = before.clone();
    until("the node does not hear itself", async || {
        offset = node.hub.offset().await.unwrap();
        offset.places.latest() > before.places.latest()
    })
    .await;
    assert!(!offset.is_certain(), "{offset}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_comes_late_ends_no_later_socket() {
    let bench = Bench::new().await;
    let (node, mut ghost) = (bench.node().await, bench.ghost().await);
    let visitor = node.connect().await;
    // It was there before, went, and has come back since.
    ghost.fences(&bench, node.id, &visitor.pid, 0).await;
    assert!(!visitor.is_superseded());
    ghost.fences(&bench, node.id, &visitor.pid, 1).await;
    assert!(visitor.is_superseded());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_was_ever_announced_nothing_was_missed() {
    let bench = Bench::new().await;
    let (one, other) = (bench.node().await, bench.node().await);
    until("nobody is recovered", async || {
        // Until its node has heard itself, a client's place is uncertain.
        let visitor = one.connect().await;
        let (user, recovery) = (visitor.socket.user(), &other.recovery);
        let namespace = Namespace::Chat;
        let adopted = recovery.adopt(&visitor.pid, None, user, namespace).await;
        let Ok(adopted) = adopted else { return false };
        let cut = recovery.cut().await.unwrap();
        let rooms: Vec<_> = adopted.record.rooms.keys().copied().collect();
        let read = recovery.histories(&adopted, &cut, &rooms, user).await;
        read.is_ok()
    })
    .await;
}
