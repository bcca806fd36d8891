//! A lane on a Redis that refuses something of one partition: the others are as well as ever, and nothing of the one is lost.

use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, UserId};
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace};
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use tokio::time::Instant;

use super::bench::{Bench, PARTITIONS};
use super::{pool_with, sends, until};
use crate::database::{Db, envelope, group, with_database};
use crate::redis::Redis;

/// The texts of a conversation, in its order.
async fn texts(db: &Db, conversation: ConversationId) -> Vec<String> {
    let texts = "SELECT content FROM messages WHERE conversation_id = $1 ORDER BY seq";
    sqlx::query_scalar(texts)
        .bind(conversation)
        .fetch_all(&db.pool)
        .await
        .unwrap()
}

/// A conversation in a partition that is not the user's home: what the user is told has to come through.
fn elsewhere(bench: &Bench, user: UserId) -> (ConversationId, Partition) {
    loop {
        let (id, partition) = bench.conversation();
        if bench.context.keyspace.home_of_user(user) != partition {
            return (id, partition);
        }
    }
}

async fn one_partition_is_refused(db: Db, is_clustered: bool) {
    let [ann] = db.users().await;
    let redis = Redis::start().await;
    let mut bench = Bench::at(&db, pool_with(&db, &[], None), &redis).await;
    if is_clustered {
        bench.context.keyspace = bench.context.keyspace.on_cluster();
    }
    let (well, its) = bench.conversation();
    let (ill, refused) = elsewhere(&bench, ann);
    let partitions = [its, refused];
    for (thread, partition) in [(well, its), (ill, refused)] {
        let creation = [envelope(thread, ann, group(&[]))];
        bench.append(partition, &creation).await;
        bench.append(partition, &sends(thread, ann, 5)).await;
    }
    // A former owner had some of it in hand.
    bench.abandon(refused).await;
    let more: Vec<_> = sends(ill, ann, 10).split_off(5);
    bench.append(refused, &more).await;

    redis.refuse(refused, PARTITIONS).await;
    let lane = bench.serve(&partitions).await;
    bench.drained(its).await;
    let metrics = &bench.context.metrics;
    until(|| metrics.redis.failures("claim") >= 3).await;
    bench.append(its, &sends(well, ann, 5)).await;
    bench.drained(its).await;
    assert_eq!(bench.waiting(refused).await, 11);

    redis.allow(["~*".to_owned()]).await;
    bench.drained(refused).await;
    let expected: Vec<String> = (0..10).map(|number| format!("number {number}")).collect();
    assert_eq!(texts(&db, ill).await, expected);

    // What begins later, when the partition has nothing pending.
    redis.refuse(refused, PARTITIONS).await;
    let failed = metrics.redis.failures("claim");
    until(|| metrics.redis.failures("claim") >= failed + 2).await;
    bench.append(refused, &sends(ill, ann, 1)).await;
    bench.append(its, &sends(well, ann, 1)).await;
    bench.drained(its).await;
    redis.allow(["~*".to_owned()]).await;
    bench.drained(refused).await;
    drop(lane);
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_partition_that_is_refused_holds_up_no_other() {
    with_database(|db| one_partition_is_refused(db, false));
}

/// As on a cluster: each stream is waited for by a call of its own.
#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_partition_that_is_refused_holds_up_no_other_though_each_is_waited_for_alone() {
    with_database(|db| one_partition_is_refused(db, true));
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_dead_letter_that_cannot_be_kept_is_tried_less_and_less_often_and_holds_up_no_other_partition()
{
    with_database(|db| async move {
        let [ann] = db.users().await;
        let bench = Bench::new(&db, pool_with(&db, &[], None)).await;
        let (thread, its) = bench.conversation();
        let (_, stuck) = bench.conversation();
        let dead = Keyspace::dead(stuck);
        // Where dead letters belong there is something else, so none can be kept.
        let _: Value = (bench.redis)
            .set(&dead, "in the way", None, None, false)
            .await
            .unwrap();
        for _ in 0..3 {
            let fields = (COMMAND_FIELD, "no command");
            let _: Value = (bench.redis)
                .xadd(Keyspace::ingress(stuck), false, None::<()>, "*", fields)
                .await
                .unwrap();
        }
        let lane = bench.serve(&[its, stuck]).await;
        let metrics = &bench.context.metrics;
        until(|| metrics.redis.failures("bury") > 0).await;
        let (begun, failed) = (Instant::now(), metrics.redis.failures("bury"));
        bench
            .append(its, &[envelope(thread, ann, group(&[]))])
            .await;
        bench.drained(its).await;
        until(|| metrics.redis.failures("bury") >= failed + 7).await;
        // The pauses are 20 ms and twice as much each time; the first may be over.
        let tried = begun.elapsed();
        assert!(tried > Duration::from_secs(1), "{tried:?}");
        let _: Value = bench.redis.del(&dead).await.unwrap();
        until(|| metrics.dead_letters_total.get() == 3).await;
        assert_eq!(bench.set_aside(stuck).await, 3);
        drop(lane);
        bench.clean_up(&[its, stuck] as &[Partition]).await;
    });
}

/// As on a cluster whose server takes nothing more from when a batch was read on: what was stored is announced later, and once.
#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn events_that_cannot_be_announced_hold_up_no_other_partition_for_ever() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let redis = Redis::start().await;
        let mut bench = Bench::at(&db, pool_with(&db, &[], None), &redis).await;
        bench.context.keyspace = bench.context.keyspace.on_cluster();
        // That it is handed out again is not the commands' fault.
        Arc::make_mut(&mut bench.context.config)
            .worker
            .max_deliveries = 1;
        let (well, its) = bench.conversation();
        let (ill, refused) = elsewhere(&bench, ann);
        // All of it but its rooms.
        let others = (0..PARTITIONS).filter(|other| *other != refused.0);
        let keys = others.map(|other| format!("~confab:{{{other}}}:*"));
        let some = format!("~confab:{{{refused}}}:[^r]*");
        redis.allow(keys.chain([some])).await;
        let lane = bench.serve(&[its, refused]).await;
        let creation = [envelope(ill, ann, group(&[]))];
        bench.append(refused, &creation).await;
        bench.append(refused, &sends(ill, ann, 5)).await;
        let metrics = &bench.context.metrics;
        until(|| metrics.redis.failures("fan_out") > 0).await;
        bench.append(its, &[envelope(well, ann, group(&[]))]).await;
        bench.append(its, &sends(well, ann, 5)).await;
        bench.drained(its).await;
        assert!(bench.waiting(refused).await > 0, "acknowledged");

        redis.allow(["~*".to_owned()]).await;
        bench.drained(refused).await;
        let expected: Vec<String> = (0..5).map(|number| format!("number {number}")).collect();
        assert_eq!(texts(&db, ill).await, expected);
        assert_eq!(bench.set_aside(refused).await, 0);
        drop(lane);
    });
}
