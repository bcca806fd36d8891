//! The task that asks Redis, in batches, and goes on in order.

use std::collections::{BTreeMap, HashMap};
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
use futures_util::future::join_all;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use tokio::sync::mpsc;

use super::blocks::Blocks;
use super::counters::Counters;
use super::{Class, Figures, Question, Rate, Refusal, Standing, Verdict};

/// How long Redis may take for a batch. Longer, and all of it is let through.
const PATIENCE: Duration = Duration::from_secs(1);
/// After how long a slot that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long a slot is taken to be away that nobody asks any more.
const REMEMBERED: Duration = Duration::from_secs(60);
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

/// The items of a batch that are asked about, by the partition on whose slot their subjects are. Without a cluster all are on one.
type Slots = BTreeMap<Partition, Vec<usize>>;

/// A slot that was away, and whether it answers again.
struct Probed {
    slot: Partition,
    failed: Option<Error>,
    took: Duration,
}

/// A batch that has come back.
struct Landed {
    items: Vec<Item>,
    /// The answer to each item. One that is missing was not asked for, or did not come.
    answers: Vec<Option<Answered>>,
    /// The slots that were asked, and why one did not answer.
    slots: Vec<(Partition, Option<Error>)>,
    /// How long that took.
    took: Duration,
}

/// See the module.
pub(super) struct Task {
    asker: Arc<Asker>,
    rates: [Option<Rate>; Class::ALL.len()],
    blocks: Arc<Blocks>,
    counters: Arc<Counters>,
    /// The slots that did not answer, and when each is asked again.
    away: HashMap<Partition, Instant>,
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
            away: HashMap::new(),
        }
    }

    /// Ends when nobody can ask any more. Inputs: what is to pass, batches that come back, word from slots that were away. Nobody waits for the
    /// last: who is let through does not have to stand behind a server that is silent.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Item>) {
        let (mut flights, mut probes) = (FuturesOrdered::new(), FuturesUnordered::new());
        let mut is_open = true;
        while is_open || !flights.is_empty() {
            let mut items = Vec::new();
            tokio::select! {
                biased;
                Some(landed) = flights.next() => self.land(landed),
                Some(Probed { slot, failed, took }) = probes.next() => self.note(vec![(slot, failed)], took),
                count = waiting.recv_many(&mut items, BATCH), if is_open && flights.len() < FLIGHTS => {
                    is_open = count > 0;
                    let (slots, due) = self.slots(&items);
                    for (slot, index) in due {
                        probes.extend(probe(&self.asker, slot, &items[index]));
                    }
                    flights.push_back(fly(self.asker.clone(), items, slots));
                }
            }
        }
    }

    /// What a batch asks, and where; and the slots that it is time to ask again, each with something to ask.
    fn slots(&mut self, items: &[Item]) -> (Slots, Vec<(Partition, usize)>) {
        let mut slots = Slots::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(question) = &item.question {
                let slot = self.asker.slot(question);
                slots.entry(slot).or_default().push(index);
            }
        }
        let (now, mut due) = (Instant::now(), Vec::new());
        slots.retain(|slot, indices| {
            let Some(until) = self.away.get_mut(slot) else {
                return true;
            };
            if *until <= now {
                *until = now + PATIENCE + PAUSE;
                due.extend(indices.first().map(|index| (*slot, *index)));
            }
            false
        });
        (slots, due)
    }

    fn land(&mut self, landed: Landed) {
        self.note(landed.slots, landed.took);
        for (item, answered) in landed.items.into_iter().zip(landed.answers) {
            let verdict = match &item.question {
                Some(question) => self.verdict(question, answered),
                None => Ok(None),
            };
            (item.then)(verdict);
        }
    }

    /// Notes which slots answer and which are away.
    fn note(&mut self, slots: Vec<(Partition, Option<Error>)>, took: Duration) {
        let (now, asked) = (Instant::now(), !slots.is_empty());
        self.away
            .retain(|_, until| now.saturating_duration_since(*until) < REMEMBERED);
        let were_away = !self.away.is_empty();
        let (mut failed_ones, mut news) = (0, None);
        for (slot, failed) in slots {
            let Some(error) = failed else {
                self.away.remove(&slot);
                continue;
            };
            self.counters.metrics.redis.failed("limit");
            failed_ones += 1;
            if self.away.insert(slot, now + PAUSE).is_none() {
                news = Some(error);
            }
        }
        if let Some(error) = news {
            tracing::warn!(%error, "rate limits cannot be asked for; whomever they are about is let through until they can");
        }
        if asked && failed_ones == 0 {
            self.counters.metrics.redis.took("limit", took);
        }
        if were_away && self.away.is_empty() {
            tracing::info!("rate limits hold again");
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

/// Asks a slot that was away one of the questions that would be asked there. Whom it is about is let through in any case, and counted.
fn probe(
    asker: &Arc<Asker>,
    slot: Partition,
    item: &Item,
) -> Option<impl Future<Output = Probed> + use<>> {
    let (asker, question, wanted) = (asker.clone(), item.question.clone()?, item.wanted);
    Some(async move {
        let begun = Instant::now();
        let answer = asker.call([(&question, wanted)].into_iter());
        let failed = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answered) => answered.err(),
            Err(_) => Some(Error::new(ErrorKind::Timeout, "no answer in time")),
        };
        Probed {
            slot,
            failed,
            took: begun.elapsed(),
        }
    })
}

/// Asks all slots at once. One that does not answer takes nothing away from what others say, and have counted.
async fn fly(asker: Arc<Asker>, items: Vec<Item>, slots: Slots) -> Landed {
    let begun = Instant::now();
    let questions: Vec<Option<(&Question, u32)>> = items
        .iter()
        .map(|item| Some((item.question.as_ref()?, item.wanted)))
        .collect();
    let calls = slots.into_iter().map(async |(slot, indices)| {
        let there = indices.iter().filter_map(|index| *questions.get(*index)?);
        let answers = tokio::time::timeout(PATIENCE, asker.call(there))
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer in time")));
        (slot, indices, answers)
    });
    let called = join_all(calls).await;
    let mut answers: Vec<Option<Answered>> = items.iter().map(|_| None).collect();
    let mut slots = Vec::with_capacity(called.len());
    for (slot, indices, answered) in called {
        let failed = match answered {
            Ok(answered) => {
                for (index, answer) in indices.into_iter().zip(answered) {
                    answers[index] = answer;
                }
                None
            }
            Err(error) => Some(error),
        };
        slots.push((slot, failed));
    }
    Landed {
        items,
        answers,
        slots,
        took: begun.elapsed(),
    }
}

impl Asker {
    /// Where what is kept of a question's subject is: all in one place, but for a cluster.
    fn slot(&self, question: &Question) -> Partition {
        if self.keyspace.is_clustered() {
            self.keyspace.home(&question.subject)
        } else {
            Partition(0)
        }
    }

    /// The answers to questions whose subjects are all on one slot.
    async fn call<'q>(
        &self,
        questions: impl Iterator<Item = (&'q Question, u32)>,
    ) -> Result<Vec<Option<Answered>>, Error> {
        let (mut keys, mut arguments) = (Vec::new(), self.blocks.to_vec());
        for (Question { class, subject }, wanted) in questions {
            keys.push(self.keyspace.limit(class.as_str(), subject));
            arguments.extend_from_slice(&self.classes[*class as usize]);
            arguments.push(Value::from(wanted.to_string()));
        }
        let answers: Vec<String> = scripts::run(&self.script, &self.redis, keys, arguments).await?;
        Ok(answers
            .iter()
            .map(|answer| Answered::read(answer))
            .collect())
    }
}
