//! The heartbeat: leases are renewed, the partitions spread over the live workers.
//!
//! Every partition is asked for by itself, and none waits for another's answer for longer than a part of the leases' term: on a cluster one
//! server may refuse, or be silent, and the leases that others keep must neither lapse for that nor stay with nobody.

use confab_shared::id::Partition;
use confab_shared::metrics::count;
use fred::error::Error;
use futures_util::future::{join, join_all};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::depth::Concern;
use super::quota::quota;
use super::takeover::take_over;
use super::{Holding, Ownership, Use};
use crate::consumer::LaneCommand;

impl Ownership {
    /// Renews what is held, gives up what is too much, takes what is missing.
    pub(super) async fn beat(&mut self) {
        let metrics = self.context.metrics.clone();
        let beat = Box::pin(self.try_beat());
        match metrics.redis.time("lease", beat).await {
            Ok(()) => {
                if !std::mem::replace(&mut self.is_well, true) {
                    tracing::info!("Redis is back");
                }
            }
            Err(error) => {
                // The leases may be gone or may stand: the lanes go on, and the fences decide.
                if std::mem::replace(&mut self.is_well, false) {
                    let partitions = &self.failing;
                    tracing::warn!(%error, ?partitions, "Redis does not do what it is asked for; partitions stay as they are until it is back");
                }
            }
        }
        // A worker that reaches a part of Redis does that part's work.
        let lease = self.context.config.worker.lease();
        let answered = self.answered;
        self.readiness
            .set(answered.is_some_and(|at| at.elapsed() < lease));
        self.tell_concern();
    }

    /// Says which partitions' backlogs this worker is to tell of.
    fn tell_concern(&self) {
        // Past a lease's term another may have it: who is cut off owns nothing for all that anybody can tell.
        let lease = self.context.config.worker.lease();
        let holds = |holding: &&Holding| holding.renewed.elapsed() < lease;
        let owned = self.held.values().filter(holds).count();
        self.context.metrics.owned_partitions.set(count(owned));
        let concern = Concern {
            owned: self.held.keys().copied().collect(),
            leads: self.leads,
        };
        self.concern.send_if_modified(|told| {
            let differs = *told != concern;
            if differs {
                *told = concern;
            }
            differs
        });
    }

    /// Does all that Redis lets it do. Fails with the first thing that it did not, when everything has been tried.
    async fn try_beat(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.renew(&mut outcome).await;
        // Before anything is known of the others, everything would look like this worker's share.
        if !self.live.is_empty() {
            let (quota, rank) = quota(
                self.context.config.partitions.count,
                &self.live,
                &self.redis.worker,
            );
            self.leads = rank == 0;
            self.shed(quota, &mut outcome).await;
            self.acquire(quota, rank, &mut outcome).await;
        }
        outcome
    }

    /// Renews the leases and the registration, all at once.
    async fn renew(&mut self, outcome: &mut Result<(), Error>) {
        let begun = Instant::now();
        let renewals = self
            .held
            .keys()
            .map(async |partition| (*partition, self.redis.renew(*partition).await));
        let (registered, renewals) = join(self.redis.register(), join_all(renewals)).await;
        for (partition, renewed) in renewals {
            match self.heard(partition, renewed, outcome) {
                Some(true) => {
                    if let Some(holding) = self.held.get_mut(&partition) {
                        holding.renewed = begun;
                    }
                }
                Some(false) => {
                    tracing::warn!(%partition, "the lease is gone");
                    self.forget(partition);
                }
                None => {}
            }
        }
        match registered {
            Ok(live) => {
                self.answered = Some(Instant::now());
                self.live = live;
            }
            Err(error) => note(outcome, error),
        }
    }

    /// Has lanes stop serving what exceeds the quota.
    async fn shed(&mut self, quota: usize, outcome: &mut Result<(), Error>) {
        let kept = self
            .held
            .values()
            .filter(|holding| !matches!(holding.usage, Use::Yielding))
            .count();
        let mut excess = kept.saturating_sub(quota);
        let mut unused = Vec::new();
        for (partition, holding) in self.held.iter_mut().rev() {
            if excess == 0 {
                break;
            }
            match holding.usage {
                Use::Serving { .. } => {
                    holding.usage = Use::Yielding;
                    self.lanes.tell(*partition, LaneCommand::Yield(*partition));
                }
                Use::Taking => unused.push(*partition),
                Use::Yielding => continue,
            }
            excess -= 1;
        }
        for partition in &unused {
            self.forget(*partition);
        }
        let releases = unused
            .iter()
            .map(async |partition| (*partition, self.redis.release(*partition).await));
        for (partition, released) in join_all(releases).await {
            self.heard(partition, released, outcome);
        }
    }

    /// Takes free partitions until the quota is filled, or for as long as leaves time for the next renewals.
    async fn acquire(&mut self, quota: usize, rank: usize, outcome: &mut Result<(), Error>) {
        let mut missing = quota.saturating_sub(self.held.len());
        // Workers that come up together start looking at different places.
        let all: Vec<Partition> = self.context.keyspace.partitions().collect();
        let start = (rank * quota) % all.len().max(1);
        // Those that failed last come last, or they would take the time of all others.
        let (failing, others): (Vec<Partition>, Vec<Partition>) = all[start..]
            .iter()
            .chain(&all[..start])
            .filter(|partition| !self.held.contains_key(partition))
            .partition(|partition| self.failing.contains(partition));
        let until = Instant::now() + self.redis.limit();
        for partition in others.into_iter().chain(failing) {
            let begun = Instant::now();
            if missing == 0 || begun >= until {
                break;
            }
            self.sign.give();
            let acquired = self.redis.acquire(partition).await;
            if self.heard(partition, acquired, outcome) == Some(true) {
                missing -= 1;
                self.take(partition, begun);
            }
        }
    }

    /// Begins to use a lease that was just taken.
    fn take(&mut self, partition: Partition, begun: Instant) {
        let lost = CancellationToken::new();
        self.held.insert(
            partition,
            Holding {
                usage: Use::Taking,
                lost: lost.clone(),
                renewed: begun,
            },
        );
        self.takeovers
            .spawn(take_over(self.context.clone(), partition, lost));
    }

    /// Notes whether a partition's server answers. What it answered, if it did.
    fn heard<T>(
        &mut self,
        partition: Partition,
        answer: Result<T, Error>,
        outcome: &mut Result<(), Error>,
    ) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.answered = Some(Instant::now());
                self.failing.remove(&partition);
                Some(answer)
            }
            Err(error) => {
                self.failing.insert(partition);
                note(outcome, error);
                None
            }
        }
    }
}

/// Keeps the first of several failures.
fn note(outcome: &mut Result<(), Error>, error: Error) {
    if outcome.is_ok() {
        *outcome = Err(error);
    }
}
