//! Seeing a batch through: load, decide, store, announce, reply, acknowledge.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use confab_shared::id::Partition;
use confab_shared::lifecycle::Sign;
use confab_shared::model::command::{CommandEnvelope, Reply};
use confab_shared::model::conversation::Participant;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::{Fact, RoomBatch};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{Stored, load, load_details, store};
use confab_shared::redis::presence::Online;
use confab_shared::seen;
use confab_shared::telemetry::Span;
use fred::clients::Client;
use futures_util::future::join_all;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fault::{Failure, Fault};
use super::read::IngressReader;
use super::{Context, failpoint, traced};
use crate::broadcast::{Broadcast, FanOut};
use crate::handler::{Announcements, Bounds, Request, decide, details, wanted};
use crate::pause::Pause;

/// How often a batch is decided anew because a conversation had moved, before that is taken for a fault in the batch.
const MAX_STALE: u32 = 5;
/// How often a batch exceeds what the database gives it, before it is taken to be too large.
const MAX_OVERRUNS: u32 = 2;

/// A command on its way through a batch.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: Partition,
    /// Its id in the ingress stream.
    pub(super) id: String,
    /// Kept for the dead letters.
    pub(super) payload: String,
    pub(super) envelope: CommandEnvelope,
    /// Whether it was handed out before, so that it may have taken effect without having been announced.
    pub(super) redelivered: bool,
    /// What becomes of it, if that is traced.
    pub(super) span: Span,
}

/// The right to process a partition.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    pub(super) epoch: i64,
    /// Cancelled once the lease is known to be gone.
    pub(super) lost: CancellationToken,
}

/// What became of a batch, beside what was stored and said.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// Partitions that have another owner.
    pub(super) lost: HashSet<Partition>,
    /// Partitions of which entries may have stayed unacknowledged.
    pub(super) unsettled: HashSet<Partition>,
    /// Those of them whose server does not take what is to be announced.
    pub(super) refused: HashSet<Partition>,
}

/// Processes batches, one at a time, on connections of its own.
pub(super) struct Processor {
    pub(super) context: Context,
    pub(super) client: Client,
    pub(super) reader: IngressReader,
    pub(super) broadcast: Broadcast,
    pub(super) online: Online,
    /// Kept from one batch to the next: taking it from the pool costs a round trip.
    pub(super) connection: Option<PoolConnection<Postgres>>,
    pub(super) sign: Sign,
}

impl Processor {
    /// Sees a batch through, whatever it takes: an entry ends acknowledged, as a dead letter, or with another owner.
    pub(super) async fn process(
        &mut self,
        entries: Vec<Entry>,
        tenures: &HashMap<Partition, Tenure>,
    ) -> Aftermath {
        let started = Instant::now();
        self.context
            .metrics
            .batch_size
            .observe(as_f64(entries.len()));
        let mut aftermath = Aftermath::default();
        // A batch that the database refuses is halved until the culprit is alone. The halves stay in order.
        let mut waiting = vec![entries];
        let mut pause = Pause::default();
        let (mut stale, mut overruns) = (0, 0);
        let span = traced::batch(&self.context.traces, &mut waiting);
        while let Some(mut entries) = waiting.pop() {
            self.sign.give();
            entries.retain(|entry| !aftermath.lost.contains(&entry.partition));
            if entries.is_empty() {
                continue;
            }
            let patience = self.context.config.database.patience();
            let attempt = match timeout(patience, self.attempt(&entries, tenures, &span)).await {
                Ok(attempt) => attempt,
                // The server ends a slow statement itself; a connection whose other end is gone ends never. The call that was given up has
                // been counted.
                Err(_) => Err(Failure::Database(Fault::Overrun, sqlx::Error::PoolTimedOut)),
            };
            match attempt {
                Ok(announcements) => {
                    self.conclude(&entries, announcements, &mut aftermath).await;
                    (pause, stale, overruns) = (Pause::default(), 0, 0);
                    continue;
                }
                Err(Failure::Fenced(partitions)) => {
                    tracing::warn!(
                        ?partitions,
                        "these partitions have another owner; their commands are left to it"
                    );
                    self.context.metrics.fenced_total.inc();
                    aftermath.lost.extend(partitions);
                }
                Err(Failure::Stale) if stale < MAX_STALE => {
                    stale += 1;
                    self.context.metrics.stale_total.inc();
                    repeat(&mut entries);
                }
                Err(Failure::Stale) => {
                    self.divide(
                        entries,
                        "conversation keeps moving",
                        &mut waiting,
                        &mut aftermath,
                    )
                    .await;
                    continue;
                }
                Err(Failure::Database(fault @ (Fault::Away | Fault::Overrun), error)) => {
                    if pause.first() {
                        tracing::warn!(%error, "PostgreSQL does not answer; trying until it is back");
                    }
                    pause.wait().await;
                    let gone = |partition: &Partition| {
                        tenures
                            .get(partition)
                            .is_none_or(|tenure| tenure.lost.is_cancelled())
                    };
                    aftermath
                        .lost
                        .extend(entries.iter().map(|entry| entry.partition).filter(gone));
                    repeat(&mut entries);
                    overruns += u32::from(fault == Fault::Overrun);
                    if overruns >= MAX_OVERRUNS && entries.len() > 1 {
                        // Perhaps it asks too much at once. A single command never does: it waits for better times.
                        tracing::warn!(
                            commands = entries.len(),
                            "a batch exceeds what PostgreSQL gives it; halving it"
                        );
                        waiting.push(entries.split_off(entries.len() / 2));
                    }
                }
                Err(Failure::Database(Fault::Entry, error)) => {
                    self.divide(entries, &error.to_string(), &mut waiting, &mut aftermath)
                        .await;
                    continue;
                }
            }
            waiting.push(entries);
        }
        self.context
            .metrics
            .batch_seconds
            .observe(started.elapsed().as_secs_f64());
        aftermath
    }

    /// Loads, decides and stores. Nothing of it is seen by anybody unless it is stored whole.
    async fn attempt(
        &mut self,
        entries: &[Entry],
        tenures: &HashMap<Partition, Tenure>,
        span: &Span,
    ) -> Result<Announcements, Failure> {
        let requests: Vec<Request<'_>> = entries
            .iter()
            .map(|entry| Request {
                envelope: &entry.envelope,
                redelivered: entry.redelivered,
            })
            .collect();
        let postgres = self.context.metrics.postgres.clone();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            // Whatever stands between us and a connection, no command brought it about.
            None => postgres
                .time("connect", self.context.pool.acquire())
                .await
                .map_err(|error| Failure::Database(Fault::Away, error))?,
        };
        // Kept after a batch that went well. After any error it is given up: it may lead to a server that takes no changes any more.
        connection.close_on_drop();
        let bounds = Bounds {
            max_members: i64::from(self.context.config.worker.max_members),
        };
        let statement = |name| traced::statement(span, name, entries.len());
        let asked = wanted(&requests);
        let loading = statement("load batch").around(load(&mut connection, &asked));
        let found = postgres.time("load", loading).await?;
        let asked = details(bounds, &requests, &found);
        let loading = load_details(&mut connection, &asked);
        let loading = statement("load details").around(loading);
        let more = postgres.time("load", loading).await?;
        let decided = decide(Timestamp::now(), bounds, &requests, found, more);

        // Even if nothing changes: a refusal decided by a former owner must not reach anybody.
        let mut fence: Vec<(Partition, i64)> = Vec::new();
        for entry in entries {
            if !fence
                .iter()
                .any(|(partition, _)| *partition == entry.partition)
            {
                let Some(tenure) = tenures.get(&entry.partition) else {
                    return Err(Failure::Fenced(vec![entry.partition]));
                };
                fence.push((entry.partition, tenure.epoch));
            }
        }
        failpoint::reach("worker::before_commit");
        let storing = store(&mut connection, &fence, &decided.changes);
        let storing = statement("store batch").around(storing);
        let stored = postgres.time("store", storing).await?;
        self.connection = Some(connection);
        match stored {
            Stored::Committed(ids) => {
                failpoint::reach("worker::after_commit");
                Ok(decided.announce(&ids))
            }
            Stored::Fenced(partitions) => Err(Failure::Fenced(partitions)),
            Stored::Stale => Err(Failure::Stale),
        }
    }

    /// Announces, replies and acknowledges what was stored.
    async fn conclude(
        &self,
        entries: &[Entry],
        mut announcements: Announcements,
        aftermath: &mut Aftermath,
    ) {
        let mut rooms: HashMap<Partition, Vec<RoomBatch>> = HashMap::new();
        let mut announced = announcements.rooms;
        self.note_online(&mut announced).await;
        let announcing = traced::announcements(entries, &announcements.outcomes, &mut announced);
        for room in announced {
            rooms
                .entry(self.context.keyspace.partition(room.conversation))
                .or_default()
                .push(room);
        }
        let announced = rooms.iter().map(async |(partition, rooms)| {
            (*partition, self.broadcast.rooms(*partition, rooms).await)
        });
        for (partition, fan_out) in join_all(announced).await {
            match fan_out {
                FanOut::Announced => {}
                FanOut::Lost => {
                    tracing::warn!(%partition, "another worker owns the partition; it announces what was stored here");
                    self.context.metrics.fenced_total.inc();
                    aftermath.lost.insert(partition);
                }
                FanOut::Refused => {
                    tracing::warn!(%partition, "what was stored cannot be announced; its commands will be handed out again");
                    aftermath.refused.insert(partition);
                }
            }
        }
        aftermath.unsettled.extend(&aftermath.refused);
        drop(announcing);
        self.sign.give();
        failpoint::reach("worker::after_fan_out");

        let kept = |partition| {
            !aftermath.lost.contains(&partition) && !aftermath.refused.contains(&partition)
        };
        let mut replies = Vec::with_capacity(entries.len());
        let mut done: HashMap<Partition, Vec<&str>> = HashMap::new();
        for (entry, outcome) in entries.iter().zip(announcements.outcomes) {
            if kept(entry.partition) {
                self.count(entry, &outcome);
                replies.push((
                    entry.envelope.node,
                    Reply {
                        id: entry.envelope.id,
                        outcome,
                    },
                ));
                done.entry(entry.partition).or_default().push(&entry.id);
            }
        }
        // Nobody is told of a change before the room is: it is said when the commands are handed out again.
        announcements.notices.retain(|(_, notice)| {
            let partition = self.context.keyspace.partition(notice.conversation());
            !aftermath.refused.contains(&partition)
        });
        let replying = traced::replies(entries);
        self.broadcast
            .notices_and_replies(&announcements.notices, replies)
            .await;
        drop(replying);
        failpoint::reach("worker::after_reply");
        self.acknowledge(done, aftermath).await;
    }

    /// Members who are added are shown with whether they are online: nobody who listens could find out in time.
    async fn note_online(&self, rooms: &mut [RoomBatch]) {
        let added = rooms
            .iter_mut()
            .flat_map(|room| &mut room.events)
            .filter_map(|event| match &mut event.fact {
                Fact::MembersAdded { members } => Some(members),
                _ => None,
            });
        let added: Vec<&mut Participant> = added.flatten().collect();
        if !added.is_empty() {
            seen::note_online(&self.online, &self.context.pool, added).await;
        }
    }

    /// Halves a batch that cannot be stored, or gives a single command up.
    async fn divide(
        &mut self,
        mut entries: Vec<Entry>,
        reason: &str,
        waiting: &mut Vec<Vec<Entry>>,
        aftermath: &mut Aftermath,
    ) {
        if entries.len() > 1 {
            let rest = entries.split_off(entries.len() / 2);
            waiting.push(rest);
            waiting.push(entries);
        } else if let Some(mut entry) = entries.pop() {
            entry.span.fail("set aside");
            let outcome = Err(Rejection::new(ErrorCode::Internal, "internal error"));
            let reply = Reply {
                id: entry.envelope.id,
                outcome,
            };
            let reply = Some((entry.envelope.node, reply));
            self.give_up(
                entry.partition,
                &entry.id,
                &entry.payload,
                reason,
                reply,
                aftermath,
            )
            .await;
        }
    }
}

/// Marks commands whose first attempt may have been committed after all, though its answer was lost.
fn repeat(entries: &mut [Entry]) {
    for entry in entries {
        entry.redelivered = true;
    }
}

/// Exact for every count that a batch can have.
fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
