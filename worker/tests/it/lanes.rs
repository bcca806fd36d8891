//! A lane on a real Redis: what becomes of commands that cannot be stored at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, UserId, WorkerId};
use confab_shared::lifecycle::Vitals;
use confab_shared::model::command::CommandEnvelope;
use confab_shared::postgres::partitions;
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace, WORKERS};
use confab_shared::redis::{Retries, connect};
use confab_shared::telemetry::Traces;
use confab_shared::testing::redis_url;
use confab_worker::config::{Config, DEFAULTS};
use confab_worker::consumer::{Assignment, Context, LaneCommand, run_lane};
use confab_worker::metrics::Metrics;
use fred::clients::Client;
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::database::{Db, envelope, group, say, with_database};

/// More partitions than the cluster has: those beyond its number are nobody's but the tests'.
const PARTITIONS: u16 = 1_024;
const CLUSTERS: u16 = 16;

/// A worker without an ownership: its partitions are those it is given.
struct Bench {
    context: Context,
    redis: Client,
    pool: PgPool,
}

impl Bench {
    async fn new(db: &Db, pool: PgPool) -> Self {
        let mut config = confab_shared::config::load::<Config>(DEFAULTS)
            .unwrap()
            .config;
        config.redis.url = redis_url();
        let redis = connect(&config.redis, Retries::None).await.unwrap();
        sqlx::query("INSERT INTO partitions (id) SELECT generate_series(16, 1023)")
            .execute(&db.pool)
            .await
            .unwrap();
        let context = Context {
            id: WorkerId::generate(),
            config: Arc::new(config),
            keyspace: Keyspace::new(PARTITIONS),
            pool,
            metrics: Metrics::new().unwrap(),
            traces: Traces::default(),
            vitals: Vitals::default(),
        };
        Self {
            context,
            redis,
            pool: db.pool.clone(),
        }
    }

    /// A conversation in a partition that no cluster serves, and which that is.
    fn conversation(&self) -> (ConversationId, Partition) {
        loop {
            let id = ConversationId::generate();
            let partition = self.context.keyspace.partition(id);
            if partition.0 >= CLUSTERS {
                return (id, partition);
            }
        }
    }

    async fn append(&self, partition: Partition, commands: &[CommandEnvelope]) {
        for command in commands {
            let fields = (COMMAND_FIELD, serde_json::to_string(command).unwrap());
            let _: Value = self
                .redis
                .xadd(Keyspace::ingress(partition), false, None::<()>, "*", fields)
                .await
                .unwrap();
        }
    }

    /// Hands everything in a partition's stream out to a worker that does nothing with it.
    async fn abandon(&self, partition: Partition) {
        let stream = Keyspace::ingress(partition);
        let _: Value = self
            .redis
            .xgroup_create(&stream, WORKERS, "0", true)
            .await
            .unwrap();
        let _: Value = self
            .redis
            .xreadgroup(WORKERS, "gone", None, None, false, &stream, ">")
            .await
            .unwrap();
    }

    /// Has a lane serve partitions; it ends when the answer is dropped.
    async fn serve(&self, partitions: &[Partition]) -> UnboundedSender<LaneCommand> {
        let (commands, obeyed) = unbounded_channel();
        for partition in partitions.iter().copied() {
            let epoch = partitions::take_over(&self.pool, partition, self.context.id)
                .await
                .unwrap();
            let owner = self.context.id.to_string();
            let _: Value = self
                .redis
                .set(Keyspace::lease(partition), owner, None, None, false)
                .await
                .unwrap();
            let lost = CancellationToken::new();
            let assignment = Assignment {
                partition,
                epoch,
                lost,
            };
            commands.send(LaneCommand::Serve(assignment)).unwrap();
        }
        let (reports, _) = unbounded_channel();
        tokio::spawn(run_lane(self.context.clone(), obeyed, reports));
        commands
    }

    async fn waiting(&self, partition: Partition) -> usize {
        self.redis.xlen(Keyspace::ingress(partition)).await.unwrap()
    }

    async fn set_aside(&self, partition: Partition) -> usize {
        self.redis.xlen(Keyspace::dead(partition)).await.unwrap()
    }

    /// Waits until everything in a partition's stream is processed.
    async fn drained(&self, partition: Partition) {
        let drained = async {
            while self.waiting(partition).await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(30), drained).await;
        assert!(in_time.is_ok(), "commands are stuck");
        assert_eq!(self.set_aside(partition).await, 0, "dead letters");
    }

    async fn clean_up(&self, partitions: &[Partition]) {
        for partition in partitions.iter().copied() {
            let keys = vec![
                Keyspace::ingress(partition),
                Keyspace::dead(partition),
                Keyspace::lease(partition),
            ];
            let _: Value = self.redis.del(keys).await.unwrap();
        }
    }
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
