//! The ingress: the way of commands from this gateway to the partitions' workers.
//!
//! Guarantees: commands accepted for one partition enter its stream in the order in which they were accepted here, whatever
//! happens to Redis between; each gets exactly one answer, a worker's or a refusal; and what waits is bounded. A command may enter
//! the stream more than once (workers tell by its id); one whose time is up may still take effect.

mod attempt;
mod lane;
mod pending;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::{CommandId, ConversationId, NodeId, UserId};
use confab_shared::lifecycle::{Vitals, spawn_vital};
use confab_shared::model::command::{Command, CommandEnvelope, Outcome, Reply};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::telemetry::{Kind, Parent, Span, current};
use fred::clients::Client;
use fred::interfaces::EventInterface;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::IngressConfig;
use crate::metrics::Metrics;
use lane::Lane;
use pending::{Completion, Pending, Refused};

/// The node's way to the workers. Cheap to clone.
#[derive(Clone)]
pub struct Ingress {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeId,
    keyspace: Keyspace,
    lanes: Vec<Arc<Pending>>,
    reply_timeout: Duration,
    closed: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Ingress {
    /// Starts one lane per partition over `redis`, a connection of its own on which nothing is sent twice behind our back.
    pub fn start(
        config: &IngressConfig,
        node: NodeId,
        keyspace: Keyspace,
        redis: &Client,
        metrics: &Arc<Metrics>,
        vitals: &Vitals,
        stop: &CancellationToken,
    ) -> Self {
        let lanes = keyspace
            .partitions()
            .map(|partition| {
                let pending = Arc::new(Pending::new(config.max_pending));
                let lane = Lane::new(
                    config,
                    keyspace,
                    partition,
                    redis.clone(),
                    pending.clone(),
                    metrics.clone(),
                );
                spawn_vital("ingress lane", stop, lane.run(vitals.part("ingress lane")));
                pending
            })
            .collect();
        let reply_timeout = Duration::from_millis(config.reply_timeout_ms);
        let inner = Inner {
            node,
            keyspace,
            lanes,
            reply_timeout,
            closed: AtomicBool::new(false),
            metrics: metrics.clone(),
        };
        let ingress = Self {
            inner: Arc::new(inner),
        };
        // A Redis that came back may lack what it had taken, though it remembers its epoch (a snapshot, a failover).
        let (mut reconnections, again) = (redis.reconnect_rx(), ingress.clone());
        spawn_vital("ingress reconnection", stop, async move {
            while !matches!(reconnections.recv().await, Err(RecvError::Closed)) {
                again.readd_all();
            }
        });
        ingress
    }

    /// Sends a command. `done` is called exactly once: with the worker's answer, or with OVERLOADED, TIMEOUT or INTERNAL.
    ///
    /// Never waits. `done` may be called at once, and must not block. What becomes of the command is traced below `parent`.
    pub fn submit(
        &self,
        id: CommandId,
        conversation: ConversationId,
        actor: UserId,
        command: Command,
        parent: Option<&Parent>,
        done: impl FnOnce(Result<Outcome, Rejection>) + Send + 'static,
    ) {
        let inner = &*self.inner;
        if inner.closed.load(Ordering::Relaxed) {
            done(Err(Rejection::new(
                ErrorCode::Overloaded,
                "the gateway is shutting down; reconnect and retry",
            )));
            return;
        }
        let name = command.name();
        let started = Instant::now();
        let metrics = inner.metrics.clone();
        metrics.commands_total.with_label_values(&[name]).inc();
        metrics.commands_pending.inc();
        let done: Completion = Box::new(move |outcome| {
            metrics.answered(name, started.elapsed(), &outcome);
            done(outcome);
        });
        let partition = inner.keyspace.partition(conversation);
        let mut span = parent.map_or_else(Span::default, |parent| {
            parent.child("send ingress", Kind::Producer)
        });
        span.messaging("send", "ingress");
        span.describe(|| {
            [
                (
                    "messaging.destination.partition.id",
                    partition.to_string().into(),
                ),
                ("messaging.message.id", id.to_string().into()),
            ]
        });
        let envelope = CommandEnvelope {
            id,
            node: inner.node,
            conversation,
            actor,
            command,
            trace: span.context(),
        };
        let payload = match serde_json::to_vec(&envelope) {
            Ok(payload) => Bytes::from(payload),
            Err(error) => {
                tracing::error!(%error, command = name, "a command could not be encoded");
                done(Err(Rejection::new(ErrorCode::Internal, "internal error")));
                return;
            }
        };
        let lane = &inner.lanes[usize::from(partition.0)];
        let deadline = started + inner.reply_timeout;
        if let Err(Refused(done)) = lane.insert(id, payload, deadline, span, done) {
            inner.metrics.overloaded_total.inc();
            done(Err(Rejection::new(
                ErrorCode::Overloaded,
                "too many requests are waiting; retry later",
            )));
        }
    }

    /// Sends a command and waits for its answer. It is traced if that is on whose behalf it is sent.
    pub async fn request(
        &self,
        id: CommandId,
        conversation: ConversationId,
        actor: UserId,
        command: Command,
    ) -> Result<Outcome, Rejection> {
        let (sender, outcome) = oneshot::channel();
        let parent = current();
        let done = move |outcome| {
            // Whoever asked may have gone; the command takes effect all the same.
            let _ = sender.send(outcome);
        };
        self.submit(id, conversation, actor, command, parent.as_ref(), done);
        outcome
            .await
            .unwrap_or_else(|_| Err(Rejection::new(ErrorCode::Internal, "internal error")))
    }

    /// A worker answered.
    pub fn reply(&self, reply: &Reply) {
        // A reply does not say its partition: nearly always one lane knows the id, and asking is one hash look-up each.
        if self
            .inner
            .lanes
            .iter()
            .any(|lane| lane.complete(reply.id, &reply.outcome))
        {
            return;
        }
        tracing::debug!(command = %reply.id, "a reply to a command that waits no more");
    }

    /// Replies may have been lost, or Redis its memory: every command that waits is added again, in order.
    pub fn readd_all(&self) {
        for lane in &self.inner.lanes {
            lane.readd();
        }
    }

    /// How many commands wait.
    pub fn pending(&self) -> usize {
        self.inner.lanes.iter().map(|lane| lane.len()).sum()
    }

    /// Takes no more commands and waits until none is waiting. Each has a time-out, which bounds this.
    pub async fn drain(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
        while self.pending() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
