//! The Engine.IO endpoint: says what a request is, and hands it to the session that it names or starts one, or says why not.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_gateway_protocol::engineio::{HandshakeError, PROTOCOL_VERSION};
use http::header::ORIGIN;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::answer::{self, Answer};
use super::application::{EngineHandler, Handshake, query};
use super::engine::open_frame;
use super::origin::AllowedOrigins;
use super::polling::{self, Connection, Mailbox, Unanswered};
use super::sessions::{Found, Registration, Sessions};
use super::sid::{SessionKey, SidAuthority};
use super::{upgrade, websocket};
use crate::config::EngineConfig;
use crate::hub::send_queue::SendQueue;
use crate::metrics::Metrics;
use crate::session::DisconnectReason;

/// Engine.IO v4 in front of a handler.
pub struct Endpoint<H> {
    inner: Arc<Inner<H>>,
}

impl<H> Clone for Endpoint<H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<H> {
    handler: H,
    config: EngineConfig,
    origins: AllowedOrigins,
    sids: SidAuthority,
    sessions: Sessions,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

/// What a connection holds while it is open; it goes with the session that takes the connection over.
pub type ConnectionGuard = Arc<dyn Send + Sync>;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client, or a load balancer.
    Public {
        /// The client's address.
        remote: SocketAddr,
    },
    /// Another node, because the session lives here. It is never passed on again.
    Peer {
        /// The client's address, as the other node knows it.
        remote: SocketAddr,
    },
}

impl Origin {
    /// The client's address.
    pub fn remote(self) -> SocketAddr {
        match self {
            Self::Public { remote } | Self::Peer { remote } => remote,
        }
    }
}

/// Why a request is not answered as it wished.
enum Refusal {
    Protocol(HandshakeError),
    Http(StatusCode),
}

impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Self {
        Self::Protocol(error)
    }
}

/// What the query names as the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

impl<H: EngineHandler> Endpoint<H> {
    /// An endpoint. Its sessions are named by `sids`, entered in `sessions` and run as `tasks`.
    pub fn new(
        handler: H,
        config: EngineConfig,
        origins: AllowedOrigins,
        sids: SidAuthority,
        sessions: Sessions,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                handler,
                config,
                origins,
                sids,
                sessions,
                tasks,
                metrics,
            }),
        }
    }

    /// Answers a request to the endpoint. A poll's answer may take its time; dropping this meanwhile ends the poll's session.
    pub async fn respond(
        &self,
        request: Request<Incoming>,
        origin: Origin,
        guard: ConnectionGuard,
    ) -> Answer {
        if !self.inner.origins.permits(request.headers()) {
            return answer::refused(HandshakeError::Forbidden);
        }
        let page = request.headers().get(ORIGIN).cloned();
        let mut answer = match self.dispatch(request, origin, guard).await {
            Ok(answer) => answer,
            Err(Refusal::Protocol(error)) => answer::refused(error),
            Err(Refusal::Http(status)) => answer::failed(status),
        };
        answer::share(&mut answer, page);
        answer
    }

    async fn dispatch(
        &self,
        request: Request<Incoming>,
        origin: Origin,
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
            return self
                .begin(transport, request, origin, guard)
                .map_err(Refusal::from);
        };
        let sid = self
            .inner
            .sids
            .open(&sid)
            .ok_or(HandshakeError::SessionUnknown)?;
        if sid.node != self.inner.sids.node() {
            // Another node's session, if that node lives; and what a peer has passed on in error is not passed on again.
            return Err(HandshakeError::SessionUnknown.into());
        }
        match (self.inner.sessions.find(sid.key), transport) {
            (Found::Polling(mailbox), Transport::Polling) => {
                self.polling(request, sid.key, &mailbox).await
            }
            (Found::Polling(mailbox), Transport::WebSocket) => self
                .upgrade(request, &mailbox, guard)
                .map_err(Refusal::from),
            // One WebSocket is all that a session has, and it is left alone.
            (Found::WebSocket, _) => Err(HandshakeError::BadRequest.into()),
            (Found::Nothing, _) => Err(HandshakeError::SessionUnknown.into()),
        }
    }

    /// A request without a session: it wants one.
    fn begin(
        &self,
        transport: Transport,
        mut request: Request<Incoming>,
        origin: Origin,
        guard: ConnectionGuard,
    ) -> Result<Answer, HandshakeError> {
        if request.method() != Method::GET {
            return Err(HandshakeError::BadHandshakeMethod);
        }
        let accept = match transport {
            Transport::Polling => None,
            Transport::WebSocket => {
                Some(upgrade::accept_key(request.headers()).ok_or(HandshakeError::BadRequest)?)
            }
        };
        if query(request.uri(), "EIO").as_deref() != Some(PROTOCOL_VERSION) {
            return Err(HandshakeError::UnsupportedProtocolVersion);
        }
        let upgraded = accept.is_some().then(|| hyper::upgrade::on(&mut request));
        let (head, _) = request.into_parts();
        let handshake = handshake(head, origin);
        let endpoint = self.clone();
        Ok(match (accept, upgraded) {
            (Some(accept), Some(upgraded)) => {
                self.inner.tasks.spawn(async move {
                    endpoint.over_websocket(upgraded, handshake, guard).await;
                });
                upgrade::switching(accept)
            }
            _ => self.begin_polling(handshake),
        })
    }

    fn begin_polling(&self, handshake: Arc<Handshake>) -> Answer {
        let (key, sid) = self.inner.sids.mint();
        let open = open_frame(&sid, &["websocket"], &self.inner.config).payload();
        let queue = Arc::new(SendQueue::new(self.inner.config.send_queue_bytes));
        let mailbox = Arc::new(Mailbox::new(queue.clone()));
        let registration = self
            .inner
            .sessions
            .register(key, &queue, Some(mailbox.clone()));
        let endpoint = self.clone();
        self.inner.tasks.spawn(async move {
            let Inner {
                handler, config, ..
            } = &*endpoint.inner;
            let reason = polling::serve(handshake, handler, config, &mailbox, &registration).await;
            endpoint.ended(reason, registration);
        });
        answer::packets(open, 0, false)
    }

    async fn over_websocket(
        self,
        upgraded: OnUpgrade,
        handshake: Arc<Handshake>,
        guard: ConnectionGuard,
    ) {
        let Some((stream, prefix)) = upgrade::connection(upgraded).await else {
            return;
        };
        let (key, sid) = self.inner.sids.mint();
        let queue = Arc::new(SendQueue::new(self.inner.config.send_queue_bytes));
        let registration = self.inner.sessions.register(key, &queue, None);
        let reason = websocket::serve(
            stream,
            prefix,
            handshake,
            &self.inner.handler,
            &self.inner.config,
            queue,
            &sid,
        )
        .await;
        self.ended(reason, registration);
        drop(guard);
    }

    fn ended(&self, reason: DisconnectReason, registration: Registration) {
        self.inner
            .metrics
            .sessions_closed
            .with_label_values(&[reason.as_str()])
            .inc();
        tracing::debug!(%reason, "session closed");
        drop(registration);
    }

    /// A request of a session that polling carries.
    async fn polling(
        &self,
        request: Request<Incoming>,
        key: SessionKey,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Answer, Refusal> {
        let config = &self.inner.config;
        let answered = match *request.method() {
            Method::GET => {
                let accepts_gzip = answer::accepts_gzip(request.headers());
                // What the request brought is of no use while it waits.
                drop(request);
                polling::get(mailbox)
                    .await
                    .map(|body| answer::packets(body, config.compress_above, accepts_gzip))
            }
            Method::POST => polling::post(mailbox, request.into_body(), config, &self.inner.tasks)
                .await
                .map(|()| answer::processed()),
            _ => return Err(HandshakeError::BadRequest.into()),
        };
        answered.map_err(|why| match why {
            Unanswered::Gone => match self.inner.sessions.find(key) {
                Found::WebSocket => HandshakeError::BadRequest.into(),
                Found::Polling(_) | Found::Nothing => HandshakeError::SessionUnknown.into(),
            },
            Unanswered::BadRequest => HandshakeError::BadRequest.into(),
            Unanswered::TooLarge => Refusal::Http(StatusCode::PAYLOAD_TOO_LARGE),
            Unanswered::TimedOut => Refusal::Http(StatusCode::REQUEST_TIMEOUT),
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

fn handshake(head: Parts, origin: Origin) -> Arc<Handshake> {
    Arc::new(Handshake {
        uri: head.uri,
        headers: head.headers,
        remote: origin.remote(),
    })
}

/// A random id of 20 characters, as socket ids are.
pub fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(&Uuid::new_v4().as_bytes()[..15])
}
