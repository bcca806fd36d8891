//! Chat over sockets: what a namespace's events mean for the node.
//!
//! The one [`Application`] that the Socket.IO layer carries in production. It authenticates, asks the socket's dialect what an
//! event means, and has the hub or the ingress do it. It has no words of its own: every frame is the dialect's.

mod anonymous;
mod notices;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use confab_gateway_protocol::json::Json;
use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::model::error::ErrorCode;
use confab_shared::postgres::users;
use serde::Deserialize;

use crate::dialect::{self, Dialect, Namespace};
use crate::hub::socket::Socket;
use crate::node::Node;
use crate::session::DisconnectReason;
use crate::transport::application::{
    Application, ConnectError, Connected, Handshake, Incoming, Link,
};
use crate::transport::endpoint::random_id;

use anonymous::AnonymousSocket;
pub use notices::show_notices;
use socket::UserSocket;

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
}

/// A socket, before and after it is known whose it is.
#[derive(Debug)]
pub enum ChatSocket {
    /// It gave no token.
    Anonymous(AnonymousSocket),
    /// It is a user's.
    User(UserSocket),
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

    /// Who the token's bearer is. The account must still be there.
    async fn authenticate(&self, token: &str) -> Result<UserId, ConnectError> {
        let Claims { sub, .. } = self.node.tokens.verify(token).map_err(|error| {
            tracing::debug!(%error, "a socket was refused");
            unauthorized()
        })?;
        match users::profile(&self.node.database, sub).await {
            Ok(Some(_)) => Ok(sub),
            Ok(None) => Err(unauthorized()),
            Err(error) => {
                tracing::warn!(%error, "a socket could not be authenticated");
                Err(ConnectError::Unavailable)
            }
        }
    }

    /// A user's socket, counted as connected, with its user's own channel listened to.
    async fn welcome(
        &self,
        user: UserId,
        namespace: Namespace,
        dialect: Option<&'static dyn Dialect>,
        link: &Link,
    ) -> Result<ChatSocket, ConnectError> {
        let default = self.default_dialect(namespace);
        let socket = Socket::new(user, namespace, dialect, default, link.queue().clone());
        // In this order: once it counts as connected, what is said on its channel is for it.
        let socket = UserSocket::connect(self.node.clone(), socket);
        let listening = self.node.backplane.listen_to(user);
        match tokio::time::timeout(self.node.reply_timeout(), listening).await {
            Ok(Ok(())) => Ok(ChatSocket::User(socket)),
            Ok(Err(_)) | Err(_) => Err(ConnectError::Unavailable),
        }
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
        let dialect = match credentials.dialect.or_else(|| handshake.query("dialect")) {
            None => None,
            Some(name) => match dialect::named(&name) {
                Some(dialect) => Some(dialect),
                None => return Err(refused("Unknown dialect", ErrorCode::ValidationFailed)),
            },
        };
        let socket = match credentials.token.or_else(|| bearer(handshake)) {
            Some(token) => {
                let user = self.authenticate(&token).await?;
                self.welcome(user, namespace, dialect, link).await?
            }
            None => {
                let dialect = dialect.unwrap_or(self.default_dialect(namespace));
                let patience = Duration::from_secs(self.node.config.auth.login_timeout_seconds);
                let socket = AnonymousSocket::new(namespace, dialect, link.clone(), patience);
                ChatSocket::Anonymous(socket)
            }
        };
        Ok(Some(Connected {
            socket,
            sid: random_id(),
            pid: None,
        }))
    }

    async fn connected(&self, _: &mut ChatSocket) {
        self.node.metrics.sockets_connected.inc();
    }

    async fn event(&self, socket: &mut ChatSocket, event: Incoming<'_>) {
        match socket {
            ChatSocket::Anonymous(socket) => socket.event(event),
            ChatSocket::User(socket) => socket.event(event).await,
        }
    }

    async fn disconnected(&self, socket: ChatSocket, reason: DisconnectReason) {
        if let ChatSocket::User(socket) = &socket {
            tracing::debug!(user = %socket.user(), %reason, "socket disconnected");
        }
    }
}

/// The token of the handshake request's `Authorization: Bearer`.
fn bearer(handshake: &Handshake) -> Option<String> {
    let value = handshake
        .headers
        .get(http::header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
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
