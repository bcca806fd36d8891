//! Which partitions this worker owns: registration, leases, quotas, taking over, handing over.
//!
//! Owns the leases in Redis and the epochs in PostgreSQL; knows nothing of commands. A lease says who should process a partition;
//! the epoch makes sure that nobody else's work takes effect, so every mistake here costs time, never truth.

mod beat;
mod depth;
mod lanes;
mod leases;
mod prune;
mod quota;
mod takeover;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::lifecycle::{Readiness, Shutdown, Sign, spawn_vital};
use confab_shared::metrics::count;
use confab_shared::redis::{Unsuitable, examine_servers};
use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::consumer::{Assignment, Context, LaneCommand, LaneReport};
use depth::Concern;
use lanes::Lanes;
use leases::Leases;

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
    /// When the lease was last renewed, or taken: it holds for its term after that.
    renewed: Instant,
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
    /// When Redis last answered anything at all, if it has.
    answered: Option<Instant>,
    /// The live workers, as Redis last told; none before it did.
    live: Vec<String>,
    /// Partitions whose leases could not be asked for when they last were: on a cluster, those of a server that is out of order.
    failing: BTreeSet<Partition>,
    /// Whether all went well at the last heartbeat.
    is_well: bool,
    /// Ends the look at the backlogs. Before its sender goes, or its end would be taken for a fault.
    _watching: DropGuard,
    /// Whose backlogs this worker tells of.
    concern: watch::Sender<Concern>,
    leads: bool,
    sign: Sign,
}

impl Ownership {
    /// Connects and starts the lanes. They serve nothing yet.
    pub async fn start(context: Context, readiness: Readiness) -> Result<Self, Unsuitable> {
        let (reporting, reports) = unbounded_channel();
        let redis = Leases::connect(&context).await?;
        examine_servers(&redis.client()).await?;
        let (concern, concerned) = watch::channel(Concern::default());
        let watching = depth::watch(context.clone(), redis.client(), concerned);
        // Alerts and whoever scales workers go by it.
        let stop = CancellationToken::new();
        spawn_vital("backlogs", &stop, watching);
        let partitions = context.keyspace.partitions().count();
        context.metrics.partitions.set(count(partitions));
        Ok(Self {
            redis,
            lanes: Lanes::start(context.clone(), reporting),
            reports,
            takeovers: JoinSet::new(),
            held: BTreeMap::new(),
            readiness,
            answered: None,
            live: Vec::new(),
            failing: BTreeSet::new(),
            is_well: true,
            _watching: stop.drop_guard(),
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
