//! The task that asks Redis, in batches, and goes on in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::types::Value;
use fred::types::scripts::Script;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;

use super::blocks::Blocks;
use super::counters::Counters;
use super::{Class, Figures, Question, Rate, Refusal, Standing, Verdict};

/// How long Redis may take for a batch. Longer, and all of it is let through.
const PATIENCE: Duration = Duration::from_secs(1);
/// After how long a Redis that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// The most questions of a batch.
const BATCH: usize = 256;
/// How many batches may be under way. While they are, what comes gathers.
const FLIGHTS: usize = 8;

/// Something that waits: for an answer, or only for what came before it.
pub(super) struct Item {
    pub(super) question: Option<Question>,
    /// How many times.
    pub(super) wanted: u32,
    /// What happens then. Must not block.
    pub(super) then: Box<dyn FnOnce(Verdict) + Send>,
}

/// What the script answers.
struct Answered {
    verdict: u64,
    left: u64,
    reset: u64,
    wait: u64,
    strikes: u64,
}

impl Answered {
    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            verdict: next()?,
            left: next()?,
            reset: next()?,
            wait: next()?,
            strikes: next()?,
        })
    }
}

/// Asks Redis.
struct Asker {
    redis: Client,
    keyspace: Keyspace,
    script: Script,
    /// What the script is told of blocks,
    blocks: [Value; 3],
    /// and what of each class.
    classes: [[Value; 2]; Class::ALL.len()],
}

/// A batch that has come back. An answer that is missing was not asked for, or did not come.
struct Landed {
    items: Vec<Item>,
    answers: Vec<Option<Answered>>,
    /// Why there are none at all.
    failed: Option<Error>,
    /// How long Redis took, if it was asked.
    took: Option<Duration>,
}

/// See the module.
pub(super) struct Task {
    asker: Arc<Asker>,
    rates: [Option<Rate>; Class::ALL.len()],
    blocks: Arc<Blocks>,
    counters: Arc<Counters>,
    /// Redis did not answer, and is asked again at this time.
    away: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        figures: &Figures,
        redis: Client,
        keyspace: Keyspace,
        blocks: Arc<Blocks>,
        counters: Arc<Counters>,
    ) -> Self {
        let text = |number: u128| Value::from(number.to_string());
        let classes = figures.rates.map(|rate| {
            let (most, interval) = rate.map_or((0, 0), |rate| {
                (u128::from(rate.most), rate.interval.as_micros())
            });
            [text(most), text(interval)]
        });
        let times = [figures.block, figures.longest_block, figures.forget];
        Self {
            asker: Arc::new(Asker {
                redis,
                keyspace,
                script: scripts::limit(),
                blocks: times.map(|time| text(time.as_micros())),
                classes,
            }),
            rates: figures.rates,
            blocks,
            counters,
            away: None,
        }
    }

    /// Ends when nobody can ask any more. Inputs: what is to pass, batches that come back.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Item>) {
        let mut flights = FuturesOrdered::new();
        let mut is_open = true;
        while is_open || !flights.is_empty() {
            let mut items = Vec::new();
            tokio::select! {
                biased;
                Some(landed) = flights.next() => self.land(landed),
                count = waiting.recv_many(&mut items, BATCH), if is_open && flights.len() < FLIGHTS => {
                    is_open = count > 0;
                    let asks = items.iter().any(|item| item.question.is_some()) && self.asks();
                    flights.push_back(fly(self.asker.clone(), items, asks));
                }
            }
        }
    }

    /// Whether Redis is to be asked, or is away. When it has been for a while one batch is sent to find out, and others are not until that
    /// one knows.
    fn asks(&mut self) -> bool {
        let now = Instant::now();
        match self.away {
            Some(until) if now < until => false,
            Some(_) => {
                self.away = Some(now + PATIENCE + PAUSE);
                true
            }
            None => true,
        }
    }

    fn land(&mut self, landed: Landed) {
        match landed.failed {
            Some(error) => {
                if self.away.is_none() {
                    self.counters.metrics.redis.failed("limit");
                    tracing::warn!(%error, "rate limits cannot be asked for; all are let through until they can");
                }
                self.away = Some(Instant::now() + PAUSE);
            }
            None => {
                if let Some(took) = landed.took {
                    self.counters.metrics.redis.took("limit", took);
                }
                if landed.took.is_some() && self.away.take().is_some() {
                    tracing::info!("rate limits hold again");
                }
            }
        }
        let mut answers = landed.answers.into_iter();
        for item in landed.items {
            let verdict = match &item.question {
                Some(question) => self.verdict(question, answers.next().flatten()),
                None => Ok(None),
            };
            (item.then)(verdict);
        }
    }

    fn verdict(&self, question: &Question, answered: Option<Answered>) -> Verdict {
        let counters = self.counters.of(question.class);
        let rate = self.rates[question.class as usize];
        let (Some(answered), Some(rate)) = (answered, rate) else {
            counters.failed_open.inc();
            return Ok(None);
        };
        let standing = Standing {
            most: rate.most,
            remaining: u32::try_from(answered.left).unwrap_or(rate.most),
            reset: Duration::from_millis(answered.reset),
        };
        if answered.verdict == 0 {
            counters.allowed.inc();
            return Ok(Some(standing));
        }
        counters.limited.inc();
        let retry_after = Duration::from_millis(answered.wait);
        let now = Instant::now();
        self.blocks.note(question, standing, retry_after, now);
        if answered.verdict == 2 {
            counters.blocks.inc();
            let (class, strikes) = (question.class.as_str(), answered.strikes);
            let seconds = retry_after.as_secs_f64();
            tracing::info!(class, subject = %question.subject, seconds, strikes, "somebody is blocked for a while");
        }
        Err(Refusal::Limited {
            standing,
            retry_after,
        })
    }
}

async fn fly(asker: Arc<Asker>, items: Vec<Item>, asks: bool) -> Landed {
    let begun = Instant::now();
    let answers = if asks {
        let questions = items
            .iter()
            .filter_map(|item| Some((item.question.as_ref()?, item.wanted)));
        let questions: Vec<(&Question, u32)> = questions.collect();
        tokio::time::timeout(PATIENCE, asker.ask(&questions))
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer in time")))
    } else {
        Ok(Vec::new())
    };
    let (answers, failed) = match answers {
        Ok(answers) => (answers, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Landed {
        items,
        answers,
        failed,
        took: asks.then(|| begun.elapsed()),
    }
}

impl Asker {
    /// The answers to some questions, each with how many are wanted, in their order: one call, or on a cluster one for each slot.
    async fn ask(&self, questions: &[(&Question, u32)]) -> Result<Vec<Option<Answered>>, Error> {
        if !self.keyspace.is_clustered() {
            return self.call(questions.iter()).await;
        }
        let mut homes: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
        for (index, (question, _)) in questions.iter().enumerate() {
            let home = self.keyspace.home(&question.subject);
            homes.entry(home).or_default().push(index);
        }
        let calls = homes.into_values().map(async |indices| {
            let some = indices.iter().filter_map(|index| questions.get(*index));
            let answers = self.call(some).await?;
            Ok::<_, Error>(indices.into_iter().zip(answers))
        });
        let mut all: Vec<Option<Answered>> = questions.iter().map(|_| None).collect();
        for (index, answer) in try_join_all(calls).await?.into_iter().flatten() {
            all[index] = answer;
        }
        Ok(all)
    }

    /// The answers to questions whose subjects are all on one slot.
    async fn call<'q>(
        &self,
        questions: impl Iterator<Item = &'q (&'q Question, u32)>,
    ) -> Result<Vec<Option<Answered>>, Error> {
        let (mut keys, mut arguments) = (Vec::new(), self.blocks.to_vec());
        for (Question { class, subject }, wanted) in questions {
            keys.push(self.keyspace.limit(class.as_str(), subject));
            arguments.extend_from_slice(&self.classes[*class as usize]);
            arguments.push(Value::from(wanted.to_string()));
        }
        let answers: Vec<String> = self
            .script
            .evalsha_with_reload(&self.redis, keys, arguments)
            .await?;
        Ok(answers
            .iter()
            .map(|answer| Answered::read(answer))
            .collect())
    }
}
