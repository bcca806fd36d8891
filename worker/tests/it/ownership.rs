//! Which partitions a worker owns while Redis refuses it something: like a cluster of which one server is out of order.

use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{Partition, WorkerId};
use confab_shared::lifecycle::{Readiness, Shutdown, Vitals};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::telemetry::Traces;
use confab_shared::testing::defaults;
use confab_worker::config::{Config, DEFAULTS};
use confab_worker::consumer::Context;
use confab_worker::metrics::Metrics;
use confab_worker::ownership::Ownership;
use fred::interfaces::KeysInterface;
use fred::types::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::database::{Db, with_database};
use crate::redis::Redis;

const PARTITIONS: u16 = 16;
/// Longer than any lease of these tests.
const HOUR: i64 = 3_600_000;

/// A worker that owns what there is, in this process.
struct Worker {
    metrics: Metrics,
    readiness: Readiness,
    shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Worker {
    async fn start(db: &Db, redis: &Redis) -> Self {
        let mut config = defaults::<Config>(DEFAULTS);
        config.redis = redis.config.clone();
        let metrics = Metrics::new().unwrap();
        let context = Context {
            id: WorkerId::generate(),
            config: Arc::new(config),
            keyspace: Keyspace::new(PARTITIONS).on_cluster(),
            pool: db.pool.clone(),
            metrics: metrics.clone(),
            traces: Traces::default(),
            vitals: Vitals::default(),
        };
        let readiness = Readiness::default();
        let shutdown = Shutdown {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        let ownership = Ownership::start(context, readiness.clone()).await.unwrap();
        Self {
            metrics,
            readiness,
            shutdown: shutdown.clone(),
            running: tokio::spawn(ownership.run(shutdown)),
        }
    }

    /// Waits until it holds so many leases.
    async fn owns(&self, partitions: u16) {
        self.until(|metrics| metrics.owned_partitions.get() == i64::from(partitions))
            .await;
    }

    /// Waits until it has taken so many partitions over.
    async fn took_over(&self, partitions: u64) {
        self.until(|metrics| metrics.takeovers_total.get() >= partitions)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&Metrics) -> bool) {
        let so = async {
            while !is_so(&self.metrics) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(60), so).await;
        let owned = self.metrics.owned_partitions.get();
        assert!(in_time.is_ok(), "{owned} partitions are owned");
    }

    /// Waits until it is ready: a machine that stands still may take that from it for a moment.
    async fn is_ready(&self) {
        self.until(|_| self.readiness.get()).await;
    }

    async fn end(self) {
        self.shutdown.drain.cancel();
        timeout(Duration::from_secs(60), self.running)
            .await
            .expect("it does not end")
            .unwrap();
    }
}

/// Waits until a lease is renewed: it was given more time than anybody gives it.
async fn is_renewed(redis: &Redis, partition: Partition) {
    let lease = Keyspace::lease(partition);
    let _: Value = redis.client.pexpire(&lease, HOUR, None).await.unwrap();
    let renewed = async {
        while redis.client.pttl::<i64, _>(&lease).await.unwrap() > HOUR / 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(60), renewed).await;
    assert!(in_time.is_ok(), "{partition} is not renewed");
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_fresh_worker_takes_what_it_may_have_though_one_partition_is_refused() {
    with_database(|db| async move {
        let redis = Redis::start().await;
        // The second in its order.
        redis.refuse(Partition(1), PARTITIONS).await;
        let worker = Worker::start(&db, &redis).await;
        worker.owns(15).await;
        worker.took_over(15).await;
        worker.is_ready().await;
        redis.allow(["~*".to_owned()]).await;
        worker.owns(16).await;
        worker.end().await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_lease_that_cannot_be_renewed_is_the_only_one_that_is_lost() {
    with_database(|db| async move {
        let redis = Redis::start().await;
        let worker = Worker::start(&db, &redis).await;
        worker.owns(16).await;
        worker.took_over(16).await;
        redis.refuse(Partition(1), PARTITIONS).await;
        worker.owns(15).await;
        is_renewed(&redis, Partition(2)).await;
        worker.is_ready().await;
        // What goes meanwhile is taken again.
        let lease = Keyspace::lease(Partition(2));
        let _: Value = redis.client.del(lease).await.unwrap();
        worker.took_over(17).await;
        redis.allow(["~*".to_owned()]).await;
        worker.owns(16).await;
        worker.end().await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn leases_are_renewed_and_taken_though_the_registration_is_refused() {
    with_database(|db| async move {
        let redis = Redis::start().await;
        let worker = Worker::start(&db, &redis).await;
        worker.owns(16).await;
        worker.took_over(16).await;
        redis.allow(["~confab:*:[^w]*".to_owned()]).await;
        worker
            .until(|metrics| metrics.redis.failures("lease") > 0)
            .await;
        for partition in [Partition(0), Partition(7), Partition(15)] {
            is_renewed(&redis, partition).await;
        }
        let lease = Keyspace::lease(Partition(7));
        let _: Value = redis.client.del(lease).await.unwrap();
        worker.took_over(17).await;
        worker.is_ready().await;
        redis.allow(["~*".to_owned()]).await;
        worker.end().await;
    });
}
