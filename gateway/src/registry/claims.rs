//! Whose a session is whose client named it itself, as SockJS has it: no node can tell by looking at the name.

use std::fmt;
use std::time::Duration;

use confab_shared::id::NodeId;
use confab_shared::metrics::Operations;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::DirectoryUnavailable;
use super::lease::{LOOK_AGAIN, PATIENCE, SETTLED, is_settled, within};

/// For how long a claim is good unless it is renewed. A session whose node was killed is found to be its until then, and the node to be
/// gone, which is what its client has to know.
const TERM: Duration = Duration::from_secs(60);
/// How often claims should be renewed.
pub const RENEWAL: Duration = Duration::from_secs(20);
/// For how long a memory that is settled is taken to be that while its name stays the same: less than it takes another process, which may
/// have the same name from a snapshot, to come in Redis's place.
const REMEMBERED: Duration = Duration::from_millis(100);

/// What nodes call a session: a hash of what its client calls it, so that a client's words are never part of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionName([u8; 16]);

impl SessionName {
    /// The name of the session that a client calls so.
    pub fn of(words: &str) -> Self {
        let hash = Sha256::digest(words);
        let mut name = [0; 16];
        name.copy_from_slice(&hash[..16]);
        Self(name)
    }

    /// A number that is this name's own.
    pub fn number(self) -> u64 {
        self.0
            .first_chunk()
            .map_or(0, |half| u64::from_be_bytes(*half))
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionName({self})")
    }
}

/// What came of a renewal.
#[derive(Debug, Default)]
pub struct Renewed {
    /// Those that are another node's by now.
    pub lost: Vec<SessionName>,
    /// Why not all of the others were renewed, if they were not.
    pub error: Option<DirectoryUnavailable>,
}

/// Says whose named sessions are.
///
/// A claim is one node's from the moment it is made until it is released, or until the node has not renewed it for its term. Where Redis has
/// lost its memory the nodes write their claims again within a second or so; whoever asks meanwhile waits for it.
pub trait Claims: Send + Sync + 'static {
    /// Makes a session this node's if it is nobody's. Says whose it is then.
    fn claim(&self, name: SessionName) -> BoxFuture<'_, Result<NodeId, DirectoryUnavailable>>;

    /// Whose a session is.
    fn find(
        &self,
        name: SessionName,
    ) -> BoxFuture<'_, Result<Option<NodeId>, DirectoryUnavailable>>;

    /// Renews this node's claims, or makes them again.
    fn renew<'a>(&'a self, names: &'a [SessionName]) -> BoxFuture<'a, Renewed>;

    /// A session of this node's has ended.
    fn release(&self, name: SessionName) -> BoxFuture<'_, Result<(), DirectoryUnavailable>>;
}

/// Claims in Redis: a look and a command for a session that begins, one when it ends, and a pipeline of renewals now and then.
pub struct RedisClaims {
    redis: Client,
    keyspace: Keyspace,
    node: NodeId,
    counted: Operations,
    patience: Duration,
    settled: Mutex<Option<Settled>>,
}

/// A memory that was found to be settled.
struct Settled {
    /// What it is called.
    memory: String,
    found: Instant,
}

impl RedisClaims {
    /// The claims of `node`, counted among the calls of Redis.
    pub fn new(redis: Client, keyspace: Keyspace, node: NodeId, counted: Operations) -> Self {
        Self {
            redis,
            keyspace,
            node,
            counted,
            patience: PATIENCE,
            settled: Mutex::default(),
        }
    }

    /// The same, which wait so long for an answer of Redis's.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    async fn answered<T>(
        &self,
        asked: impl Future<Output = Result<T, fred::error::Error>>,
    ) -> Result<T, DirectoryUnavailable> {
        let answered = within(self.patience, asked);
        self.counted.time("claim", answered).await
    }

    /// The claim, and what the memory is called that it is in.
    fn keys(&self, name: SessionName) -> Vec<String> {
        let home = self.keyspace.home(name);
        vec![
            self.keyspace.session_claim(name),
            self.keyspace.memory(home),
        ]
    }

    /// What the script asks for, apart from the name.
    fn arguments(&self, settled: Duration) -> Vec<String> {
        vec![
            self.node.to_string(),
            TERM.as_millis().to_string(),
            settled.as_micros().to_string(),
        ]
    }

    /// Whose the session is now; none if that cannot be told yet.
    async fn try_claim(
        &self,
        name: SessionName,
        settled: Duration,
    ) -> Result<Option<NodeId>, DirectoryUnavailable> {
        let keys = self.keys(name);
        let script = scripts::session_claim();
        let asked =
            scripts::run::<String, _, _>(&script, &self.redis, keys, self.arguments(settled));
        let holder = self.answered(Box::pin(asked)).await?;
        Ok(holder_of(name, &holder))
    }

    /// Whose a session is, and what the memory is called that says so.
    async fn read(
        &self,
        name: SessionName,
    ) -> Result<(Option<NodeId>, Option<String>), DirectoryUnavailable> {
        let asked = self
            .redis
            .mget::<(Option<String>, Option<String>), _>(self.keys(name));
        let (holder, memory) = self.answered(Box::pin(asked)).await?;
        let holder = holder.and_then(|holder| holder_of(name, &holder));
        Ok((holder, memory))
    }

    /// Whether what is missing from the memory of this name, which was read just now, was missing for good.
    async fn is_settled(
        &self,
        name: SessionName,
        memory: Option<String>,
    ) -> Result<bool, DirectoryUnavailable> {
        let Some(memory) = memory else {
            return Ok(false);
        };
        let is_known = self.settled.lock().as_ref().is_some_and(|settled| {
            settled.memory == memory && settled.found.elapsed() < REMEMBERED
        });
        if is_known {
            return Ok(true);
        }
        let found = Instant::now();
        let asked = is_settled(&self.redis, self.keyspace, self.keyspace.home(name));
        let is_settled = within(self.patience, asked).await?;
        if is_settled {
            // It is not younger than its name was when that was read, so that is still its name.
            *self.settled.lock() = Some(Settled { memory, found });
        }
        Ok(is_settled)
    }

    /// Whose a session is now, and whether that is all there is to know.
    async fn look(
        &self,
        name: SessionName,
    ) -> Result<(Option<NodeId>, bool), DirectoryUnavailable> {
        let (found, memory) = self.read(name).await?;
        // In this order: what was not in a memory that is settled by now was not there for good.
        let is_certain = found.is_some() || self.is_settled(name, memory).await?;
        Ok((found, is_certain))
    }
}

/// A node's id as a claim has it.
fn holder_of(name: SessionName, claim: &str) -> Option<NodeId> {
    if claim.is_empty() {
        return None;
    }
    claim
        .parse()
        .inspect_err(|error| tracing::error!(%name, %error, "no claim of ours"))
        .ok()
}

impl Claims for RedisClaims {
    fn claim(&self, name: SessionName) -> BoxFuture<'_, Result<NodeId, DirectoryUnavailable>> {
        Box::pin(async move {
            let until = Instant::now() + SETTLED;
            loop {
                // A memory that nobody gives a name to must not keep everybody waiting for ever.
                let settled = if Instant::now() < until {
                    SETTLED
                } else {
                    Duration::ZERO
                };
                match self.try_claim(name, settled).await {
                    Ok(Some(holder)) => return Ok(holder),
                    Ok(None) if settled.is_zero() => return Err(DirectoryUnavailable::Silent),
                    // One that was made though nobody heard of it is made again by its own node.
                    Err(error) if Instant::now() >= until => return Err(error),
                    Ok(None) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        })
    }

    fn find(
        &self,
        name: SessionName,
    ) -> BoxFuture<'_, Result<Option<NodeId>, DirectoryUnavailable>> {
        Box::pin(async move {
            let until = Instant::now() + SETTLED;
            loop {
                let looked = self.look(name).await;
                let is_late = Instant::now() >= until;
                match looked {
                    Ok((found, is_certain)) if is_certain || is_late => return Ok(found),
                    Err(error) if is_late => return Err(error),
                    Ok(_) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        })
    }

    fn renew<'a>(&'a self, names: &'a [SessionName]) -> BoxFuture<'a, Renewed> {
        Box::pin(async move {
            let renewals = names
                .iter()
                .map(|name| self.try_claim(*name, Duration::ZERO));
            // All are written before the first answer is read.
            let holders = futures_util::future::join_all(renewals).await;
            let mut renewed = Renewed::default();
            for (name, holder) in names.iter().zip(holders) {
                match holder {
                    Ok(Some(holder)) if holder != self.node => renewed.lost.push(*name),
                    Ok(_) => {}
                    Err(error) => renewed.error = Some(error),
                }
            }
            renewed
        })
    }

    fn release(&self, name: SessionName) -> BoxFuture<'_, Result<(), DirectoryUnavailable>> {
        Box::pin(async move {
            let (script, key) = (scripts::lease_release(), self.keyspace.session_claim(name));
            let asked = scripts::run::<i64, _, _>(&script, &self.redis, key, self.node.to_string());
            self.answered(Box::pin(asked)).await.map(|_: i64| ())
        })
    }
}

/// The claims of a node that stands alone: every session is its own.
pub struct SoleNode(pub NodeId);

impl Claims for SoleNode {
    fn claim(&self, _: SessionName) -> BoxFuture<'_, Result<NodeId, DirectoryUnavailable>> {
        Box::pin(std::future::ready(Ok(self.0)))
    }

    fn find(&self, _: SessionName) -> BoxFuture<'_, Result<Option<NodeId>, DirectoryUnavailable>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn renew<'a>(&'a self, _: &'a [SessionName]) -> BoxFuture<'a, Renewed> {
        Box::pin(std::future::ready(Renewed::default()))
    }

    fn release(&self, _: SessionName) -> BoxFuture<'_, Result<(), DirectoryUnavailable>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_nothing_of_the_words_and_is_always_the_same() {
        let name = SessionName::of("abcdefgh");
        assert_eq!(name, SessionName::of("abcdefgh"));
        assert_ne!(name, SessionName::of("abcdefgi"));
        let text = SessionName::of("x y{}:*\n").to_string();
        assert!(text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
