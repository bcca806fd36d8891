//! One partition's lane: appends what waits, one batch at a time, so that order needs no luck.
//!
//! While a batch is under way the next one gathers, so batches grow with load by themselves. A batch whose fate is unknown (the
//! connection broke) is appended again before anything later: the workers know commands by their ids.

use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::Partition;
use confab_shared::lifecycle::Sign;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Value;
use fred::types::scripts::Script;
use uuid::Uuid;

use super::attempt::Attempts;
use super::pending::{Batch, Pending};
use crate::config::IngressConfig;
use crate::metrics::Metrics;

const EXPIRY_TICK: Duration = Duration::from_millis(250);
const SHORTEST_BACKOFF: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// The appending side of one partition.
pub(super) struct Lane {
    redis: Client,
    script: Script,
    naming: Script,
    keys: [String; 2],
    /// The partition's epoch and the position that it begins with.
    memory: [String; 2],
    pending: Arc<Pending>,
    metrics: Arc<Metrics>,
    partition: Partition,
    epoch: String,
    backoff: Duration,
    batch_limit: usize,
    longest_stream: usize,
}

/// What came of an append.
enum Appended {
    /// This many are in the stream.
    Some(usize),
    /// Nothing was added: Redis is not what we knew.
    OtherEpoch,
}

impl Lane {
    /// A lane that knows nothing of Redis yet.
    pub(super) fn new(
        config: &IngressConfig,
        keyspace: Keyspace,
        partition: Partition,
        redis: Client,
        pending: Arc<Pending>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            memory: [
                Keyspace::partition_epoch(partition),
                keyspace.position(partition),
            ],
            naming: scripts::epoch(),
            redis,
            script: scripts::ingress_append(),
            keys: [
                Keyspace::ingress(partition),
                Keyspace::partition_epoch(partition),
            ],
            pending,
            metrics,
            partition,
            epoch: String::new(),
            backoff: SHORTEST_BACKOFF,
            batch_limit: config.append_batch,
            longest_stream: config.max_stream_length,
        }
    }

    /// Never ends by itself. Inputs: the pending table's changes, a tick that times commands out. The tick gives the sign of life, too, unless
    /// an append goes on for longer than any can: one that fails ends, so waiting for Redis is life.
    pub(super) async fn run(mut self, sign: Sign) {
        let (pending, waiting) = (self.pending.clone(), self.pending.clone());
        let timeout = self.redis.perf_config().default_command_timeout;
        let attempts = Attempts::of(timeout, LONGEST_BACKOFF);
        let append = async {
            loop {
                match pending.next_batch(self.batch_limit) {
                    Some(batch) => {
                        attempts.begin();
                        self.append(&batch).await;
                        attempts.end();
                    }
                    None => pending.changed().await,
                }
            }
        };
        let expire = async {
            let refusal = Rejection::new(
                ErrorCode::Timeout,
                "not confirmed in time; retry with the same tempId",
            );
            let mut tick = tokio::time::interval(EXPIRY_TICK);
            loop {
                tick.tick().await;
                if !attempts.are_stuck() {
                    sign.give();
                }
                waiting.expire(Instant::now(), &refusal);
            }
        };
        tokio::select! {
            () = append => {}
            () = expire => {}
        }
    }

    /// Appends a batch, or finds out why not. What is not known to be in the stream is tried again, oldest first.
    async fn append(&mut self, batch: &Batch) {
        let appending = self.try_append(batch);
        let error = match self.metrics.redis.time("append", appending).await {
            Ok(Appended::Some(count)) => {
                let shed = batch.payloads.len().saturating_sub(count);
                if shed > 0 {
                    self.metrics.overloaded_total.inc_by(shed as u64);
                }
                let refusal =
                    Rejection::new(ErrorCode::Overloaded, "the system is busy; retry later");
                self.pending.appended(batch, count, &refusal);
                self.backoff = SHORTEST_BACKOFF;
                return;
            }
            Ok(Appended::OtherEpoch) => match self.learn_epoch().await {
                Ok(()) => {
                    // What was appended before is gone, or may be: all of it goes first, in its order.
                    self.pending.readd();
                    return;
                }
                Err(error) => error,
            },
            Err(error) => {
                // It may have been appended, and what was appended before may be lost with a Redis that came back without it.
                self.pending.doubtful(batch);
                error
            }
        };
        tracing::warn!(partition = %self.partition, %error, "append failed; it will be tried again");
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }

    async fn try_append(&self, batch: &Batch) -> Result<Appended, fred::error::Error> {
        let longest = if batch.accepted {
            0
        } else {
            self.longest_stream
        };
        let mut arguments: Vec<Value> = Vec::with_capacity(batch.payloads.len() + 3);
        arguments.push(self.epoch.as_str().into());
        arguments.push(longest.to_string().into());
        arguments.push(run_id(&self.epoch).into());
        arguments.extend(batch.payloads.iter().cloned().map(Value::Bytes));
        let (status, detail): (String, String) =
            scripts::run(&self.script, &self.redis, self.keys.to_vec(), arguments).await?;
        if status == "epoch" {
            return Ok(Appended::OtherEpoch);
        }
        let count = detail.parse().map_err(|_| {
            fred::error::Error::new(
                fred::error::ErrorKind::Protocol,
                "ingress_append answered no number",
            )
        })?;
        Ok(Appended::Some(count))
    }

    /// Learns the epoch that Redis has, and gives it one if it has none, or another process's.
    async fn learn_epoch(&mut self) -> Result<(), fred::error::Error> {
        if !self.epoch.is_empty() {
            tracing::warn!(partition = %self.partition, "redis lost its memory; waiting commands are added again");
        }
        let fresh = Uuid::new_v4().simple().to_string();
        self.epoch =
            scripts::run(&self.naming, &self.redis, self.memory.to_vec(), vec![fresh]).await?;
        Ok(())
    }
}

/// The run_id of the process that gave an epoch: its end.
fn run_id(epoch: &str) -> &str {
    epoch.rsplit(':').next().unwrap_or_default()
}
