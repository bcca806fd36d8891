//! A lane: a task that serves some partitions, one batch at a time.
//!
//! A batch holds what all of them have to offer that is new, or what one of them has that was handed out before. Waiting takes
//! nothing from the streams, so a wake-up that is lost costs time only. A partition of which something fails is left alone for a while
//! and holds up none of the others.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::lifecycle::Sign;
use confab_shared::redis::presence::Online;
use confab_shared::redis::{Retries, connect};
use fred::clients::Client;
use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::batch::{Aftermath, Entry, Processor};
use super::read::{IngressReader, RawEntry, Reading};
use super::served::Served;
use super::wait::{Awaited, Waiter};
use crate::broadcast::Broadcast;
use crate::pause::Pause;

/// How often a lane without partitions shows that it lives.
const IDLE: Duration = Duration::from_secs(1);

/// A partition taken over.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Which.
    pub partition: Partition,
    /// The epoch under which it may be written.
    pub epoch: i64,
    /// Cancelled once the lease is known to be gone.
    pub lost: CancellationToken,
}

/// What a lane is told.
#[derive(Debug)]
pub enum LaneCommand {
    /// Serve this partition, from what was left unacknowledged on.
    Serve(Assignment),
    /// Stop serving it, between two batches, and report.
    Yield(Partition),
}

/// What a lane tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneReport {
    /// The partition is not served any more, as told. Nothing of it is in hand.
    Yielded(Partition),
    /// Another worker has the partition, or had it since this epoch.
    Lost(Partition, i64),
}

/// Serves partitions until the commands end.
///
/// Inputs: commands from the ownership; entries of the served partitions' streams.
pub async fn run(
    context: Context,
    mut commands: UnboundedReceiver<LaneCommand>,
    reports: UnboundedSender<LaneReport>,
) -> Result<(), fred::error::Error> {
    let client = connect(&context.config.redis, Retries::None).await?;
    let mut waiter = Waiter::connect(&context).await?;
    let mut lane = Lane::new(context, client, reports);
    loop {
        lane.sign.give();
        lane.forget_lost();
        while let Ok(command) = commands.try_recv() {
            lane.obey(command);
        }
        if lane.has_work() {
            // Boxed: it is large, and a lane that waits has no use for it.
            Box::pin(lane.turn()).await;
            continue;
        }
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => lane.obey(command),
                None => return Ok(()),
            },
            woken = lane.wait(&mut waiter) => match woken {
                Ok(partitions) => lane.wake(&partitions),
                Err(error) => {
                    lane.stumble(&error, "cannot wait for commands").await;
                    // The connection that reads may be well though the one that waits is not.
                    lane.wake(&[]);
                }
            },
            () = lane.rested() => {}
        }
    }
}

struct Lane {
    processor: Processor,
    served: BTreeMap<Partition, Served>,
    /// The partition of which a backlog was last read.
    claimed: Option<Partition>,
    /// Whether the last turn was spent on a partition that had failed.
    retried: bool,
    reports: UnboundedSender<LaneReport>,
    pause: Pause,
    sign: Sign,
}

impl Lane {
    fn new(context: Context, client: Client, reports: UnboundedSender<LaneReport>) -> Self {
        let worker = &context.config.worker;
        let window = Duration::from_secs(worker.history_window_seconds);
        // Given between two steps that each end by themselves, however long PostgreSQL and Redis are away.
        let sign = context.vitals.part("lane");
        let processor = Processor {
            sign: sign.clone(),
            client: client.clone(),
            reader: IngressReader::new(client.clone(), context.id, worker.max_deliveries),
            online: Online::new(client.clone(), context.keyspace),
            broadcast: Broadcast::new(
                client,
                context.keyspace,
                context.id,
                window,
                context.metrics.clone(),
                sign.clone(),
            ),
            connection: None,
            context,
        };
        Self {
            processor,
            served: BTreeMap::new(),
            claimed: None,
            retried: false,
            reports,
            pause: Pause::default(),
            sign,
        }
    }

    fn obey(&mut self, command: LaneCommand) {
        match command {
            LaneCommand::Serve(assignment) => {
                self.served.extend([Served::new(assignment)]);
            }
            LaneCommand::Yield(partition) => {
                self.served.remove(&partition);
                self.report(LaneReport::Yielded(partition));
            }
        }
    }

    /// Drops the partitions whose leases are known to be gone. Who cancelled the token needs no report.
    fn forget_lost(&mut self) {
        self.served
            .retain(|_, served| !served.tenure.lost.is_cancelled());
    }

    fn has_work(&self) -> bool {
        let now = Instant::now();
        self.served
            .values()
            .any(|served| served.is_claimable(now) || served.is_readable(now))
    }

    /// Which partition's backlog is next, if any has one: they take turns. Those that failed come last, and each time after them it is
    /// looked what the others offer: a server that is silent takes a long time to fail.
    fn backlogged(&self, now: Instant) -> Option<Partition> {
        let next = |is_well| {
            let backlog = || {
                self.served.iter().filter(move |(_, served)| {
                    served.is_claimable(now) && served.is_well() == is_well
                })
            };
            backlog()
                .find(|(partition, _)| Some(**partition) > self.claimed)
                .or_else(|| backlog().next())
                .map(|(partition, _)| *partition)
        };
        let is_readable = |served: &Served| served.is_readable(now);
        let is_others_turn = self.retried && self.served.values().any(is_readable);
        next(true).or_else(|| next(false).filter(|_| !is_others_turn))
    }

    /// Reads what the partitions that may have something offer, and processes it as one batch.
    ///
    /// What was handed out before may have brought its worker down. It is not mixed with what other partitions offer, or that would be
    /// handed out again with it until it is set aside as well.
    async fn turn(&mut self) {
        let limit = self.processor.context.config.worker.batch_size;
        let reader = &self.processor.reader;
        let redis = &self.processor.context.metrics.redis;
        let now = Instant::now();
        let backlogged = self.backlogged(now);
        self.retried = backlogged
            .and_then(|partition| self.served.get(&partition))
            .is_some_and(|served| !served.is_well());
        let (share, readings) = if let Some(partition) = backlogged {
            self.claimed = backlogged;
            (
                limit,
                vec![(
                    partition,
                    redis.time("claim", reader.claim(partition, limit)).await,
                )],
            )
        } else {
            let ready = || {
                self.served
                    .iter()
                    .filter(|(_, served)| served.is_readable(now))
            };
            let share = (limit / ready().count().max(1)).max(1);
            let readings = ready().map(async |(partition, _)| {
                let read = redis.time("read", reader.read(*partition, share));
                (*partition, read.await)
            });
            (share, join_all(readings).await)
        };
        let mut aftermath = Aftermath::default();
        let mut batch = Vec::new();
        let mut answered = Vec::with_capacity(readings.len());
        let mut failures = Vec::new();
        for (partition, reading) in readings {
            match reading {
                Ok(reading) => {
                    answered.push(partition);
                    self.note(partition, reading, share, &mut batch, &mut aftermath)
                        .await;
                }
                Err(error) => {
                    // Entries may have been handed out without reaching us; or the group is gone. Claiming cures both.
                    aftermath.unsettled.insert(partition);
                    failures.push((partition, error));
                }
            }
        }
        if !batch.is_empty() {
            let tenures: HashMap<_, _> = self
                .served
                .iter()
                .map(|(partition, served)| (*partition, served.tenure.clone()))
                .collect();
            let processed = self.processor.process(batch, &tenures).await;
            aftermath.lost.extend(processed.lost);
            aftermath.unsettled.extend(processed.unsettled);
            aftermath.refused.extend(processed.refused);
        }
        if !answered.is_empty() {
            self.pause = Pause::default();
        }
        self.tell_failures(&failures);
        self.settle(&answered, aftermath);
        if self.retried {
            self.wake(&[]);
        }
    }

    /// Takes what reading a partition has brought.
    async fn note(
        &mut self,
        partition: Partition,
        reading: Reading,
        share: usize,
        batch: &mut Vec<Entry>,
        aftermath: &mut Aftermath,
    ) {
        let Some(served) = self.served.get_mut(&partition) else {
            return;
        };
        let entries: Vec<RawEntry> = match reading {
            Reading::Entries(entries) => entries,
            Reading::CaughtUp => {
                served.catch_up();
                return;
            }
            Reading::Lost => {
                aftermath.lost.insert(partition);
                return;
            }
        };
        let redelivered = served.backlog;
        if !redelivered {
            // A share that was not filled means that there was no more.
            served.ready = entries.len() >= share;
            if let Some(newest) = entries.last() {
                served.last.clone_from(&newest.id);
            }
        }
        let most = if served.is_refused() {
            u64::MAX
        } else {
            self.processor.context.config.worker.max_deliveries
        };
        self.processor
            .accept(partition, entries, redelivered, most, batch, aftermath)
            .await;
    }

    /// Says which partitions have begun to fail, in one line: when Redis is away, all do.
    fn tell_failures(&self, failures: &[(Partition, fred::error::Error)]) {
        let is_well = |partition| self.served.get(partition).is_some_and(Served::is_well);
        let mut begun = failures.iter().filter(|(partition, _)| is_well(partition));
        if let Some((first, error)) = begun.next() {
            let partitions: Vec<Partition> = [*first]
                .into_iter()
                .chain(begun.map(|(partition, _)| *partition))
                .collect();
            tracing::warn!(%error, ?partitions, "cannot read commands; trying until Redis is back");
        }
    }

    fn settle(&mut self, answered: &[Partition], aftermath: Aftermath) {
        for partition in answered {
            if !aftermath.unsettled.contains(partition)
                && let Some(served) = self.served.get_mut(partition)
            {
                served.recover();
            }
        }
        let now = Instant::now();
        for partition in aftermath.unsettled {
            if let Some(served) = self.served.get_mut(&partition) {
                served.fail(now);
                if aftermath.refused.contains(&partition) {
                    served.refuse();
                }
            }
        }
        for partition in aftermath.lost {
            if let Some(served) = self.served.remove(&partition) {
                self.report(LaneReport::Lost(partition, served.tenure.epoch));
            }
        }
    }

    /// Waits for an entry of any partition that is not left alone. Without such partitions, for a while.
    async fn wait(&self, waiter: &mut Waiter) -> Result<Vec<Partition>, fred::error::Error> {
        let now = Instant::now();
        let awaited: Vec<Awaited> = self
            .served
            .iter()
            .filter(|(_, served)| !served.rests(now))
            .map(|(partition, served)| Awaited {
                partition: *partition,
                stream: served.stream.clone(),
                last: served.last.clone(),
            })
            .collect();
        if awaited.is_empty() {
            tokio::time::sleep(IDLE).await;
            return Ok(Vec::new());
        }
        waiter.wait(awaited).await
    }

    /// Waits until the first of those partitions is due that are left alone; for ever if there are none.
    async fn rested(&self) {
        let due = self.served.values().filter_map(Served::rests_until).min();
        match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Notes which partitions may have something; after a wait in vain, looks into all of them.
    fn wake(&mut self, partitions: &[Partition]) {
        for (partition, served) in &mut self.served {
            served.ready = partitions.is_empty() || partitions.contains(partition);
        }
    }

    async fn stumble(&mut self, error: &fred::error::Error, what: &'static str) {
        if self.pause.first() {
            tracing::warn!(%error, "{what}; trying until Redis is back");
        }
        self.pause.wait().await;
    }

    fn report(&self, report: LaneReport) {
        // Whoever listens outlives the lanes; if not, the process is ending.
        let _ = self.reports.send(report);
    }
}
