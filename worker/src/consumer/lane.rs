//! A lane: a task that serves some partitions, one batch at a time.
//!
//! A batch holds what all of them have to offer that is new, or what one of them has that was handed out before. Waiting takes
//! nothing from the streams, so a wake-up that is lost costs time only.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use confab_shared::id::{NodeId, Partition};
use confab_shared::lifecycle::Sign;
use confab_shared::model::command::{CommandEnvelope, Reply};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::presence::Online;
use confab_shared::redis::{Retries, connect};
use fred::clients::Client;
use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::batch::{Aftermath, Entry, Processor, Tenure};
use super::read::{IngressReader, RawEntry, Reading};
use super::traced;
use super::wait::{Awaited, Waiter};
use crate::broadcast::Broadcast;
use crate::pause::Pause;

/// How often a lane without partitions shows that it lives.
const IDLE: Duration = Duration::from_secs(1);
/// The id before every entry's.
const BEGINNING: &str = "0-0";

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

/// A partition being served.
struct Served {
    tenure: Tenure,
    stream: String,
    /// Whether entries may be pending that were handed out before: they come first.
    backlog: bool,
    /// Whether there may be new entries.
    ready: bool,
    /// The last entry read.
    last: String,
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
        }
    }
}

struct Lane {
    processor: Processor,
    served: BTreeMap<Partition, Served>,
    /// The partition of which a backlog was last read.
    claimed: Option<Partition>,
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
            reports,
            pause: Pause::default(),
            sign,
        }
    }

    fn obey(&mut self, command: LaneCommand) {
        match command {
            LaneCommand::Serve(Assignment {
                partition,
                epoch,
                lost,
            }) => {
                let served = Served {
                    tenure: Tenure { epoch, lost },
                    stream: Keyspace::ingress(partition),
                    backlog: true,
                    ready: true,
                    last: BEGINNING.to_owned(),
                };
                self.served.insert(partition, served);
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
        self.served
            .values()
            .any(|served| served.backlog || served.ready)
    }

    /// Which partition's backlog is next, if any has one: they take turns.
    fn backlogged(&self) -> Option<Partition> {
        let backlog = || self.served.iter().filter(|(_, served)| served.backlog);
        backlog()
            .find(|(partition, _)| Some(**partition) > self.claimed)
            .or_else(|| backlog().next())
            .map(|(partition, _)| *partition)
    }

    /// Reads what the partitions that may have something offer, and processes it as one batch.
    ///
    /// What was handed out before may have brought its worker down. It is not mixed with what other partitions offer, or that would be
    /// handed out again with it until it is set aside as well.
    async fn turn(&mut self) {
        let limit = self.processor.context.config.worker.batch_size;
        let reader = &self.processor.reader;
        let redis = &self.processor.context.metrics.redis;
        let backlogged = self.backlogged();
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
            let ready = || self.served.iter().filter(|(_, served)| served.ready);
            let share = (limit / ready().count().max(1)).max(1);
            let readings = ready().map(async |(partition, _)| {
                let read = redis.time("read", reader.read(*partition, share));
                (*partition, read.await)
            });
            (share, join_all(readings).await)
        };
        let mut aftermath = Aftermath::default();
        let mut batch = Vec::new();
        let mut failure = None;
        for (partition, reading) in readings {
            match reading {
                Ok(Reading::Entries(entries)) => {
                    self.accept(partition, entries, share, &mut batch, &mut aftermath)
                        .await;
                }
                Ok(Reading::CaughtUp) => {
                    if let Some(served) = self.served.get_mut(&partition) {
                        served.backlog = false;
                    }
                }
                Ok(Reading::Lost) => {
                    aftermath.lost.insert(partition);
                }
                Err(error) => {
                    // Entries may have been handed out without reaching us; or the group is gone. Claiming cures both.
                    aftermath.unsettled.insert(partition);
                    failure = Some(error);
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
        }
        self.settle(aftermath);
        match failure {
            Some(error) => self.stumble(&error, "cannot read commands").await,
            None => self.pause = Pause::default(),
        }
    }

    /// Sorts what was read into the batch, or among the dead letters.
    async fn accept(
        &mut self,
        partition: Partition,
        entries: Vec<RawEntry>,
        share: usize,
        batch: &mut Vec<Entry>,
        aftermath: &mut Aftermath,
    ) {
        let Some(served) = self.served.get_mut(&partition) else {
            return;
        };
        let redelivered = served.backlog;
        if !redelivered {
            // A share that was not filled means that there was no more.
            served.ready = entries.len() >= share;
            if let Some(newest) = entries.last() {
                served.last.clone_from(&newest.id);
            }
        }
        let limit = self.processor.context.config.worker.max_deliveries;
        let keyspace = self.processor.context.keyspace;
        for RawEntry {
            id,
            payload,
            deliveries,
        } in entries
        {
            let (reason, reply) = match serde_json::from_str::<CommandEnvelope>(&payload) {
                Ok(envelope) if deliveries > limit => {
                    let reason = format!("handed out {deliveries} times without an end");
                    (
                        reason,
                        Some(refuse(
                            &envelope,
                            ErrorCode::Timeout,
                            "not confirmed; it may have happened",
                        )),
                    )
                }
                Ok(envelope) if keyspace.partition(envelope.conversation) != partition => {
                    let reason = "not of this partition".to_owned();
                    (
                        reason,
                        Some(refuse(&envelope, ErrorCode::Internal, "internal error")),
                    )
                }
                Ok(envelope) => {
                    let span =
                        traced::command(&self.processor.context.traces, &envelope, partition);
                    batch.push(Entry {
                        partition,
                        id,
                        payload,
                        envelope,
                        redelivered,
                        span,
                    });
                    continue;
                }
                // The parser's own words quote what it read, and message texts are nothing for a log.
                Err(error) => (
                    format!(
                        "not a command: {:?} error in column {}",
                        error.classify(),
                        error.column()
                    ),
                    None,
                ),
            };
            self.processor
                .give_up(partition, &id, &payload, &reason, reply, aftermath)
                .await;
        }
    }

    fn settle(&mut self, aftermath: Aftermath) {
        for partition in aftermath.unsettled {
            if let Some(served) = self.served.get_mut(&partition) {
                served.backlog = true;
            }
        }
        for partition in aftermath.lost {
            if let Some(served) = self.served.remove(&partition) {
                self.report(LaneReport::Lost(partition, served.tenure.epoch));
            }
        }
    }

    /// Waits for an entry of any partition. Without partitions, for a while.
    async fn wait(&self, waiter: &mut Waiter) -> Result<Vec<Partition>, fred::error::Error> {
        if self.served.is_empty() {
            tokio::time::sleep(IDLE).await;
            return Ok(Vec::new());
        }
        let awaited = self.served.iter().map(|(partition, served)| Awaited {
            partition: *partition,
            stream: served.stream.clone(),
            last: served.last.clone(),
        });
        waiter.wait(awaited.collect()).await
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

/// A refusal of a command, for the node that waits for it.
fn refuse(envelope: &CommandEnvelope, code: ErrorCode, message: &str) -> (NodeId, Reply) {
    (
        envelope.node,
        Reply {
            id: envelope.id,
            outcome: Err(Rejection::new(code, message)),
        },
    )
}
