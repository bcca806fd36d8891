//! Where clients come to for a session: Socket.IO, STOMP and SockJS, each below a path of its own.
//!
//! Owns which request is whose. What becomes of it is the endpoints' business; whatever is none's is REST's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use confab_shared::lifecycle::spawn_vital;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::chat::Chat;
use crate::node::Node;
use crate::registry::{LeasedDirectory, RedisClaims};
use crate::transport::admission::{Admission, TrustedProxies};
use crate::transport::connection::ConnectionId;
use crate::transport::endpoint::{ConnectionGuard, Endpoint, EndpointParts};
use crate::transport::origin::AllowedOrigins;
use crate::transport::peers::{Peers, PeersConfig};
use crate::transport::request_id;
use crate::transport::sessions::Sessions;
use crate::transport::sid::SidAuthority;
use crate::transport::socketio::SocketIo;
use crate::transport::sockjs::SockJs;
use crate::transport::stomp::Stomp;
use crate::transport::stomp::endpoint::StompEndpoint;

/// The path of the Engine.IO endpoint.
const ENGINE_PATH: &str = "/socket.io/";

/// The endpoints of a node. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    socket_io: Endpoint<SocketIo<Chat>>,
    stomp: Option<StompEndpoint<Chat>>,
    sockjs: Option<SockJs<Stomp<Chat>>>,
}

/// Whose a request is.
enum Door<'d> {
    SocketIo(&'d Endpoint<SocketIo<Chat>>),
    Stomp(&'d StompEndpoint<Chat>),
    SockJs(&'d SockJs<Stomp<Chat>>),
}

impl Doors {
    /// The endpoints that the settings ask for. Their sessions run among `connections`; what keeps them runs until `ending`.
    pub fn open(
        node: &Arc<Node>,
        sessions: &Sessions,
        connections: &TaskTracker,
        draining: &CancellationToken,
        ending: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let config = &node.config;
        let parts = parts(node, sessions, connections, draining)?;
        let stomp = match config.stomp.path() {
            Some(path) => {
                let rules = config.stomp.rules(node.reply_timeout())?;
                let handler = Stomp::new(Chat::new(node.clone())?, rules, node.metrics.clone());
                Some(StompEndpoint::new(parts.with(handler), path))
            }
            None => None,
        };
        let sockjs = stomp
            .as_ref()
            .filter(|_| config.sockjs.enabled)
            .map(|stomp| {
                let counted = node.metrics.redis.clone();
                let claims = RedisClaims::new(node.redis.clone(), node.keyspace, node.id, counted);
                stomp.sockjs(config.sockjs.clone(), Arc::new(claims))
            });
        if let Some(sockjs) = &sockjs {
            let memory = node.backplane.memory();
            spawn_vital("claims of sessions", ending, sockjs.clone().keep(memory));
        }
        Ok(Self {
            socket_io: Endpoint::new(parts),
            stomp,
            sockjs,
        })
    }

    /// Answers a client's request. Given back if it is none of theirs.
    pub async fn respond(
        &self,
        mut request: Request<Incoming>,
        remote: SocketAddr,
        guard: ConnectionGuard,
    ) -> Result<Response<Body>, Request<Incoming>> {
        let Some(door) = self.door(&request) else {
            return Err(request);
        };
        let log = named(&mut request);
        Ok(match door {
            Door::SocketIo(endpoint) => {
                let answer = endpoint.respond(request, remote, guard);
                answer.instrument(log).await.map(Body::new)
            }
            Door::Stomp(endpoint) => {
                let answer = log.in_scope(|| endpoint.respond(request, remote, guard));
                answer.map(Body::new)
            }
            Door::SockJs(endpoint) => {
                let answer = endpoint.respond(request, remote, guard);
                answer.instrument(log).await.map(Body::new)
            }
        })
    }

    /// Answers what another node passes on. Given back if it is none of theirs.
    pub async fn respond_to_peer(
        &self,
        mut request: Request<Incoming>,
        guard: ConnectionGuard,
    ) -> Result<Response<Body>, Request<Incoming>> {
        match self.door(&request) {
            Some(Door::SocketIo(endpoint)) => {
                let log = named(&mut request);
                let answer = endpoint.respond_to_peer(request, guard);
                Ok(answer.instrument(log).await.map(Body::new))
            }
            Some(Door::SockJs(endpoint)) => {
                let log = named(&mut request);
                let answer = endpoint.respond_to_peer(request);
                Ok(answer.instrument(log).await.map(Body::new))
            }
            // Its sessions are their connections', and never elsewhere.
            Some(Door::Stomp(_)) | None => Err(request),
        }
    }

    fn door<B>(&self, request: &Request<B>) -> Option<Door<'_>> {
        let path = request.uri().path();
        if path.starts_with(ENGINE_PATH) {
            return Some(Door::SocketIo(&self.socket_io));
        }
        let stomp = self.stomp.as_ref().filter(|stomp| stomp.is_at(path))?;
        Some(match &self.sockjs {
            Some(sockjs) if !stomp.opens(request) => Door::SockJs(sockjs),
            Some(_) | None => Door::Stomp(stomp),
        })
    }
}

/// What names a session's request in the log: most sessions' requests are too many to be named unless somebody looks closely.
fn named(request: &mut Request<Incoming>) -> Span {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return Span::none();
    }
    let id = request_id::of(request.headers()).into_owned();
    // So that it is called the same where it is passed on to.
    request_id::put(request.headers_mut(), &id);
    let connection = request.extensions().get::<ConnectionId>();
    tracing::debug_span!(
        "request",
        %id,
        connection = connection.map(|connection| connection.0),
        method = %request.method(),
    )
}

/// What all endpoints are made of, around the first of them.
fn parts(
    node: &Arc<Node>,
    sessions: &Sessions,
    connections: &TaskTracker,
    draining: &CancellationToken,
) -> anyhow::Result<EndpointParts<SocketIo<Chat>>> {
    let config = &node.config;
    let spread = config.drain.spread();
    let peers = Peers::new(
        Arc::new(LeasedDirectory::new(node.redis.clone(), node.keyspace)),
        &PeersConfig::new(
            &config.engine,
            config.cluster.protocol,
            config.http.peer_timeout(),
            spread,
        )
        .waiting(config.sockjs.heartbeat()),
        draining.clone(),
        connections.clone(),
        node.metrics.clone(),
    );
    Ok(EndpointParts {
        handler: SocketIo::new(Chat::new(node.clone())?, &config.engine),
        config: config.engine.clone(),
        origins: AllowedOrigins::parse(&config.http.cors_origin),
        proxies: TrustedProxies::new(config.http.trusted_proxies()?),
        admission: Admission::new(&config.limits),
        sids: SidAuthority::new(node.id, config.auth.jwt_secret.as_bytes()),
        sessions: sessions.clone(),
        peers,
        tasks: connections.clone(),
        metrics: node.metrics.clone(),
    })
}
