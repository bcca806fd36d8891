//! A lane on a real Redis: what becomes of commands that cannot be stored at once.

mod bench;
mod refused;

use std::collections::HashMap;
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, UserId};
use confab_shared::model::command::CommandEnvelope;
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace};
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::timeout;

use crate::database::{Db, envelope, group, say, with_database};
use bench::Bench;

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.unwrap();
}

/// A pool like a worker's, with other settings for its sessions or another database.
fn pool_with(db: &Db, settings: &[(&str, &str)], database: Option<&str>) -> PgPool {
    let mut options = (*db.pool.connect_options())
        .clone()
        .options(settings.iter().copied());
    if let Some(database) = database {
        options = options.database(database);
    }
    PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(2))
        .connect_lazy_with(options)
}

async fn messages(db: &Db, conversation: ConversationId) -> i64 {
    let count = "SELECT count(*) FROM messages WHERE conversation_id = $1";
    db.count(count, conversation).await
}

fn sends(conversation: ConversationId, sender: UserId, count: usize) -> Vec<CommandEnvelope> {
    (0..count)
        .map(|number| envelope(conversation, sender, say(&format!("number {number}"))))
        .collect()
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_dead_letter_is_counted_when_it_is_kept() {
    with_database(|db| async move {
        let bench = Bench::new(&db, pool_with(&db, &[], None)).await;
        let (_, partition) = bench.conversation();
        let (stream, dead) = (Keyspace::ingress(partition), Keyspace::dead(partition));
        // Where dead letters belong there is something else, so none can be kept.
        let _: Value = (bench.redis)
            .set(&dead, "in the way", None, None, false)
            .await
            .unwrap();
        let _: Value = (bench.redis)
            .xadd(
                stream,
                false,
                None::<()>,
                "*",
                (COMMAND_FIELD, "no command"),
            )
            .await
            .unwrap();
        let lane = bench.serve(&[partition]).await;
        let metrics = &bench.context.metrics;
        until(|| metrics.redis.failures("bury") >= 2).await;
        assert_eq!(metrics.dead_letters_total.get(), 0);
        let _: Value = bench.redis.del(&dead).await.unwrap();
        until(|| metrics.dead_letters_total.get() > 0).await;
        assert_eq!(bench.set_aside(partition).await, 1);
        assert_eq!(metrics.dead_letters_total.get(), 1);
        drop(lane);
        bench.clean_up(&[partition]).await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_batch_too_slow_for_one_statement_is_halved_until_it_is_not() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        // Forty messages take three times what a statement may.
        let pool = pool_with(&db, &[("statement_timeout", "400")], None);
        sqlx::raw_sql(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NEW; END $$;
             CREATE TRIGGER dawdle BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .execute(&db.pool)
        .await
        .unwrap();
        let bench = Bench::new(&db, pool).await;
        let (thread, partition) = bench.conversation();
        bench
            .append(partition, &[envelope(thread, ann, group(&[]))])
            .await;
        bench.append(partition, &sends(thread, ann, 40)).await;
        let lane = bench.serve(&[partition]).await;
        bench.drained(partition).await;
        assert_eq!(messages(&db, thread).await, 40);
        drop(lane);
        bench.clean_up(&[partition]).await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_database_that_takes_nothing_is_waited_for() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let name: String = sqlx::query_scalar("SELECT current_database()::text")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        let read_only = async |setting: &str| {
            let alter =
                format!("ALTER DATABASE {name} SET default_transaction_read_only = {setting}");
            sqlx::query(sqlx::AssertSqlSafe(alter))
                .execute(&db.pool)
                .await
                .unwrap();
        };
        let bench = Bench::new(&db, pool_with(&db, &[], None)).await;
        let (thread, partition) = bench.conversation();
        bench
            .append(partition, &[envelope(thread, ann, group(&[]))])
            .await;
        read_only("on").await;
        let lane = bench.serve(&[partition]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(bench.set_aside(partition).await, 0);
        assert_eq!(bench.waiting(partition).await, 1);
        read_only("off").await;
        bench.drained(partition).await;
        drop(lane);
        bench.clean_up(&[partition]).await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn commands_outlive_a_database_that_is_not_there() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let pool = pool_with(&db, &[], Some("confab_it_nowhere"));
        let bench = Bench::new(&db, pool).await;
        let (thread, partition) = bench.conversation();
        bench
            .append(partition, &[envelope(thread, ann, group(&[]))])
            .await;
        let lane = bench.serve(&[partition]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(bench.set_aside(partition).await, 0);
        assert_eq!(bench.waiting(partition).await, 1);
        drop(lane);
        bench.clean_up(&[partition]).await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_was_handed_out_before_is_not_mixed_with_other_partitions() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let bench = Bench::new(&db, pool_with(&db, &[], None)).await;
        let mut partitions = Vec::new();
        for number in 0..4 {
            let (thread, partition) = bench.conversation();
            bench
                .append(partition, &[envelope(thread, ann, group(&[]))])
                .await;
            bench.append(partition, &sends(thread, ann, 5)).await;
            // The last one is new to everybody.
            if number < 3 {
                bench.abandon(partition).await;
            }
            partitions.push(partition);
        }
        let lane = bench.serve(&partitions).await;
        for partition in partitions.iter().copied() {
            bench.drained(partition).await;
        }
        // A batch is a transaction, so rows of one batch bear its number.
        let rows: Vec<(ConversationId, String)> =
            sqlx::query_as("SELECT conversation_id, xmin::text FROM messages")
                .fetch_all(&db.pool)
                .await
                .unwrap();
        assert_eq!(rows.len(), 20);
        let mut batches: HashMap<String, Partition> = HashMap::new();
        for (thread, transaction) in rows {
            let partition = bench.context.keyspace.partition(thread);
            let other = batches.insert(transaction, partition);
            assert!(other.is_none_or(|other| other == partition), "mixed");
        }
        drop(lane);
        bench.clean_up(&partitions).await;
    });
}

/// As on a cluster: each stream is waited for by a call of its own.
#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_partitions_offer_at_one_time_is_one_batch_though_each_is_waited_for_alone() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let mut bench = Bench::new(&db, pool_with(&db, &[], None)).await;
        bench.context.keyspace = bench.context.keyspace.on_cluster();
        let mut threads: HashMap<Partition, ConversationId> = HashMap::new();
        while threads.len() < 9 {
            let (thread, partition) = bench.conversation();
            threads.insert(partition, thread);
        }
        let partitions: Vec<Partition> = threads.keys().copied().collect();
        for (partition, thread) in &threads {
            bench
                .append(*partition, &[envelope(*thread, ann, group(&[]))])
                .await;
        }
        let lane = bench.serve(&partitions).await;
        for partition in partitions.iter().copied() {
            bench.drained(partition).await;
        }
        // The lane is held up in a batch of one partition, while all others are given something and their waits end.
        let (holder, others) = partitions.split_first().unwrap();
        let mut lock = db.pool.begin().await.unwrap();
        sqlx::query("LOCK TABLE messages IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *lock)
            .await
            .unwrap();
        bench.append(*holder, &sends(threads[holder], ann, 1)).await;
        held_up(&db).await;
        for partition in others {
            bench
                .append(*partition, &sends(threads[partition], ann, 1))
                .await;
        }
        // Longer than a wait takes.
        tokio::time::sleep(Duration::from_millis(600)).await;
        lock.rollback().await.unwrap();
        for partition in partitions.iter().copied() {
            bench.drained(partition).await;
        }
        // A batch is a transaction, so rows of one batch bear its number. One is the holder's.
        let batches: i64 = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM messages")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert!(batches <= 4, "{batches} batches of 8 partitions");
        drop(lane);
        bench.clean_up(&partitions).await;
    });
}

/// Waits until somebody waits for a lock.
async fn held_up(db: &Db) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let held_up = async {
        while sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(&db.pool)
            .await
            .unwrap()
            == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(30), held_up).await;
    assert!(in_time.is_ok(), "nobody waits for a lock");
}
