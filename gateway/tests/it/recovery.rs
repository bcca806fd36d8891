//! The records of sockets: they stand while their sockets do, change hands as a whole, and nobody is forgotten who may still have something of
//! a socket. By nodes in this process, against a real Redis.

mod bench;

use std::collections::BTreeMap;

use confab_gateway::dialect::Namespace;
use confab_gateway::recovery::{RecoveryError, Refusal};
use confab_shared::id::{NodeId, Partition, UserId};
use confab_shared::redis::scripts;
use fred::interfaces::{HashesInterface, KeysInterface};

use crate::registry::keyspace;
use bench::{Bench, EVERYTHING, Visitor, socket, until};

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
    let kept = other
        .recovery
        .keep_adopted(pid, &adopted.unwrap(), &socket, BTreeMap::new())
        .await;
    assert!(kept.is_ok());
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
