//! How much is left to do in the partitions: what autoscaling and alerts go by.
//!
//! Each partition is told of by one worker: its owner, or, while nobody owns it, the first of the live workers, so that a backlog
//! without an owner shows as long as one worker is there. (When none is, gateways tell how many commands wait for answers.) A look costs
//! one small script per partition, pipelined; a scrape reads what the last look found and asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::metrics::count;
use confab_shared::redis::keyspace::{Keyspace, WORKERS};
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::types::scripts::Script;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::consumer::Context;
use crate::metrics::Metrics;

/// How often it is looked. Prometheus comes less often than this, and whoever scales workers looks at it for minutes.
const EVERY: Duration = Duration::from_secs(2);

/// How long a look may take. What has not answered by then is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long what was found is told while there is no answer: longer than a failover takes, shorter than anybody's pages go by it.
const BELIEVED: Duration = Duration::from_secs(30);

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
    let mut told = Told::new(context.metrics.clone());
    let looker = Looker {
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
        let found = looker.look(&concern).await;
        told.take(&concern, found, Instant::now());
    }
    told.keep(|_, _| false);
}

/// What was found of a partition, or why nothing was.
type Look = (Partition, Result<Depth, Error>);

/// Asks Redis.
struct Looker {
    context: Context,
    redis: Client,
    script: Script,
}

impl Looker {
    /// Looks at each partition by itself: a server of a cluster that is away says nothing of the others' partitions.
    async fn look(&self, concern: &Concern) -> Vec<Look> {
        let partitions: Vec<Partition> = if concern.leads {
            self.context.keyspace.partitions().collect()
        } else {
            concern.owned.iter().copied().collect()
        };
        let looks = partitions.into_iter().map(async |partition| {
            let found = timeout(PATIENCE, self.depth(partition)).await;
            let silence = |_| Err(Error::new(ErrorKind::Timeout, "no answer in time"));
            (partition, found.unwrap_or_else(silence))
        });
        let looked = async {
            let found = join_all(looks).await;
            let is_whole = found.iter().all(|(_, depth)| depth.is_ok());
            if is_whole { Ok(found) } else { Err(found) }
        };
        let looked = self.context.metrics.redis.time("depth", looked).await;
        looked.unwrap_or_else(|found| found)
    }

    async fn depth(&self, partition: Partition) -> Result<Depth, Error> {
        let keys = vec![
            Keyspace::ingress(partition),
            Keyspace::dead(partition),
            Keyspace::lease(partition),
        ];
        let (length, lag, oldest, dead, owned): (i64, i64, u64, i64, i64) =
            scripts::run(&self.script, &self.redis, keys, vec![WORKERS]).await?;
        Ok(Depth {
            length,
            lag,
            oldest: Duration::from_millis(oldest),
            dead,
            is_owned: owned == 1,
        })
    }
}

/// What scrapes are told.
struct Told {
    metrics: Metrics,
    /// Of which partitions, when each was last heard of, and whether somebody owned it then.
    heard: BTreeMap<Partition, (Instant, bool)>,
}

impl Told {
    fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            heard: BTreeMap::new(),
        }
    }

    /// Tells what was found at this moment.
    fn take(&mut self, concern: &Concern, found: Vec<Look>, now: Instant) {
        let mut ours = BTreeSet::new();
        for (partition, depth) in found {
            match depth {
                Ok(depth) if depth.is_owned && !concern.owned.contains(&partition) => continue,
                Ok(depth) => {
                    self.heard.insert(partition, (now, depth.is_owned));
                    self.tell(partition, depth);
                }
                // What was found last stays for a while: an outage must not look like an empty stream.
                Err(error) => {
                    tracing::debug!(%error, %partition, "what is left to do is not known");
                }
            }
            ours.insert(partition);
        }
        self.keep(|partition, heard| ours.contains(partition) && now - heard < BELIEVED);
        let orphaned = self.heard.values().filter(|(_, is_owned)| !is_owned);
        self.metrics
            .orphaned_partitions
            .set(count(orphaned.count()));
    }

    fn tell(&self, partition: Partition, depth: Depth) {
        let (metrics, partition) = (&self.metrics, partition.to_string());
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

    /// What others tell of now must not be told twice, nor what is not known any more.
    fn keep(&mut self, is_kept: impl Fn(&Partition, Instant) -> bool) {
        let metrics = &self.metrics;
        self.heard.retain(|partition, (heard, _)| {
            let is_kept = is_kept(partition, *heard);
            if !is_kept {
                forget(metrics, *partition);
            }
            is_kept
        });
    }
}

fn forget(metrics: &Metrics, partition: Partition) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(partition: u16, lag: i64, is_owned: bool) -> Look {
        let depth = Depth {
            length: lag,
            lag,
            oldest: Duration::from_secs(60),
            dead: 0,
            is_owned,
        };
        (Partition(partition), Ok(depth))
    }

    fn silent(partition: u16) -> Look {
        (
            Partition(partition),
            Err(Error::new(ErrorKind::Timeout, "silence")),
        )
    }

    /// Which partitions a scrape is told of, and their lag.
    fn told(metrics: &Metrics) -> Vec<(String, String)> {
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        let lags = text
            .lines()
            .filter_map(|line| line.strip_prefix("confab_worker_ingress_lag{partition=\""));
        lags.map(|line| line.split_once("\"} ").unwrap())
            .map(|(partition, lag)| (partition.to_owned(), lag.to_owned()))
            .collect()
    }

    #[test]
    fn who_is_cut_off_tells_for_a_while_and_then_nothing() {
        let metrics = Metrics::new().unwrap();
        let (mut gauges, now) = (Told::new(metrics.clone()), Instant::now());
        let concern = Concern {
            owned: BTreeSet::from([Partition(1), Partition(2)]),
            leads: false,
        };
        let lag = |partition: &str, lag: &str| (partition.to_owned(), lag.to_owned());
        gauges.take(&concern, vec![found(1, 7, true), found(2, 8, true)], now);
        assert_eq!(told(&metrics), [lag("1", "7"), lag("2", "8")]);
        let later = now + Duration::from_secs(10);
        gauges.take(&concern, vec![silent(1), found(2, 9, true)], later);
        assert_eq!(told(&metrics), [lag("1", "7"), lag("2", "9")]);
        gauges.take(&concern, vec![silent(1), silent(2)], now + BELIEVED);
        assert_eq!(told(&metrics), [lag("2", "9")]);
        gauges.take(&concern, vec![silent(1), silent(2)], later + BELIEVED);
        assert_eq!(told(&metrics), []);
    }

    #[test]
    fn who_leads_tells_of_what_nobody_owns() {
        let metrics = Metrics::new().unwrap();
        let (mut gauges, now) = (Told::new(metrics.clone()), Instant::now());
        let concern = Concern {
            owned: BTreeSet::from([Partition(1)]),
            leads: true,
        };
        let all = vec![found(1, 1, true), found(2, 2, true), found(3, 3, false)];
        gauges.take(&concern, all, now);
        let partitions: Vec<String> = told(&metrics).into_iter().map(|told| told.0).collect();
        assert_eq!(partitions, ["1", "3"]);
        assert_eq!(metrics.orphaned_partitions.get(), 1);
        gauges.take(&concern, vec![silent(1), silent(2), silent(3)], now);
        assert_eq!(
            metrics.orphaned_partitions.get(),
            1,
            "it is not owned for all one knows"
        );
        let all = vec![found(1, 1, true), found(2, 2, true), found(3, 3, true)];
        gauges.take(&concern, all, now);
        assert_eq!(metrics.orphaned_partitions.get(), 0);
        assert_eq!(told(&metrics).len(), 1);
    }
}
