//! Which partitions this worker owns: registration, leases, quotas, taking over, handing over.
//!
//! Owns the leases in Redis and the epochs in PostgreSQL; knows nothing of commands. A lease says who should process a partition;
//! the epoch makes sure that nobody else's work takes effect, so every mistake here costs time, never truth.

mod depth;
mod lanes;
mod leases;
mod prune;
mod quota;

use std::collections::BTreeMap;
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::lifecycle::{Readiness, Shutdown, Sign};
use confab_shared::metrics::count;
use confab_shared::postgres::{partitions, within};
use fred::error::Error;
use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

use crate::consumer::{Assignment, Context, LaneCommand, LaneReport};
use crate::pause::Pause;
use depth::Concern;
use lanes::Lanes;
use leases::Leases;
use quota::quota;

/// How often old memory is pruned, and how long after the start for the first time.
const PRUNE_EVERY: Duration = Duration::from_hours(1);
const FIRST_PRUNE: Duration = Duration::from_mins(1);
/// Whoever owns this one prunes, so that one worker does.
const PRUNER: Partition = Partition(0);

/// How a lease that this worker holds is used.
#[derive(Debug)]
enum Use {
    /// The epoch is being raised.
    Taking,
    /// A lane serves it.
    Serving { epoch: i64 },
    /// A lane has been told to stop.
    Yielding,
}

#[derive(Debug)]
struct Holding {
    usage: Use,
    lost: CancellationToken,
}

/// The part of the worker that decides what the lanes serve.
pub struct Ownership {
    context: Context,
    redis: Leases,
    lanes: Lanes,
    reports: UnboundedReceiver<LaneReport>,
    takeovers: JoinSet<Option<Assignment>>,
    held: BTreeMap<Partition, Holding>,
    readiness: Readiness,
    reachable: bool,
    /// Whose backlogs this worker tells of.
    concern: watch::Sender<Concern>,
    leads: bool,
    sign: Sign,
}

impl Ownership {
    /// Connects and starts the lanes. They serve nothing yet.
    pub async fn start(context: Context, readiness: Readiness) -> Result<Self, Error> {
        let (reporting, reports) = unbounded_channel();
        let redis = Leases::connect(&context).await?;
        let (concern, concerned) = watch::channel(Concern::default());
        let watching = depth::watch(context.clone(), redis.client(), concerned);
        // It ends with this struct, and nothing depends on it.
        tokio::spawn(watching);
        let partitions = context.keyspace.partitions().count();
        context.metrics.partitions.set(count(partitions));
        Ok(Self {
            redis,
            lanes: Lanes::start(context.clone(), reporting),
            reports,
            takeovers: JoinSet::new(),
            held: BTreeMap::new(),
            readiness,
            reachable: true,
            concern,
            leads: false,
            sign: context.vitals.part("ownership"),
            context,
        })
    }

    /// Keeps this worker's share of the partitions until told to drain, then gives them up.
    ///
    /// Inputs: the heartbeat; reports of the lanes; finished takeovers; lanes that ended; the hour for pruning; the drain.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut heartbeat = interval(self.context.config.worker.heartbeat());
        // A process that was stopped must not catch up on heartbeats that it missed.
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruning = interval_at(Instant::now() + FIRST_PRUNE, PRUNE_EVERY);
        pruning.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.sign.give();
            tokio::select! {
                () = shutdown.drain.cancelled() => break,
                _ = heartbeat.tick() => self.beat().await,
                Some(report) = self.reports.recv() => self.heed(report).await,
                Some(taken) = self.takeovers.join_next() => match taken {
                    Ok(Some(assignment)) => self.serve(assignment),
                    Ok(None) => {}
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a takeover panicked"),
                },
                Some(lane) = self.lanes.ended() => self.restart(lane).await,
                _ = pruning.tick() => if self.held.contains_key(&PRUNER) {
                    tokio::spawn(prune::prune(self.context.clone()));
                },
            }
        }
        self.readiness.set(false);
        self.drain().await;
    }

    /// Renews what is held, gives up what is too much, takes what is missing.
    async fn beat(&mut self) {
        let metrics = self.context.metrics.clone();
        let beat = Box::pin(self.try_beat());
        match metrics.redis.time("lease", beat).await {
            Ok(()) => {
                if !std::mem::replace(&mut self.reachable, true) {
                    tracing::info!("Redis is back");
                }
            }
            Err(error) => {
                // The leases may be gone or may stand: the lanes go on, and the fences decide.
                if std::mem::replace(&mut self.reachable, false) {
                    tracing::warn!(%error, "Redis does not answer; partitions stay as they are until it is back");
                }
            }
        }
        self.readiness.set(self.reachable);
        self.tell_concern();
    }

    /// Says which partitions' backlogs this worker is to tell of.
    fn tell_concern(&self) {
        self.context
            .metrics
            .owned_partitions
            .set(count(self.held.len()));
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

    async fn try_beat(&mut self) -> Result<(), Error> {
        let live = self.redis.register().await?;
        let renewals = self
            .held
            .keys()
            .map(async |partition| (*partition, self.redis.renew(*partition).await));
        for (partition, renewed) in join_all(renewals).await {
            if !renewed? {
                tracing::warn!(%partition, "the lease is gone");
                self.forget(partition);
            }
        }
        let (quota, rank) = quota(
            self.context.config.partitions.count,
            &live,
            &self.redis.worker,
        );
        self.leads = rank == 0;
        self.shed(quota).await?;
        self.acquire(quota, rank).await
    }

    /// Has lanes stop serving what exceeds the quota.
    async fn shed(&mut self, quota: usize) -> Result<(), Error> {
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
        for partition in unused {
            self.forget(partition);
            self.redis.release(partition).await?;
        }
        Ok(())
    }

    /// Takes free partitions until the quota is filled.
    async fn acquire(&mut self, quota: usize, rank: usize) -> Result<(), Error> {
        let mut missing = quota.saturating_sub(self.held.len());
        // Workers that come up together start looking at different places.
        let all: Vec<Partition> = self.context.keyspace.partitions().collect();
        let start = (rank * quota) % all.len().max(1);
        for partition in all[start..].iter().chain(&all[..start]).copied() {
            if missing == 0 {
                break;
            }
            self.sign.give();
            if self.held.contains_key(&partition) || !self.redis.acquire(partition).await? {
                continue;
            }
            missing -= 1;
            let lost = CancellationToken::new();
            self.held.insert(
                partition,
                Holding {
                    usage: Use::Taking,
                    lost: lost.clone(),
                },
            );
            self.takeovers
                .spawn(take_over(self.context.clone(), partition, lost));
        }
        Ok(())
    }

    /// Hands a partition whose epoch has been raised to its lane, unless it was lost meanwhile.
    fn serve(&mut self, assignment: Assignment) {
        let partition = assignment.partition;
        if let Some(holding) = self.held.get_mut(&partition)
            && matches!(holding.usage, Use::Taking)
            && !assignment.lost.is_cancelled()
        {
            tracing::info!(%partition, epoch = assignment.epoch, "partition taken over");
            self.context.metrics.takeovers_total.inc();
            holding.usage = Use::Serving {
                epoch: assignment.epoch,
            };
            self.lanes.tell(partition, LaneCommand::Serve(assignment));
        }
    }

    async fn heed(&mut self, report: LaneReport) {
        match report {
            LaneReport::Yielded(partition) => {
                let yielding = |holding: &Holding| matches!(holding.usage, Use::Yielding);
                if self.held.get(&partition).is_some_and(yielding) {
                    self.let_go(partition).await;
                }
            }
            LaneReport::Lost(partition, epoch) => {
                let current = |holding: &Holding| match holding.usage {
                    Use::Serving { epoch: held } => held == epoch,
                    Use::Yielding => true,
                    Use::Taking => false,
                };
                if self.held.get(&partition).is_some_and(current) {
                    self.let_go(partition).await;
                    // Perhaps Redis just lost its memory: then nobody has the partition. No need to wait for the next heartbeat.
                    self.beat().await;
                }
            }
        }
    }

    /// Gives up a partition that nothing is done with any more.
    async fn let_go(&mut self, partition: Partition) {
        self.sign.give();
        self.forget(partition);
        if let Err(error) = self.redis.release(partition).await {
            tracing::warn!(%error, %partition, "a lease cannot be released; it will lapse");
            self.context.metrics.redis.failed("lease");
        }
    }

    fn forget(&mut self, partition: Partition) {
        if let Some(holding) = self.held.remove(&partition) {
            holding.lost.cancel();
        }
    }

    /// A lane ended though nobody told it to: its partitions are taken over anew, from what it left unacknowledged on.
    async fn restart(&mut self, lane: usize) {
        self.context.metrics.lane_restarts_total.inc();
        let served = |partition: &Partition| self.lanes.serving(*partition) == lane;
        let served: Vec<Partition> = self.held.keys().copied().filter(served).collect();
        for partition in served {
            self.let_go(partition).await;
        }
        self.lanes.restart(lane);
    }

    /// Lets every lane finish its batch, then releases the leases.
    async fn drain(&mut self) {
        tracing::info!(partitions = self.held.len(), "draining");
        self.takeovers.abort_all();
        // First, so that the others know their new shares when the leases come free.
        if let Err(error) = self.redis.unregister().await {
            tracing::warn!(%error, "the registration cannot be taken back; it will lapse");
        }
        let all: Vec<Partition> = self.held.keys().copied().collect();
        for partition in all {
            match self
                .held
                .get_mut(&partition)
                .map(|holding| &mut holding.usage)
            {
                Some(Use::Taking) => self.let_go(partition).await,
                Some(usage @ Use::Serving { .. }) => {
                    *usage = Use::Yielding;
                    self.lanes.tell(partition, LaneCommand::Yield(partition));
                }
                Some(Use::Yielding) | None => {}
            }
        }
        self.lanes.dismiss();
        // Leases are renewed while the lanes finish, so that nobody takes a partition away from a batch that is nearly done.
        let mut heartbeat = interval(self.context.config.worker.heartbeat());
        while !self.held.is_empty() {
            self.sign.give();
            tokio::select! {
                Some(report) = self.reports.recv() => match report {
                    LaneReport::Yielded(partition) | LaneReport::Lost(partition, _) => self.let_go(partition).await,
                },
                _ = heartbeat.tick() => {
                    let renewals = self.held.keys().map(|partition| self.redis.renew(*partition));
                    if let Some(error) = join_all(renewals).await.into_iter().find_map(Result::err) {
                        tracing::debug!(%error, "leases cannot be renewed while draining");
                    }
                }
                ended = self.lanes.ended() => if ended.is_none() { break },
            }
        }
        while self.lanes.ended().await.is_some() {}
        // The lanes have ended, so nothing is in hand, whatever they did not live to report.
        while let Some(partition) = self.held.keys().next().copied() {
            self.let_go(partition).await;
        }
    }
}

/// Raises a partition's epoch, however long PostgreSQL takes to come back, unless the lease is lost meanwhile.
async fn take_over(
    context: Context,
    partition: Partition,
    lost: CancellationToken,
) -> Option<Assignment> {
    let mut pause = Pause::default();
    let patience = context.config.database.patience();
    loop {
        let taking = partitions::take_over(&context.pool, partition, context.id);
        let taking = within(patience, taking);
        let taken = tokio::select! {
            taken = context.metrics.postgres.time("take_over", taking) => taken,
            () = lost.cancelled() => return None,
        };
        match taken {
            Ok(epoch) => {
                return Some(Assignment {
                    partition,
                    epoch,
                    lost,
                });
            }
            Err(error) => {
                if pause.first() {
                    tracing::warn!(%error, %partition, "a partition cannot be taken over; trying until PostgreSQL is back");
                }
                pause.wait().await;
            }
        }
    }
}
