//! Waiting for new commands of several partitions. Nothing is taken: what there is stays to be read.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::redis::{RedisConfig, Retries, connect};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::StreamsInterface;
use fred::types::Value;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use super::Context;

/// How long one wait takes at the most. Bounds how long a partition that arrives meanwhile waits for its first wake-up, and how long
/// entries are overlooked whose ids went back (a clock was set, Redis lost its memory).
const WAIT: Duration = Duration::from_millis(250);

/// How long the answer to a wait is waited for.
const LONGEST: Duration = Duration::from_secs(1);

/// A stream that is waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) partition: Partition,
    pub(super) stream: String,
    /// The last entry that was read.
    pub(super) last: String,
}

/// Waits on connections of its own, because a call that waits holds up what comes behind it.
pub(super) enum Waiter {
    /// By one call for all streams.
    Together(Client),
    /// By a call for each stream, on a connection for each: a cluster does not take streams on several slots together.
    Apart(Box<Apart>),
}

impl Waiter {
    pub(super) async fn connect(context: &Context) -> Result<Self, Error> {
        let redis = &context.config.redis;
        Ok(if context.keyspace.is_clustered() {
            Self::Apart(Box::new(Apart::new(redis.clone())))
        } else {
            Self::Together(connect(redis, Retries::None).await?)
        })
    }

    /// Waits until one of these streams has something new, or for as long as one wait takes. Which partitions are worth looking at; none
    /// are named if all are.
    pub(super) async fn wait(&mut self, awaited: Vec<Awaited>) -> Result<Vec<Partition>, Error> {
        match self {
            Self::Together(client) => together(client, awaited).await,
            Self::Apart(apart) => apart.wait(awaited).await,
        }
    }
}

async fn together(client: &Client, awaited: Vec<Awaited>) -> Result<Vec<Partition>, Error> {
    let mut partitions = HashMap::with_capacity(awaited.len());
    let (mut keys, mut ids) = (Vec::new(), Vec::new());
    for Awaited {
        partition,
        stream,
        last,
    } in awaited
    {
        partitions.insert(stream.clone(), partition);
        keys.push(stream);
        ids.push(last);
    }
    let found = read(client, keys, ids).await?;
    Ok(found
        .iter()
        .filter_map(|stream| partitions.get(stream).copied())
        .collect())
}

/// Waits for each stream by itself. A wait goes on while something else is done, and is not begun twice.
pub(super) struct Apart {
    config: RedisConfig,
    idle: HashMap<Partition, Client>,
    waiting: HashSet<Partition>,
    waits: FuturesUnordered<BoxFuture<'static, Waited>>,
}

/// A wait that has ended.
struct Waited {
    partition: Partition,
    /// The connection, if there is one.
    client: Option<Client>,
    failed: Option<Error>,
}

impl Apart {
    fn new(config: RedisConfig) -> Self {
        Self {
            config,
            idle: HashMap::new(),
            waiting: HashSet::new(),
            waits: FuturesUnordered::new(),
        }
    }

    async fn wait(&mut self, awaited: Vec<Awaited>) -> Result<Vec<Partition>, Error> {
        let wanted: HashSet<Partition> = awaited.iter().map(|one| one.partition).collect();
        for one in awaited {
            if self.waiting.insert(one.partition) {
                let client = self.idle.remove(&one.partition);
                self.waits
                    .push(Box::pin(wait_alone(self.config.clone(), client, one)));
            }
        }
        // A connection may take long to be made: whoever waits has more to do than that.
        while let Ok(Some(first)) = timeout(LONGEST, self.waits.next()).await {
            let mut ended = vec![self.end(first)];
            // What has ended meanwhile belongs into one batch with it, or there would be as many batches as partitions.
            while let Some(Some(another)) = self.waits.next().now_or_never() {
                ended.push(self.end(another));
            }
            // One that is not served any more has nothing to say.
            ended.retain(|(partition, _)| wanted.contains(partition));
            // One that failed is looked at with the others: its stream is read on another connection.
            if ended.iter().any(|(_, failed)| failed.is_none()) {
                return Ok(ended.into_iter().map(|(partition, _)| partition).collect());
            }
            if let Some((_, Some(error))) = ended.pop() {
                return Err(error);
            }
        }
        Ok(Vec::new())
    }

    /// Keeps a wait's connection for the next one of its partition. Which that is, and why the wait failed, if it did.
    fn end(&mut self, waited: Waited) -> (Partition, Option<Error>) {
        self.waiting.remove(&waited.partition);
        if let Some(client) = waited.client {
            self.idle.insert(waited.partition, client);
        }
        (waited.partition, waited.failed)
    }
}

async fn wait_alone(config: RedisConfig, client: Option<Client>, awaited: Awaited) -> Waited {
    let partition = awaited.partition;
    let client = match client {
        Some(client) => client,
        None => match connect(&config, Retries::None).await {
            Ok(client) => client,
            Err(error) => {
                return Waited {
                    partition,
                    client: None,
                    failed: Some(error),
                };
            }
        },
    };
    let found = read(&client, vec![awaited.stream], vec![awaited.last]).await;
    Waited {
        partition,
        client: Some(client),
        failed: found.err(),
    }
}

/// The keys of the streams that have an entry after the id given for each, as soon as one has.
async fn read(client: &Client, keys: Vec<String>, ids: Vec<String>) -> Result<Vec<String>, Error> {
    let block = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
    let answer: Value = client.xread(Some(1), Some(block), keys, ids).await?;
    let elements = |value| match value {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    };
    Ok(elements(answer)
        .into_iter()
        .filter_map(|stream| elements(stream).into_iter().next()?.into_string())
        .collect())
}
