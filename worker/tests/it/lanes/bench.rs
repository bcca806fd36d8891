//! A lane under test, and the streams that it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, WorkerId};
use confab_shared::lifecycle::Vitals;
use confab_shared::model::command::CommandEnvelope;
use confab_shared::postgres::partitions;
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace, WORKERS};
use confab_shared::redis::{RedisConfig, Retries, connect};
use confab_shared::telemetry::Traces;
use confab_shared::testing::{defaults, redis_at, redis_url};
use confab_worker::config::{Config, DEFAULTS};
use confab_worker::consumer::{Assignment, Context, LaneCommand, run_lane};
use confab_worker::metrics::Metrics;
use fred::clients::Client;
use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::Value;
use sqlx::PgPool;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::database::Db;
use crate::redis::Redis;

/// More partitions than the cluster has: those beyond its number are nobody's but the tests'.
pub(super) const PARTITIONS: u16 = 1_024;
const CLUSTERS: u16 = 16;

/// A worker without an ownership: its partitions are those it is given.
pub(super) struct Bench {
    pub(super) context: Context,
    pub(super) redis: Client,
    pool: PgPool,
}

impl Bench {
    pub(super) async fn new(db: &Db, pool: PgPool) -> Self {
        let config = redis_at(redis_url());
        let redis = connect(&config, Retries::None).await.unwrap();
        Self::on(db, pool, config, redis).await
    }

    /// On a Redis of the test's own, which may refuse the worker something.
    pub(super) async fn at(db: &Db, pool: PgPool, redis: &Redis) -> Self {
        Self::on(db, pool, redis.config.clone(), redis.client.clone()).await
    }

    async fn on(db: &Db, pool: PgPool, its: RedisConfig, redis: Client) -> Self {
        let mut config = defaults::<Config>(DEFAULTS);
        config.redis = its;
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

    /// A conversation in a partition that no cluster serves and no other test has, and which that is.
    pub(super) fn conversation(&self) -> (ConversationId, Partition) {
        static NEXT: AtomicU16 = AtomicU16::new(CLUSTERS);
        let own = Partition(NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(own.0 < PARTITIONS, "there are too few partitions");
        loop {
            let id = ConversationId::generate();
            if self.context.keyspace.partition(id) == own {
                return (id, own);
            }
        }
    }

    pub(super) async fn append(&self, partition: Partition, commands: &[CommandEnvelope]) {
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
    pub(super) async fn abandon(&self, partition: Partition) {
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
    pub(super) async fn serve(&self, partitions: &[Partition]) -> UnboundedSender<LaneCommand> {
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

    pub(super) async fn waiting(&self, partition: Partition) -> usize {
        self.redis.xlen(Keyspace::ingress(partition)).await.unwrap()
    }

    pub(super) async fn set_aside(&self, partition: Partition) -> usize {
        self.redis.xlen(Keyspace::dead(partition)).await.unwrap()
    }

    /// Waits until everything in a partition's stream is processed.
    pub(super) async fn drained(&self, partition: Partition) {
        let drained = async {
            while self.waiting(partition).await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(120), drained).await;
        assert!(in_time.is_ok(), "commands are stuck");
        assert_eq!(self.set_aside(partition).await, 0, "dead letters");
    }

    pub(super) async fn clean_up(&self, partitions: &[Partition]) {
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
