//! Other nodes' sessions: a request that reaches this node and belongs to another one's session is taken there.
//!
//! Polling requests are passed on, one exchange each ([`forward`]), streams bit by bit; a connection that is to become a session's WebSocket is joined
//! to one of its owner's ([`tunnel`]). Nothing is retried and nothing is passed on twice: whoever gets a request from a peer serves
//! it or refuses it. Where to is the registry's word, never the client's. This module must never know what is inside a request.

mod address_book;
pub mod forward;
mod hop;
pub mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address_book::AddressBook;
use self::forward::{Exchange, Forwarder, Stream};
use self::tunnel::Tunnels;
use super::endpoint::ConnectionGuard;
use super::sid::{SessionKey, Sid};
use crate::config::{EngineConfig, PeerProtocol};
use crate::metrics::Metrics;
use crate::registry::{Directory, DirectoryUnavailable};

pub use hop::Hop;

/// How long a connection to a peer may take to be made.
const CONNECT: Duration = Duration::from_millis(800);
/// How long a peer may be silent before it is asked whether it lives.
const PROBE: Duration = Duration::from_secs(2);
/// How long it may take to say so. A machine that pauses for less does not lose its sessions' polls.
const ANSWER: Duration = Duration::from_secs(6);
/// How long a peer may be silent before it is taken for dead.
const SILENCE: Duration = PROBE.saturating_add(ANSWER);

/// How requests are passed on.
#[derive(Debug, Clone)]
pub struct PeersConfig {
    /// What the nodes speak.
    pub protocol: PeerProtocol,
    /// The largest answer that is passed on, in bytes.
    pub max_answer: usize,
    /// How long an answer may take: longer than any poll waits.
    pub patience: Duration,
    /// How long either side of a tunnel may leave unread what the other one sent.
    pub stuck: Duration,
    /// Over how long polls and tunnels are let go when this node drains.
    pub spread: Duration,
}

impl PeersConfig {
    /// What fits sessions with these limits.
    pub fn new(
        engine: &EngineConfig,
        protocol: PeerProtocol,
        stuck: Duration,
        spread: Duration,
    ) -> Self {
        // A session's last answer has all that was queued, which is at most eight times the limit, and a third more as base64.
        let queued = engine.send_queue_bytes.saturating_mul(12);
        Self {
            protocol,
            max_answer: queued.max(engine.max_payload.saturating_mul(2)),
            // Every poll is answered within an interval, or its session ends.
            patience: engine.ping_interval() + engine.ping_timeout() + SILENCE,
            stuck,
            spread,
        }
    }

    /// The same for answers, too, that wait as long as this, or are silent as long in between.
    #[must_use]
    pub fn waiting(mut self, longest: Duration) -> Self {
        self.patience = self.patience.max(longest + SILENCE);
        self
    }
}

/// Why a request did not get to its session, or the answer not back.
#[derive(Debug, thiserror::Error)]
pub enum PassOnError {
    /// The node that minted the sid is gone.
    #[error("the session's node is gone")]
    OwnerUnknown,
    /// It does not answer. Whether it has seen the request cannot be said.
    #[error("the session's node does not answer")]
    OwnerSilent,
    /// Nobody can say where it is.
    #[error(transparent)]
    Directory(#[from] DirectoryUnavailable),
}

impl PassOnError {
    /// Its name, for metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OwnerUnknown => "owner_unknown",
            Self::OwnerSilent => "owner_silent",
            Self::Directory(_) => "directory_unavailable",
        }
    }
}

/// The way to other nodes' sessions. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    addresses: AddressBook,
    forwarder: Arc<Forwarder>,
    tunnels: Tunnels,
    leaving: Leaving,
    metrics: Arc<Metrics>,
}

impl Peers {
    /// The way to the nodes in `directory`. From `draining` on, clients of other nodes' sessions are let go; tunnels run as `tasks`.
    pub fn new(
        directory: Arc<dyn Directory>,
        config: &PeersConfig,
        draining: CancellationToken,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        let leaving = Leaving {
            draining,
            spread: config.spread,
        };
        Self {
            inner: Arc::new(Inner {
                addresses: AddressBook::new(directory),
                forwarder: Arc::new(Forwarder::new(config)),
                tunnels: Tunnels::new(
                    leaving.clone(),
                    config.stuck,
                    tasks,
                    metrics.tunnels.clone(),
                ),
                leaving,
                metrics,
            }),
        }
    }

    /// Passes a polling request on to the node that owns its session, and its answer back. `body` is the whole of it: a client that
    /// sends slowly must not hold up the connection between the nodes. Dropping this before it is done aborts it there, too.
    pub async fn pass_on(
        &self,
        sid: Sid,
        head: Parts,
        body: Bytes,
        client: IpAddr,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let leaving = self.inner.leaving.turn(sid.key);
        let exchange = |owner: &_| Exchange::new(owner, head, body, client);
        self.run(sid, exchange, leaving).await
    }

    /// Passes a request on that receives, whatever its method and without a body, and its answer back once that is whole.
    pub async fn receive(
        &self,
        sid: Sid,
        head: Parts,
        client: IpAddr,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let leaving = self.inner.leaving.turn(sid.key);
        let exchange = |owner: &_| Exchange::receiving(owner, head, client);
        self.run(sid, exchange, leaving).await
    }

    /// Passes a request on that receives, and its answer back bit by bit: one that is over once it has `most` bytes.
    pub async fn stream(
        &self,
        sid: Sid,
        head: Parts,
        client: IpAddr,
        most: usize,
    ) -> Result<(StatusCode, Stream), PassOnError> {
        let answered = match self.inner.addresses.find(sid.node).await {
            Ok(owner) => {
                let exchange = Exchange::receiving(&owner, head, client);
                let leaving = self.inner.leaving.clone();
                let turn = async move { leaving.turn(sid.key).await };
                self.inner.forwarder.begin(exchange, most, turn).await
            }
            Err(error) => Err(error),
        };
        self.settle(sid, answered)
    }

    /// Resolves when this node begins to drain.
    pub(super) async fn draining(&self) {
        self.inner.leaving.draining.cancelled().await;
    }

    /// Tells the owner of a session that its client broke off in the middle of a request to `target`: there is nothing to pass on.
    pub async fn break_off(&self, sid: Sid, target: Uri) -> Result<(), PassOnError> {
        let exchange = |owner: &_| Exchange::broken(owner, target);
        let told = self.run(sid, exchange, std::future::pending()).await;
        told.map(|_| ())
    }

    /// Joins a connection that wants to become a WebSocket to the node that owns its session. The answer is the owner's; if it
    /// consents, bytes pass both ways from here on, until one side ends, and `guard` is kept as long.
    pub async fn tunnel(
        &self,
        sid: Sid,
        request: Request<Incoming>,
        client: IpAddr,
        guard: ConnectionGuard,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let answered = match self.inner.addresses.find(sid.node).await {
            Ok(owner) => {
                let tunnels = &self.inner.tunnels;
                tunnels.open(sid.key, &owner, request, client, guard).await
            }
            Err(error) => Err(error),
        };
        self.settle(sid, answered)
    }

    /// Asks the owner of a session, and takes the answer whole; until `leaving` it is waited for.
    async fn run(
        &self,
        sid: Sid,
        exchange: impl FnOnce(&Authority) -> Exchange,
        leaving: impl Future<Output = ()>,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let answered = match self.inner.addresses.find(sid.node).await {
            Ok(owner) => self.inner.forwarder.run(exchange(&owner), leaving).await,
            Err(error) => Err(error),
        };
        self.settle(sid, answered)
    }

    fn settle<T>(&self, sid: Sid, answered: Result<T, PassOnError>) -> Result<T, PassOnError> {
        let outcome = match &answered {
            Ok(_) => "answered",
            Err(error) => {
                if matches!(error, PassOnError::OwnerSilent) {
                    self.inner.addresses.forget(sid.node);
                }
                tracing::debug!(owner = %sid.node, %error, "not passed on");
                error.as_str()
            }
        };
        self.inner
            .metrics
            .passed_on_total
            .with_label_values(&[outcome])
            .inc();
        answered
    }
}

/// When whatever belongs to a session of another node is let go because this one drains: not all at once.
#[derive(Debug, Clone)]
struct Leaving {
    draining: CancellationToken,
    spread: Duration,
}

impl Leaving {
    /// Resolves when it is this session's turn.
    async fn turn(&self, session: SessionKey) {
        self.draining.cancelled().await;
        tokio::time::sleep(self.spread.mul_f64(session.share())).await;
    }
}
