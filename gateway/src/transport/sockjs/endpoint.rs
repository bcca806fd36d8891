//! The endpoint: says what a request is, and hands it to the session that it names or begins that, here or on another node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use confab_gateway_protocol::sockjs::{self, Route, Transport};
use confab_shared::id::NodeId;
use http::header::ORIGIN;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::answer::{self, Answer};
use super::form::Form;
use super::table::{Owners, Table};
use crate::config::SockJsConfig;
use crate::registry::{Claims, RENEWAL, SessionName};
use crate::session::DisconnectReason;
use crate::transport::answer::share;
use crate::transport::application::{MessageHandler, own_copy};
use crate::transport::endpoint::{ConnectionGuard, EndpointParts, too_large};
use crate::transport::peers::Hop;

/// The most claims that are renewed with one pipeline.
const BATCH: usize = 256;
/// How many of these pipelines may be under way.
const BATCHES: usize = 8;
/// How soon claims are renewed again that were not.
const AGAIN: Duration = Duration::from_millis(250);

/// What an endpoint is made of, apart from what all endpoints of a node have.
pub struct SockJsParts {
    /// Timings and limits of a session.
    pub config: SockJsConfig,
    /// The path that everything is below, without a slash at its end.
    pub path: Arc<str>,
    /// Whose sessions are.
    pub claims: Arc<dyn Claims>,
}

/// SockJS in front of a handler.
pub struct SockJs<M> {
    pub(super) inner: Arc<Inner<M>>,
}

pub(super) struct Inner<M> {
    pub(super) parts: Arc<EndpointParts<M>>,
    pub(super) own: SockJsParts,
    pub(super) table: Arc<Table>,
    pub(super) owners: Owners,
}

impl<M> Clone for SockJs<M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// A client, which is there as far as that is known.
    Client(SocketAddr),
    /// Another node, because the session lives here. What it sends is never passed on again.
    Peer,
}

impl<M: MessageHandler> SockJs<M> {
    /// An endpoint.
    pub fn new(parts: Arc<EndpointParts<M>>, own: SockJsParts) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                own,
                table: Arc::default(),
                owners: Owners::default(),
            }),
        }
    }

    /// Answers a client's request. An answer may take its time; dropping it before its end ends the session.
    pub async fn respond(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        if let Some(status) = too_large(&request) {
            return answer::failed(status);
        }
        let parts = &self.inner.parts;
        if !parts.origins.permits(request.headers()) {
            return answer::failed(StatusCode::FORBIDDEN);
        }
        let client = parts.proxies.client(remote, request.headers());
        let client = SocketAddr::new(client, remote.port());
        // A copy of its own: as a part of what was read, it would keep all of that for as long as a request waits.
        let page = request.headers().get(ORIGIN).and_then(own_copy);
        let mut answer = self.dispatch(request, client, guard).await;
        share(&mut answer, page);
        answer
    }

    /// Answers a request on the internal listener: what another node passes on, and nothing else.
    pub async fn respond_to_peer(&self, request: Request<Incoming>) -> Answer {
        let Some(hop) = Hop::read(request.headers()) else {
            return answer::failed(StatusCode::FORBIDDEN);
        };
        let Some(Route::Session {
            session, transport, ..
        }) = self.route(request.uri().path())
        else {
            return answer::failed(StatusCode::NOT_FOUND);
        };
        let name = SessionName::of(session);
        let door = self.inner.table.find(name);
        match (hop, form(transport), door) {
            (Hop::Passed { .. }, Some(form), Some(door)) => {
                // What the request brought is of no use while it waits.
                drop(request);
                self.here(&door, form).await
            }
            // Its client comes with what may be a session's first request to the node that asks, which has to claim it.
            (Hop::Passed { .. }, Some(_), None) => answer::failed(StatusCode::NOT_FOUND),
            (Hop::Passed { .. }, None, _) => self.bring(name, request, Sender::Peer).await,
            (Hop::Release, _, door) => {
                if let Some(door) = door {
                    door.release();
                }
                answer::failed(StatusCode::NO_CONTENT)
            }
            (Hop::Broken, ..) => answer::failed(StatusCode::NO_CONTENT),
        }
    }

    /// Keeps this node's claims, for as long as it runs. Inputs: a clock, and the name of Redis's memory, which changes when that is lost.
    pub async fn keep(self, mut memory: watch::Receiver<Option<Arc<str>>>) {
        let mut turns = tokio::time::interval_at(Instant::now() + RENEWAL, RENEWAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_whole = true;
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                Ok(()) = memory.changed() => {}
                // Whatever is missing in Redis is nobody's session to other nodes.
                () = tokio::time::sleep(AGAIN), if !is_whole => {}
            }
            is_whole = self.renew().await;
        }
    }

    /// Renews all claims. False if that failed for some of them.
    async fn renew(&self) -> bool {
        let (claims, table) = (&self.inner.own.claims, &self.inner.table);
        let mut failure = None;
        for several in table.names().chunks(BATCH * BATCHES) {
            let batches: Vec<_> = several
                .chunks(BATCH)
                .map(|batch| claims.renew(batch))
                .collect();
            for renewed in futures_util::future::join_all(batches).await {
                for door in renewed.lost.iter().filter_map(|name| table.find(*name)) {
                    // This node stood still for longer than its claim was good, and the client has begun anew elsewhere.
                    door.queue().close(DisconnectReason::Superseded);
                }
                failure = renewed.error.or(failure);
            }
        }
        if let Some(error) = &failure {
            tracing::warn!(%error, "claims of sessions not renewed");
        }
        failure.is_none()
    }

    fn route<'p>(&self, path: &'p str) -> Option<Route<'p>> {
        Route::parse(path.strip_prefix(&*self.inner.own.path)?)
    }

    async fn dispatch(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        match self.route(&path) {
            Some(Route::Greeting) if method == Method::GET => answer::greeting(sockjs::GREETING),
            Some(Route::Greeting) => answer::not_allowed("GET"),
            Some(Route::Info) => match method {
                Method::GET => self.info(),
                Method::OPTIONS => answer::preflight(request.headers(), "OPTIONS, GET"),
                _ => answer::not_allowed("OPTIONS, GET"),
            },
            Some(Route::Session {
                session, transport, ..
            }) => {
                let name = SessionName::of(session);
                self.session(name, transport, request, client, guard).await
            }
            // A page that runs a script with the rights of this origin is for browsers that nobody has any more.
            Some(Route::Iframe | Route::RawWebSocket) | None => {
                answer::failed(StatusCode::NOT_FOUND)
            }
        }
    }

    fn info(&self) -> Answer {
        // Of a version 4 UUID's bits these are random.
        let entropy = Uuid::new_v4().as_fields().0;
        answer::info(sockjs::info(
            true,
            self.inner.own.config.base_url(),
            entropy,
        ))
    }

    async fn session(
        &self,
        name: SessionName,
        transport: Transport,
        request: Request<Incoming>,
        client: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        let allowed = match transport {
            Transport::Xhr | Transport::XhrStreaming | Transport::XhrSend => "OPTIONS, POST",
            Transport::EventSource => "OPTIONS, GET",
            Transport::WebSocket => "GET",
        };
        let method = request.method();
        if method == Method::OPTIONS && allowed.starts_with("OPTIONS") {
            return answer::preflight(request.headers(), allowed);
        }
        if !allowed.ends_with(method.as_str()) {
            return answer::not_allowed(allowed);
        }
        match form(transport) {
            Some(form) => {
                let (head, _) = request.into_parts();
                self.receive(name, form, head, client).await
            }
            None if transport == Transport::WebSocket => self.websocket(request, client, guard),
            None => self.bring(name, request, Sender::Client(client)).await,
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.inner.parts.sids.node()
    }
}

/// How a transport receives; none for those that do something else.
fn form(transport: Transport) -> Option<Form> {
    match transport {
        Transport::Xhr => Some(Form::Xhr),
        Transport::XhrStreaming => Some(Form::XhrStreaming),
        Transport::EventSource => Some(Form::EventSource),
        Transport::XhrSend | Transport::WebSocket => None,
    }
}
