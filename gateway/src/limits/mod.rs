//! Rate limits: how often users may do what, counted across all nodes.
//!
//! GCRA in Redis, one key per class and subject, Redis' own clock; who wants more than he may is blocked, and for longer each time. Owns
//! those keys, the classes and their figures; must never know what a request means or in which words it is refused.
//!
//! It is asked before a command is appended, and not by the script that appends: a user's counter has nothing to do with the
//! partition of the conversation (on a Redis Cluster no script could have both), and what is refused must not be appended. What that costs is
//! one round trip, shared by all who wait for one: a task takes questions in the order in which they come, asks them in batches,
//! one script call each, several under way at a time, and goes on with each question in that order. So nothing that a [`Line`] brings
//! overtakes what it brought before.
//!
//! Guarantees: exactly as many as a limit says come through, however many sockets and nodes they come from, while Redis keeps its memory.
//! While it is away, or says nothing for a second, all are let through (what would store their messages is away as well) and it is counted
//! how many; on a cluster, those whose slot it is, and nobody else. After it forgot everything, limits begin anew. Where a class is off,
//! nothing is asked, and nothing waits.

mod blocks;
mod class;
mod counters;
mod rate;
mod task;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use confab_shared::lifecycle::spawn_vital;
use confab_shared::redis::keyspace::Keyspace;
use fred::clients::Client;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use blocks::Blocks;
pub use class::{Class, Subject};
use counters::Counters;
pub use rate::{Figures, Rate, RateLimitsConfig};
use task::{Item, Task};
pub use verdict::{Refusal, Standing, Verdict};

/// How many may wait to be told. More are refused.
const WAITING: usize = 16_384;

/// Whether somebody may do something of a class.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// What.
    pub class: Class,
    /// Whose.
    pub subject: Subject,
}

/// The limits of a node's users. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    rates: [Option<Rate>; Class::ALL.len()],
    /// None where nothing is limited.
    queue: Option<mpsc::Sender<Item>>,
    blocks: Arc<Blocks>,
    counters: Arc<Counters>,
}

/// What one socket brings, in order.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<AtomicUsize>);

/// Something of a line that waits.
struct Place(Line);

impl Line {
    fn enter(&self) -> Place {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }

    fn is_empty(&self) -> bool {
        // Whoever reads zero sees all that was done by those who left.
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}

impl Figures {
    /// Whether nothing is limited.
    pub fn are_off(&self) -> bool {
        self.rates.iter().all(Option::is_none)
    }
}

impl Limits {
    /// Nothing is limited.
    pub fn off(metrics: &Arc<Metrics>) -> Self {
        Self {
            rates: [None; Class::ALL.len()],
            queue: None,
            blocks: Arc::default(),
            counters: Arc::new(Counters::new(metrics)),
        }
    }

    /// Starts the task that asks `redis`: a connection of its own, on which nothing is sent twice behind our back, since it would
    /// count twice.
    pub fn start(
        figures: &Figures,
        redis: Client,
        keyspace: Keyspace,
        metrics: &Arc<Metrics>,
        stop: &CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let (blocks, counters) = (Arc::default(), Arc::new(Counters::new(metrics)));
        let task = Task::new(
            figures,
            redis,
            keyspace,
            Arc::clone(&blocks),
            counters.clone(),
        );
        spawn_vital("limits", stop, task.run(waiting));
        Self {
            rates: figures.rates,
            queue: Some(queue),
            blocks,
            counters,
        }
    }

    /// Whether it is known on this node, without asking, that this may not be done now. Nothing is counted.
    pub fn recall(&self, class: Class, subject: Subject) -> Verdict {
        self.refused_just_now(&Question { class, subject })
            .map_or(Ok(None), Err)
    }

    /// Whether this may be done now; if so, it is counted.
    pub async fn ask(&self, class: Class, subject: Subject) -> Verdict {
        self.ask_for(class, subject, 1).await
    }

    /// How many of a class may come at once; none: any number.
    pub fn most(&self, class: Class) -> Option<u32> {
        self.rates[class as usize].map(|rate| rate.most)
    }

    /// Whether this may be done now so many times; if so, all of them are counted, else none is. More than [`most`](Self::most) are
    /// counted as that many.
    pub async fn ask_for(&self, class: Class, subject: Subject, wanted: u32) -> Verdict {
        if self.rates[class as usize].is_none() {
            return Ok(None);
        }
        let question = Question { class, subject };
        if let Some(refusal) = self.refused_just_now(&question) {
            return Err(refusal);
        }
        let (told, verdict) = oneshot::channel();
        self.enqueue(Item {
            question: Some(question),
            wanted,
            then: Box::new(move |verdict| {
                // Whoever asked may have gone.
                let _ = told.send(verdict);
            }),
        });
        // The node is shutting down: nothing is counted any more.
        verdict.await.unwrap_or(Ok(None))
    }

    /// Goes on with something when everything is done that came in this line before, and it is known whether it may be; a refusal may
    /// come sooner. `then` must not block; it is called at once where nothing is asked and nothing waits.
    pub fn pass(
        &self,
        line: &Line,
        question: Option<Question>,
        then: impl FnOnce(Verdict) + Send + 'static,
    ) {
        let question = question.filter(|asked| self.rates[asked.class as usize].is_some());
        let refused = question
            .as_ref()
            .and_then(|asked| self.refused_just_now(asked));
        if let Some(refusal) = refused {
            return then(Err(refusal));
        }
        if question.is_none() && line.is_empty() {
            return then(Ok(None));
        }
        let place = line.enter();
        self.enqueue(Item {
            question,
            wanted: 1,
            then: Box::new(move |verdict| {
                then(verdict);
                drop(place);
            }),
        });
    }

    fn refused_just_now(&self, question: &Question) -> Option<Refusal> {
        let refusal = self.blocks.refusal(question, Instant::now())?;
        self.counters.of(question.class).limited.inc();
        Some(refusal)
    }

    fn enqueue(&self, item: Item) {
        let refused = match &self.queue {
            Some(queue) => queue.try_send(item),
            None => Err(TrySendError::Closed(item)),
        };
        match refused {
            Ok(()) => {}
            Err(TrySendError::Full(item)) => {
                self.counters.metrics.overloaded_total.inc();
                (item.then)(Err(Refusal::Overloaded));
            }
            // The node is shutting down: nothing is counted any more.
            Err(TrySendError::Closed(item)) => (item.then)(Ok(None)),
        }
    }
}
