//! A node's lease in Redis, and the directory made of all leases.

use std::time::Duration;

use confab_shared::id::{NodeId, Partition};
use confab_shared::lifecycle::spawn_vital;
use confab_shared::metrics::Operations;
use confab_shared::redis::keyspace::{ADDRESS_FIELD, Keyspace};
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface, TransactionInterface};
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Address, Directory, DirectoryUnavailable};

/// How long a lease is good for unless it is renewed.
const TERM: Duration = Duration::from_secs(3);
/// How often it is renewed: it is also how long Redis may not know the node after it lost its memory.
const RENEWAL: Duration = Duration::from_secs(1);

/// How long a client's request waits for an answer of the registry's. Its session may be reached by another way meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How old Redis's memory is when every node that lives has its lease in it: a turn, and as much again for one that is late. Its sessions'
/// claims are there, too.
pub(super) const SETTLED: Duration = Duration::from_secs(2);
/// How often a lease is looked for that a young memory lacks, or a Redis that was asked in vain.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A node's word that it lives and where, renewed for as long as it does.
///
/// It outlasts the drain: peers must reach a draining node until its last session has left. Then it is [released](Self::release).
/// A node that is killed is forgotten within three seconds; its address refuses connections before that.
pub struct NodeLease {
    redis: Client,
    keyspace: Keyspace,
    node: NodeId,
    ended: CancellationToken,
}

impl NodeLease {
    /// Announces `node` at `address`, now and from now on. Renewals are counted among the calls of Redis.
    pub async fn announce(
        redis: Client,
        keyspace: Keyspace,
        node: NodeId,
        address: Address,
        counted: Operations,
    ) -> Result<Self, fred::error::Error> {
        renew(&redis, keyspace, node, &address).await?;
        let ended = CancellationToken::new();
        let renewing = keep(redis.clone(), keyspace, node, address, counted);
        spawn_vital("node lease", &ended, renewing);
        Ok(Self {
            redis,
            keyspace,
            node,
            ended,
        })
    }

    /// Takes the node out of the registry.
    pub async fn release(self) {
        self.ended.cancel();
        // A renewal that is under way was sent on the same connection, so it comes before this.
        let key = self.keyspace.node_lease(self.node);
        let released = async {
            self.redis.del::<(), _>(key).await?;
            register(&self.redis, self.node, Duration::ZERO).await
        };
        if let Err(error) = released.await {
            // It lapses by itself.
            tracing::warn!(%error, "node lease not released");
        }
    }
}

async fn keep(
    redis: Client,
    keyspace: Keyspace,
    node: NodeId,
    address: Address,
    counted: Operations,
) {
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // One that takes longer than its turn is late already: the next one says the same.
        let renewed = within(RENEWAL, Box::pin(renew(&redis, keyspace, node, &address)));
        if let Err(error) = counted.time("node_lease", renewed).await {
            tracing::warn!(%error, "node lease not renewed");
        }
    }
}

/// Redis's answer, if it comes in time.
pub(super) async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, fred::error::Error>>,
) -> Result<T, DirectoryUnavailable> {
    tokio::time::timeout(patience, asked)
        .await
        .map_err(|_| DirectoryUnavailable::Silent)?
        .map_err(DirectoryUnavailable::from)
}

/// Writes the whole lease, so that one that Redis forgot is there again; at once, so that none is ever without its end.
async fn renew(
    redis: &Client,
    keyspace: Keyspace,
    node: NodeId,
    address: &str,
) -> Result<(), fred::error::Error> {
    let key = keyspace.node_lease(node);
    let term = i64::try_from(TERM.as_millis()).unwrap_or(i64::MAX);
    let both = redis.multi();
    both.hset::<(), _, _>(&key, (ADDRESS_FIELD, address))
        .await?;
    both.pexpire::<(), _>(&key, term, None).await?;
    both.exec::<()>(true).await?;
    register(redis, node, TERM).await
}

/// Registers the node among the gateways for this long, so that they can be counted.
async fn register(redis: &Client, node: NodeId, term: Duration) -> Result<(), fred::error::Error> {
    let arguments = vec![node.to_string(), term.as_millis().to_string()];
    let _live: Vec<String> = scripts::run(
        &scripts::gateway_register(),
        redis,
        Keyspace::gateways(),
        arguments,
    )
    .await?;
    Ok(())
}

/// How many gateways and workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Gateways.
    pub gateways: u64,
    /// Workers.
    pub workers: u64,
}

/// Counts gateways and workers.
pub async fn census(redis: &Client) -> Result<Census, fred::error::Error> {
    let script = scripts::registered();
    let nobody = Vec::<String>::new;
    Ok(Census {
        gateways: scripts::run(&script, redis, Keyspace::gateways(), nobody()).await?,
        workers: scripts::run(&script, redis, Keyspace::workers(), nobody()).await?,
    })
}

/// The nodes that have a lease.
pub struct LeasedDirectory {
    redis: Client,
    keyspace: Keyspace,
    patience: Duration,
}

impl LeasedDirectory {
    /// The directory of the deployment that this Redis serves.
    pub fn new(redis: Client, keyspace: Keyspace) -> Self {
        Self {
            redis,
            keyspace,
            patience: PATIENCE,
        }
    }

    /// The same, which waits so long for an answer of Redis's.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

impl LeasedDirectory {
    async fn read(&self, node: NodeId) -> Result<Option<Address>, DirectoryUnavailable> {
        let asked = async {
            let key = self.keyspace.node_lease(node);
            self.redis
                .hget::<Option<String>, _, _>(key, ADDRESS_FIELD)
                .await
        };
        let found = within(self.patience, asked).await?;
        Ok(found.map(Address::from))
    }

    /// Where a node is now, and whether that is all there is to know.
    async fn look(&self, node: NodeId) -> Result<(Option<Address>, bool), DirectoryUnavailable> {
        let found = self.read(node).await?;
        if found.is_some() {
            return Ok((found, true));
        }
        // In this order: what was not in a memory that is settled by now was not there for good.
        let asked = is_settled(&self.redis, self.keyspace, self.keyspace.home(node));
        Ok((None, within(self.patience, asked).await?))
    }
}

impl Directory for LeasedDirectory {
    fn find(&self, node: NodeId) -> BoxFuture<'_, Result<Option<Address>, DirectoryUnavailable>> {
        Box::pin(async move {
            let until = Instant::now() + SETTLED;
            loop {
                let looked = self.look(node).await;
                let is_late = Instant::now() >= until;
                match looked {
                    Ok((found, is_certain)) if is_certain || is_late => return Ok(found),
                    Err(error) if is_late => return Err(error),
                    Ok(_) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        })
    }
}

/// Whether every node that lives has had the time to write into the memory of this slot that it does, and what is its own.
pub(super) async fn is_settled(
    redis: &Client,
    keyspace: Keyspace,
    home: Partition,
) -> Result<bool, fred::error::Error> {
    let (script, none) = (scripts::epoch_age(), Vec::<String>::new());
    let asked = scripts::run::<u64, _, _>(&script, redis, keyspace.memory(home), none);
    let age = asked.await?;
    Ok(Duration::from_micros(age) >= SETTLED)
}
