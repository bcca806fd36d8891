//! The Engine.IO endpoint: says what a request is, and hands it to the session that it names or starts one, or says why not.

mod begin;
mod elsewhere;
mod limits;
mod refusal;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_gateway_protocol::engineio::HandshakeError;
use http::header::ORIGIN;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(super) use self::limits::too_large;
use self::refusal::Refusal;
use super::admission::{Admission, Admitted, NotAdmitted, TrustedProxies};
use super::answer::{self, Answer};
use super::application::{EngineHandler, own_copy, query};
use super::origin::AllowedOrigins;
use super::peers::{Hop, Peers};
use super::polling::{self, Connection, Mailbox, Unanswered};
use super::sessions::{Found, Place, Registration, Sessions};
use super::sid::{SessionKey, Sid, SidAuthority};
use super::upgrade;
use crate::config::EngineConfig;
use crate::metrics::Metrics;
use crate::session::DisconnectReason;

/// The longest name of a poll that is remembered; clients' have some ten characters.
const MAX_POLL_NAME: usize = 64;

/// What an endpoint is made of.
pub struct EndpointParts<H> {
    /// What is done with the messages.
    pub handler: H,
    /// Timings and limits of a session.
    pub config: EngineConfig,
    /// Which web pages may talk to it.
    pub origins: AllowedOrigins,
    /// Whose word about a client's address is taken.
    pub proxies: TrustedProxies,
    /// Limits per address.
    pub admission: Admission,
    /// Names its sessions.
    pub sids: SidAuthority,
    /// Where they are entered.
    pub sessions: Sessions,
    /// The way to other nodes' sessions.
    pub peers: Peers,
    /// What its sessions run as.
    pub tasks: TaskTracker,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl<H> EndpointParts<H> {
    /// The same parts around another handler: another path's endpoint on the same node.
    pub fn with<O>(&self, handler: O) -> EndpointParts<O> {
        EndpointParts {
            handler,
            config: self.config.clone(),
            origins: self.origins.clone(),
            proxies: self.proxies.clone(),
            admission: self.admission.clone(),
            sids: self.sids.clone(),
            sessions: self.sessions.clone(),
            peers: self.peers.clone(),
            tasks: self.tasks.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Lets a client have one more session, for as long as what is returned is kept.
    pub(super) fn admit(&self, client: IpAddr) -> Result<(Place, Admitted), NotAdmitted> {
        let admitted = match self.sessions.claim(self.config.max_sessions) {
            Some(place) => self.admission.admit(client).map(|own| (place, own)),
            None => Err(NotAdmitted::NODE_FULL),
        };
        admitted.inspect_err(|refused| {
            self.metrics
                .not_admitted_total
                .with_label_values(&[refused.limit])
                .inc();
        })
    }

    /// A session has ended.
    pub(super) fn ended(&self, reason: DisconnectReason, registration: Registration) {
        self.metrics
            .sessions_closed_total
            .with_label_values(&[reason.as_str()])
            .inc();
        tracing::debug!(%reason, "session closed");
        drop(registration);
    }
}

/// Engine.IO v4 in front of a handler.
pub struct Endpoint<H> {
    inner: Arc<EndpointParts<H>>,
}

impl<H> Clone for Endpoint<H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

/// What a connection holds while it is open; it goes with the session that takes the connection over.
pub type ConnectionGuard = Arc<dyn Send + Sync>;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A client.
    Client {
        /// Its address, as far as that is known.
        address: SocketAddr,
    },
    /// Another node, because the session lives here. What it sends is never passed on again.
    Peer,
}

/// What the query names as the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

impl<H: EngineHandler> Endpoint<H> {
    /// An endpoint.
    pub fn new(parts: EndpointParts<H>) -> Self {
        Self {
            inner: Arc::new(parts),
        }
    }

    /// Answers a client's request. A poll's answer may take its time; dropping this meanwhile ends the poll's session.
    pub async fn respond(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        if let Some(status) = too_large(&request) {
            return answer::failed(status);
        }
        if !self.inner.origins.permits(request.headers()) {
            return answer::refused(HandshakeError::Forbidden);
        }
        let client = self.inner.proxies.client(remote, request.headers());
        let sender = Sender::Client {
            address: SocketAddr::new(client, remote.port()),
        };
        // A copy of its own: as a part of what was read, it would keep all of that for as long as a poll waits.
        let page = request.headers().get(ORIGIN).and_then(own_copy);
        let mut answer = self
            .dispatch(request, sender, guard)
            .await
            .unwrap_or_else(Refusal::into_answer);
        answer::share(&mut answer, page);
        answer
    }

    /// Answers a request on the internal listener: what another node passes on, and nothing else. The other node has looked after
    /// whatever is between it and the client, web pages' rights included.
    pub async fn respond_to_peer(
        &self,
        request: Request<Incoming>,
        guard: ConnectionGuard,
    ) -> Answer {
        let Some(hop) = Hop::read(request.headers()) else {
            return answer::refused(HandshakeError::Forbidden);
        };
        let sid = query(request.uri(), "sid").and_then(|sid| self.inner.sids.open(&sid));
        match (hop, sid.filter(|sid| self.is_ours(*sid))) {
            (Hop::Passed { .. }, sid) => {
                if request.method() == Method::POST
                    && let Some(refused) = self.refuses(sid)
                {
                    // With a part of its body unread, the stream would end in an error.
                    self.inner.tasks.spawn(polling::discard(
                        request.into_body(),
                        self.inner.config.max_payload,
                    ));
                    return answer::refused(refused);
                }
                return self
                    .dispatch(request, Sender::Peer, guard)
                    .await
                    .unwrap_or_else(Refusal::into_answer);
            }
            (Hop::Release, Some(sid)) => _ = self.inner.sessions.release_poll(sid.key),
            (Hop::Broken, Some(sid)) => self.inner.sessions.break_off(sid.key),
            (Hop::Release | Hop::Broken, None) => {}
        }
        answer::failed(StatusCode::NO_CONTENT)
    }

    /// Why a polling request of this session is refused, if it is.
    fn refuses(&self, sid: Option<Sid>) -> Option<HandshakeError> {
        match sid.map_or(Found::Nothing, |sid| self.inner.sessions.find(sid.key)) {
            Found::Polling(_) => None,
            Found::WebSocket => Some(HandshakeError::BadRequest),
            Found::Nothing => Some(HandshakeError::SessionUnknown),
        }
    }

    fn is_ours(&self, sid: Sid) -> bool {
        sid.node == self.inner.sids.node()
    }

    async fn dispatch(
        &self,
        request: Request<Incoming>,
        sender: Sender,
        guard: ConnectionGuard,
    ) -> Result<Answer, Refusal> {
        if request.method() == Method::OPTIONS {
            return Ok(answer::preflight(request.headers()));
        }
        // The reference server's order of checks: transport, then session, then method, then version.
        let transport = match query(request.uri(), "transport").as_deref() {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(HandshakeError::TransportUnknown.into()),
        };
        let Some(sid) = query(request.uri(), "sid") else {
            return match sender {
                Sender::Client { address } => self.begin(transport, request, address, guard),
                // A session begins where its client's request arrives.
                Sender::Peer => Err(HandshakeError::Forbidden.into()),
            };
        };
        let sid = self
            .inner
            .sids
            .open(&sid)
            .ok_or(HandshakeError::SessionUnknown)?;
        if !self.is_ours(sid) {
            return match sender {
                Sender::Client { address } => {
                    self.elsewhere(sid, transport, request, address.ip(), guard)
                        .await
                }
                Sender::Peer => Err(HandshakeError::SessionUnknown.into()),
            };
        }
        match (self.inner.sessions.find(sid.key), transport) {
            (Found::Polling(mailbox), Transport::Polling) => {
                self.polling(request, sid.key, &mailbox, &guard).await
            }
            (Found::Polling(mailbox), Transport::WebSocket) => self
                .upgrade(request, &mailbox, guard)
                .map_err(Refusal::from),
            // One WebSocket is all that a session has, and it is left alone.
            (Found::WebSocket, _) => Err(HandshakeError::BadRequest.into()),
            (Found::Nothing, _) => Err(HandshakeError::SessionUnknown.into()),
        }
    }

    /// A request of a session that polling carries.
    async fn polling(
        &self,
        request: Request<Incoming>,
        key: SessionKey,
        mailbox: &Arc<Mailbox>,
        guard: &ConnectionGuard,
    ) -> Result<Answer, Refusal> {
        let config = &self.inner.config;
        let answered = match *request.method() {
            Method::GET => {
                let accepts_gzip = answer::accepts_gzip(request.headers());
                let name = query(request.uri(), "t").filter(|name| name.len() <= MAX_POLL_NAME);
                // What the request brought is of no use while it waits.
                drop(request);
                polling::get(mailbox, name, Arc::downgrade(guard))
                    .await
                    .map(|body| answer::packets(body, config.compress_above, accepts_gzip))
            }
            Method::POST => polling::post(mailbox, request.into_body(), config, &self.inner.tasks)
                .await
                .map(|()| answer::processed()),
            _ => return Err(HandshakeError::BadRequest.into()),
        };
        answered.map_err(|why| match (why, self.inner.sessions.find(key)) {
            (Unanswered::Gone, Found::WebSocket) => HandshakeError::BadRequest.into(),
            (why, _) => why.into(),
        })
    }

    /// A WebSocket that wants to carry a session which polling carries.
    fn upgrade(
        &self,
        mut request: Request<Incoming>,
        mailbox: &Arc<Mailbox>,
        guard: ConnectionGuard,
    ) -> Result<Answer, HandshakeError> {
        let accept = upgrade::accept_key(request.headers())
            .filter(|_| request.method() == Method::GET)
            .ok_or(HandshakeError::BadRequest)?;
        // One at a time: a second one is refused and the first is left alone.
        let ticket = mailbox
            .claim_upgrade()
            .map_err(|_| HandshakeError::BadRequest)?;
        let upgraded = hyper::upgrade::on(&mut request);
        let limit = self.inner.config.upgrade_timeout();
        self.inner.tasks.spawn(async move {
            let made = tokio::time::timeout(limit, upgrade::connection(upgraded)).await;
            if let Ok(Some((stream, prefix))) = made {
                ticket.deliver(Connection {
                    stream,
                    prefix,
                    guard,
                });
            }
        });
        Ok(upgrade::switching(accept))
    }
}

/// A random id of 20 characters, as socket ids are.
pub fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(&Uuid::new_v4().as_bytes()[..15])
}
