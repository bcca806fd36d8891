//! The scripts that write sockets' records, against a real Redis.

use std::collections::BTreeMap;

use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface};

use crate::registry::Redis;

const KEY: &str = "confab:{0}:session:one";

async fn record(redis: &Client) -> BTreeMap<String, String> {
    redis.hgetall(KEY).await.unwrap()
}

async fn release(redis: &Client, node: &str, turn: &str, window: &str) -> i64 {
    let script = scripts::session_release();
    let arguments = vec![node, turn, window];
    scripts::run(&script, redis, vec![KEY], arguments)
        .await
        .unwrap()
}

async fn rewrite(redis: &Client, node: &str, turn: &str) -> i64 {
    let script = scripts::session_rewrite();
    let mut arguments = vec![node, turn, "60000", "node", node, "turn", turn];
    arguments.extend(["seen", "2-0", "r:joined", "7"]);
    scripts::run(&script, redis, vec![KEY], arguments)
        .await
        .unwrap()
}

async fn adopt(redis: &Client, node: &str) -> (String, Vec<String>) {
    let script = scripts::session_adopt();
    let arguments = vec!["ann", "/", node, "60000", "2"];
    scripts::run(&script, redis, vec![KEY], arguments)
        .await
        .unwrap()
}

async fn settle(redis: &Client, node: &str, turn: &str) -> i64 {
    let script = scripts::session_settle();
    let arguments = vec![node, turn, "r:left"];
    scripts::run(&script, redis, vec![KEY], arguments)
        .await
        .unwrap()
}

async fn refresh(redis: &Client, node: &str, turn: &str, seen: &str) -> String {
    let script = scripts::session_refresh();
    let arguments = vec![node, turn, "60000", seen];
    scripts::run(&script, redis, vec![KEY], arguments)
        .await
        .unwrap()
}

async fn note(redis: &Client, node: &str, turn: &str, value: Option<&str>) -> String {
    let script = scripts::session_note();
    let mut arguments = vec![node, turn, "60000", "r:joined"];
    arguments.extend(value);
    scripts::run(&script, redis, vec![KEY], arguments)
        .await
        .unwrap()
}

fn of<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    fields.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_written_anew_has_nothing_of_a_memory_that_was_lost() {
    let (_server, redis) = Redis::start().await;
    let stale = [("node", "b"), ("r:left", "3"), ("seen", "1-0")];
    let () = redis.hset(KEY, stale.to_vec()).await.unwrap();
    assert_eq!(rewrite(&redis, "b", "0").await, 1);
    let anew = [
        ("node", "b"),
        ("r:joined", "7"),
        ("seen", "2-0"),
        ("turn", "0"),
    ];
    assert_eq!(record(&redis).await, of(anew));
    let left: i64 = redis.pttl(KEY).await.unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_had_a_record_last_has_it_in_whichever_order_they_write() {
    let (_server, redis) = Redis::start().await;
    assert_eq!(rewrite(&redis, "former", "1").await, 1);
    assert_eq!(rewrite(&redis, "new", "2").await, 1);
    let theirs = record(&redis).await;
    for turn in ["0", "1", "2"] {
        assert_eq!(rewrite(&redis, "former", turn).await, 0);
        assert_eq!(record(&redis).await, theirs);
    }
    assert_eq!(rewrite(&redis, "new", "2").await, 1);
    // What was written to a record that is not there is none.
    let _: i64 = redis.del(KEY).await.unwrap();
    let _: i64 = redis.hset(KEY, ("r:entered", "3")).await.unwrap();
    assert_eq!(refresh(&redis, "former", "1", "").await, "none");
    assert_eq!(rewrite(&redis, "former", "1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_refreshed_by_whoever_has_it() {
    let (_server, redis) = Redis::start().await;
    assert_eq!(refresh(&redis, "new", "2", "9-0").await, "none");
    assert!(record(&redis).await.is_empty());
    rewrite(&redis, "new", "2").await;
    let () = redis.pexpire(KEY, 10_000, None).await.unwrap();
    let theirs = record(&redis).await;
    for (node, turn, found) in [
        ("former", "1", "taken"),
        ("new", "1", "taken"),
        ("other", "2", "taken"),
        ("later", "3", "none"),
    ] {
        assert_eq!(refresh(&redis, node, turn, "9-0").await, found);
        assert_eq!(record(&redis).await, theirs);
        assert!(redis.pttl::<i64, _>(KEY).await.unwrap() <= 10_000);
    }
    assert_eq!(refresh(&redis, "new", "2", "").await, "ok");
    assert_eq!(record(&redis).await, theirs);
    assert!(redis.pttl::<i64, _>(KEY).await.unwrap() > 10_000);
    assert_eq!(refresh(&redis, "new", "2", "9-0").await, "ok");
    assert_eq!(record(&redis).await["seen"], "9-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_says_is_said_by_whoever_has_it() {
    let (_server, redis) = Redis::start().await;
    for value in [Some("9"), None] {
        assert_eq!(note(&redis, "new", "2", value).await, "none");
        assert!(record(&redis).await.is_empty(), "nothing without an owner");
    }
    rewrite(&redis, "new", "2").await;
    let () = redis.pexpire(KEY, 10_000, None).await.unwrap();
    let theirs = record(&redis).await;
    for (node, turn, found) in [
        ("former", "1", "taken"),
        ("new", "1", "taken"),
        ("other", "2", "taken"),
        ("later", "3", "none"),
    ] {
        for value in [Some("9"), None] {
            assert_eq!(note(&redis, node, turn, value).await, found);
            assert_eq!(record(&redis).await, theirs);
            assert!(redis.pttl::<i64, _>(KEY).await.unwrap() <= 10_000);
        }
    }
    assert_eq!(note(&redis, "new", "2", Some("9s")).await, "ok");
    assert_eq!(record(&redis).await["r:joined"], "9s");
    assert!(redis.pttl::<i64, _>(KEY).await.unwrap() > 10_000);
    assert_eq!(note(&redis, "new", "2", None).await, "ok");
    assert_eq!(record(&redis).await.get("r:joined"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_names_all_who_may_still_have_something_until_they_were_asked() {
    let (_server, redis) = Redis::start().await;
    // As an earlier version wrote it.
    let first = [
        ("user", "ann"),
        ("namespace", "/"),
        ("node", "a"),
        ("r:left", "3"),
    ];
    let () = redis.hset(KEY, first.to_vec()).await.unwrap();
    let (answer, found) = adopt(&redis, "b").await;
    assert_eq!(answer, "ok");
    assert!(!found.contains(&"former".to_owned()), "as it was before");
    // Once more by the same, whose answer was lost; then back to the first, and by a third.
    for (node, turn, former) in [("b", "2", " a"), ("a", "3", " a b"), ("c", "4", " a b")] {
        assert_eq!(adopt(&redis, node).await.0, "ok");
        let now = record(&redis).await;
        let now = ["node", "turn", "former"].map(|name| now[name].as_str());
        assert_eq!(now, [node, turn, former]);
    }
    let full = record(&redis).await;
    assert_eq!(adopt(&redis, "d").await.0, "none", "there are too many");
    assert_eq!(record(&redis).await, full);
    for (node, turn) in [("c", "3"), ("a", "4")] {
        assert_eq!(settle(&redis, node, turn).await, 0);
        assert_eq!(record(&redis).await, full);
    }
    assert_eq!(settle(&redis, "c", "4").await, 1);
    let settled = [
        ("user", "ann"),
        ("namespace", "/"),
        ("node", "c"),
        ("turn", "4"),
    ];
    assert_eq!(record(&redis).await, of(settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_given_up_by_whoever_has_it() {
    let (_server, redis) = Redis::start().await;
    let new = [("node", "new"), ("turn", "3")];
    let () = redis.hset(KEY, new.to_vec()).await.unwrap();
    let () = redis.pexpire(KEY, 90_000, None).await.unwrap();
    // Its client left the former node on purpose, which had not heard yet that it is elsewhere; or the same, where it is back by now.
    for (node, turn) in [("former", "2"), ("former", "3"), ("new", "1")] {
        assert_eq!(release(&redis, node, turn, "0").await, 0);
        assert_eq!(release(&redis, node, turn, "1000").await, 0);
    }
    assert!(redis.pttl::<i64, _>(KEY).await.unwrap() > 80_000);
    assert_eq!(release(&redis, "new", "3", "30000").await, 1);
    assert!(redis.pttl::<i64, _>(KEY).await.unwrap() <= 30_000);
    assert_eq!(release(&redis, "new", "3", "0").await, 1);
    assert!(record(&redis).await.is_empty());
    assert_eq!(release(&redis, "new", "3", "0").await, 0);
}
