//! Chat over sockets: what a namespace's events mean for the node.
//!
//! The one [`Application`] that the Socket.IO layer carries in production, and the one that STOMP does (see [`stomp`]). It authenticates, asks
//! the socket's dialect what an event means, and has the hub or the ingress do it. It has no words of its own: every frame is the dialect's.

mod anonymous;
mod answer;
mod arrival;
mod authentication;
mod between;
mod commands;
mod follow;
mod inside;
mod introduction;
mod missed;
mod notices;
mod recover;
mod rejoin;
mod revocation;
mod socket;
mod speech;
mod stomp;
mod typing;

use std::sync::Arc;
use std::time::Duration;

use confab_gateway_protocol::json::Json;
use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::model::account::Profile;
use confab_shared::model::error::ErrorCode;
use serde::Deserialize;

use crate::dialect::{self, Dialect, Namespace};
use crate::hub::socket::{Socket, SocketRef};
use crate::node::Node;
use crate::recovery::{Recovery, RecoveryError};
use crate::session::DisconnectReason;
use crate::transport::admission::client_network;
use crate::transport::application::{
    Application, ConnectError, Connected, Handshake, Incoming, Link,
};
use crate::transport::endpoint::random_id;

use anonymous::{AnonymousSocket, Spoken};
use arrival::Arrival;
pub use notices::show_notices;
use recover::RecoverError;
use socket::UserSocket;
pub use stomp::StompClient;

/// The chat application of a node.
pub struct Chat {
    node: Arc<Node>,
    defaults: DefaultDialects,
}

/// What sockets speak that say nothing of it, per namespace.
struct DefaultDialects {
    root: &'static dyn Dialect,
    chat: &'static dyn Dialect,
}

/// A namespace's default dialect is none that we have.
#[derive(Debug, thiserror::Error)]
#[error("sockets.root_dialect or sockets.chat_dialect: there is no dialect {0:?}")]
pub struct UnknownDialect(String);

/// The part of a CONNECT's credentials that is ours. Others may stand beside it.
#[derive(Debug, Default, Deserialize)]
struct Credentials {
    token: Option<String>,
    dialect: Option<String>,
    /// The private id of the socket that its client had, if it has come back,
    #[serde(default, deserialize_with = "lenient")]
    pid: Option<String>,
    /// and how far it had come.
    #[serde(default, deserialize_with = "lenient")]
    offset: Option<String>,
}

/// A string; whatever else it is becomes one that fits nothing: a client that gives nonsense back begins anew.
fn lenient<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(value)? {
        serde_json::Value::String(text) => Some(text),
        _ => Some(String::new()),
    })
}

/// A socket, before and after it is known whose it is.
#[derive(Debug)]
pub enum ChatSocket {
    /// It gave no token.
    Anonymous(AnonymousSocket),
    /// It is a user's, or a guest's.
    User(Box<UserSocket>),
}

/// How a socket came.
struct Way<'a> {
    namespace: Namespace,
    /// The dialect that it asked for.
    dialect: Option<&'static dyn Dialect>,
    link: &'a Link,
}

impl Chat {
    /// Chat on this node.
    pub fn new(node: Arc<Node>) -> Result<Self, UnknownDialect> {
        let find = |name: &str| dialect::named(name).ok_or_else(|| UnknownDialect(name.to_owned()));
        let root = find(&node.config.sockets.root_dialect)?;
        let chat = find(&node.config.sockets.chat_dialect)?;
        Ok(Self {
            node,
            defaults: DefaultDialects { root, chat },
        })
    }

    fn default_dialect(&self, namespace: Namespace) -> &'static dyn Dialect {
        match namespace {
            Namespace::Root => self.defaults.root,
            Namespace::Chat => self.defaults.chat,
        }
    }

    /// Whether a user may have one more session here. Sockets of a session that has some already are no more sessions.
    fn has_room_for(&self, user: UserId, link: &Link) -> Result<(), ConnectError> {
        let most = self.node.config.limits.sessions_per_user as usize;
        let users = self.node.hub.users();
        let others = users.sessions_before(user, link.queue());
        if most > 0 && others >= most {
            return Err(refused("Too many sessions", ErrorCode::RateLimited));
        }
        Ok(())
    }

    /// A Socket.IO socket. Guests have no claims.
    fn socket(&self, user: UserId, claims: Option<Claims>, way: &Way<'_>) -> SocketRef {
        let default = self.default_dialect(way.namespace);
        let queue = way.link.queue().clone();
        Socket::new(user, claims, way.namespace, way.dialect, default, queue)
    }

    /// Has a socket count as connected, and its user's own channel listened to.
    async fn welcome(&self, socket: SocketRef) -> Result<Arrival, ConnectError> {
        let user = socket.user();
        // In this order: once it counts as connected, what is said on its channel is for it.
        let arrival = Arrival::new(self.node.clone(), socket);
        self.node
            .backplane
            .listen_to(user)
            .await
            .map_err(|_| ConnectError::Unavailable)?;
        Ok(arrival)
    }

    /// A new socket.
    async fn admit(
        &self,
        arrival: Arrival,
        profile: Arc<Profile>,
    ) -> Result<Connected<ChatSocket>, ConnectError> {
        let sid = random_id();
        let (kept, pid) = self
            .node
            .recovery
            .keep(arrival.socket(), &sid)
            .await
            .map_err(|error| unavailable(&error))?;
        let mut socket = UserSocket::new(self.node.clone(), arrival.stay(), profile, kept);
        socket.arrive().await.map_err(|error| unavailable(&error))?;
        Ok(Connected {
            socket: ChatSocket::User(Box::new(socket)),
            sid,
            pid,
        })
    }

    /// The socket of somebody who said only later who they are, or who is a guest. Its client was told that it cannot be recovered.
    async fn admit_late(
        &self,
        arrival: Arrival,
        profile: Arc<Profile>,
    ) -> Result<Box<UserSocket>, ConnectError> {
        let kept = Recovery::hold(arrival.socket(), &random_id());
        let (node, socket) = (self.node.clone(), arrival.stay());
        let mut socket = Box::new(UserSocket::new(node, socket, profile, kept));
        socket.arrive().await.map_err(|error| unavailable(&error))?;
        socket.begin();
        Ok(socket)
    }

    /// The socket of a client that has come back, if everything it missed can be told. None: it begins anew.
    async fn readmit(
        &self,
        arrival: Arrival,
        profile: &Arc<Profile>,
        pid: String,
        offset: Option<&str>,
    ) -> Result<Option<Connected<ChatSocket>>, ConnectError> {
        let user = profile.id;
        let recovered = self.recover(arrival, profile, pid, offset).await;
        let (outcome, answer) = match recovered {
            Ok(connected) => ("recovered", Ok(Some(connected))),
            Err(RecoverError::Recovery(RecoveryError::Refused(refusal))) => {
                tracing::debug!(%user, reason = %refusal, "a client that came back begins anew");
                (refusal.as_str(), Ok(None))
            }
            Err(error) => ("failed", Err(unavailable(&error))),
        };
        self.resumed(outcome);
        answer
    }

    fn resumed(&self, outcome: &str) {
        let resumes = &self.node.metrics.resumes_total;
        resumes.with_label_values(&[outcome]).inc();
    }

    async fn recover(
        &self,
        mut arrival: Arrival,
        profile: &Arc<Profile>,
        pid: String,
        offset: Option<&str>,
    ) -> Result<Connected<ChatSocket>, RecoverError> {
        let recovery = &self.node.recovery;
        let namespace = arrival.socket().namespace();
        let adopted = recovery.adopt(&pid, offset, profile.id, namespace).await?;
        if let Some(dialect) = adopted.record.dialect.as_deref().and_then(dialect::named) {
            arrival.socket().settle_dialect(Some(dialect));
        }
        let catch_up = recover::prepare(&self.node, &mut arrival, &adopted).await?;
        let rooms = catch_up.rooms.clone();
        let kept = recovery.keep_adopted(&pid, &adopted, arrival.socket(), rooms)?;
        // Without a pause in between: from here on, whatever becomes of this task, what is kept is released.
        let (node, socket) = (self.node.clone(), arrival.stay());
        let mut socket = UserSocket::new(node, socket, profile.clone(), kept);
        recovery.settle(&adopted, &socket.kept).await;
        // What it knows of each partition is at least so late.
        let since = adopted.since.places.earliest();
        socket.resume(catch_up, since).await;
        Ok(Connected {
            socket: ChatSocket::User(Box::new(socket)),
            sid: adopted.record.sid,
            pid: Some(pid),
        })
    }
}

impl Application for Chat {
    type Socket = ChatSocket;

    async fn connect(
        &self,
        handshake: &Arc<Handshake>,
        namespace: &str,
        auth: Option<Json<'_>>,
        link: &Link,
    ) -> Result<Option<Connected<ChatSocket>>, ConnectError> {
        let Some(namespace) = Namespace::parse(namespace) else {
            return Ok(None);
        };
        let credentials = match auth.map(Json::parse::<Credentials>) {
            None => Credentials::default(),
            Some(Ok(credentials)) => credentials,
            Some(Err(_)) => return Err(unauthorized()),
        };
        let Credentials {
            token,
            dialect,
            pid,
            offset,
        } = credentials;
        let dialect = match dialect.or_else(|| handshake.query("dialect")) {
            None => None,
            Some(name) => match dialect::named(&name) {
                Some(dialect) => Some(dialect),
                None => return Err(refused("Unknown dialect", ErrorCode::ValidationFailed)),
            },
        };
        let Some(token) = token.or_else(|| bearer(handshake)) else {
            let dialect = dialect.map_or(
                Spoken::Default(self.default_dialect(namespace)),
                Spoken::Chosen,
            );
            // Guests may stay: they are somebody as soon as they enter a room.
            let patience = (!self.node.config.auth.guests)
                .then(|| Duration::from_secs(self.node.config.auth.login_timeout_seconds));
            let socket = AnonymousSocket::new(
                namespace,
                dialect,
                link.clone(),
                client_network(handshake.remote().ip()),
                patience,
            );
            return Ok(Some(Connected {
                socket: ChatSocket::Anonymous(socket),
                sid: random_id(),
                pid: None,
            }));
        };
        let mut is_resuming = false;
        let connecting = async {
            let claims = self.verify(&token)?;
            is_resuming = pid.is_some();
            let user = claims.sub;
            let way = Way {
                namespace,
                // A client that comes back spoke what it did.
                dialect: dialect.filter(|_| pid.is_none()),
                link,
            };
            let socket = self.socket(user, Some(claims.clone()), &way);
            let mut arrival = self.welcome(socket).await?;
            let profile = self.bearer(&claims).await?;
            if let Some(pid) = pid {
                let back = self
                    .readmit(arrival, &profile, pid, offset.as_deref())
                    .await?;
                is_resuming = false;
                if back.is_some() {
                    return Ok(back);
                }
                let way = Way { dialect, ..way };
                arrival = self.welcome(self.socket(user, Some(claims), &way)).await?;
            }
            // Not before: whoever comes back may have left a session here that does not know it is over.
            self.has_room_for(user, link)?;
            self.admit(arrival, profile).await.map(Some)
        };
        let connected = tokio::time::timeout(self.node.reply_timeout(), connecting).await;
        if connected.is_err() && is_resuming {
            self.resumed("failed");
        }
        connected.unwrap_or(Err(ConnectError::Unavailable))
    }

    async fn connected(&self, socket: &mut ChatSocket) {
        self.node.metrics.sockets_connected_total.inc();
        if let ChatSocket::User(socket) = socket {
            socket.begin();
        }
    }

    async fn event(&self, socket: &mut ChatSocket, event: Incoming<'_>) {
        match socket {
            ChatSocket::Anonymous(anonymous) => {
                // Boxed: see `UserSocket::event`.
                if let Some(user) = Box::pin(self.introduce(anonymous, event)).await {
                    *socket = ChatSocket::User(user);
                }
            }
            ChatSocket::User(socket) => socket.event(event).await,
        }
    }

    async fn disconnected(&self, mut socket: ChatSocket, reason: DisconnectReason) {
        if let ChatSocket::User(socket) = &mut socket {
            if reason == DisconnectReason::ClientClosed {
                socket.leave_on_purpose();
            }
            tracing::debug!(user = %socket.user(), %reason, "socket disconnected");
        }
    }
}

/// The token of the handshake request's `Authorization: Bearer`.
fn bearer(handshake: &Handshake) -> Option<String> {
    let (scheme, token) = handshake.authorization()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

fn unavailable(error: &dyn std::fmt::Display) -> ConnectError {
    tracing::warn!(%error, "a socket could not be connected");
    ConnectError::Unavailable
}

fn unauthorized() -> ConnectError {
    refused("Unauthorized", ErrorCode::Unauthorized)
}

fn refused(message: &str, code: ErrorCode) -> ConnectError {
    ConnectError::Refused {
        message: message.to_owned(),
        data: Some(format!("{{\"code\":\"{}\"}}", code.as_str())),
    }
}
