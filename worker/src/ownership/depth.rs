//! How much is left to do in the partitions: what autoscaling and alerts go by.
//!
//! Each partition is told of by one worker: its owner, or, while nobody owns it, the first of the live workers, so that a backlog
//! without an owner shows as long as one worker is there. (When none is, gateways tell how many commands wait for answers.) A look costs
//! one small script per partition, pipelined; a scrape reads what the last look found and asks nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::{Keyspace, WORKERS};
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::Error;
use fred::types::scripts::Script;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::consumer::Context;

/// How often it is looked. Prometheus comes less often than this, and whoever scales workers looks at it for minutes.
const EVERY: Duration = Duration::from_secs(2);

/// Which partitions a worker tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Concern {
    /// Those that it owns.
    pub(super) owned: BTreeSet<Partition>,
    /// Whether it is the first of the live workers, and tells of those that nobody owns.
    pub(super) leads: bool,
}

/// What a look finds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Depth {
    length: i64,
    lag: i64,
    oldest: Duration,
    dead: i64,
    is_owned: bool,
}

/// Looks until nobody says any more what concerns this worker.
pub(super) async fn watch(context: Context, redis: Client, mut concern: watch::Receiver<Concern>) {
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gauges = Gauges {
        told: BTreeSet::new(),
        context,
        redis,
        script: scripts::ingress_depth(),
    };
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            changed = concern.changed() => if changed.is_err() { break },
        }
        let concern = concern.borrow_and_update().clone();
        gauges.look(&concern).await;
    }
    gauges.tell_only(&BTreeSet::new());
}

struct Gauges {
    context: Context,
    redis: Client,
    script: Script,
    /// The partitions that are told of.
    told: BTreeSet<Partition>,
}

impl Gauges {
    async fn look(&mut self, concern: &Concern) {
        let partitions: Vec<Partition> = if concern.leads {
            self.context.keyspace.partitions().collect()
        } else {
            concern.owned.iter().copied().collect()
        };
        let looked = partitions
            .into_iter()
            .map(async |partition| Ok((partition, self.depth(partition).await?)));
        let found = async {
            let found: Result<Vec<_>, Error> = join_all(looked).await.into_iter().collect();
            found
        };
        let found = match self.context.metrics.redis.time("depth", found).await {
            Ok(found) => found,
            Err(error) => {
                // What was found last stays: an outage must not look like an empty stream.
                tracing::debug!(%error, "what is left to do is not known");
                return;
            }
        };
        let mut told = BTreeSet::new();
        let mut orphaned = 0;
        for (partition, depth) in found {
            let is_ours = concern.owned.contains(&partition);
            if !is_ours && depth.is_owned {
                continue;
            }
            orphaned += i64::from(!depth.is_owned);
            told.insert(partition);
            self.tell(partition, depth);
        }
        self.context.metrics.orphaned_partitions.set(orphaned);
        self.tell_only(&told);
    }

    async fn depth(&self, partition: Partition) -> Result<Depth, Error> {
        let keys = vec![
            Keyspace::ingress(partition),
            Keyspace::dead(partition),
            Keyspace::lease(partition),
        ];
        let (length, lag, oldest, dead, owned): (i64, i64, u64, i64, i64) = self
            .script
            .evalsha_with_reload(&self.redis, keys, vec![WORKERS])
            .await?;
        Ok(Depth {
            length,
            lag,
            oldest: Duration::from_millis(oldest),
            dead,
            is_owned: owned == 1,
        })
    }

    fn tell(&self, partition: Partition, depth: Depth) {
        let (metrics, partition) = (&self.context.metrics, partition.to_string());
        let label = [partition.as_str()];
        metrics
            .ingress_length
            .with_label_values(&label)
            .set(depth.length);
        metrics.ingress_lag.with_label_values(&label).set(depth.lag);
        metrics
            .ingress_oldest_seconds
            .with_label_values(&label)
            .set(depth.oldest.as_secs_f64());
        metrics
            .dead_letters
            .with_label_values(&label)
            .set(depth.dead);
    }

    /// What this worker told of and others tell of now must not be told twice.
    fn tell_only(&mut self, told: &BTreeSet<Partition>) {
        let metrics = &self.context.metrics;
        for partition in self.told.difference(told) {
            let partition = partition.to_string();
            let label = [partition.as_str()];
            // All four were made together.
            for gone in [
                metrics.ingress_length.remove_label_values(&label),
                metrics.ingress_lag.remove_label_values(&label),
                metrics.ingress_oldest_seconds.remove_label_values(&label),
                metrics.dead_letters.remove_label_values(&label),
            ] {
                if let Err(error) = gone {
                    tracing::debug!(%error, %partition, "a gauge that is gone already");
                }
            }
        }
        self.told.clone_from(told);
    }
}
