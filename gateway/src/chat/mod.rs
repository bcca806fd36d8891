//! Chat over sockets: what a namespace's events mean for the node.
//!
//! The one [`Application`] that the Socket.IO layer carries in production. It authenticates, asks the socket's dialect what an
//! event means, and has the hub or the ingress do it. It has no words of its own: every frame is the dialect's.

mod notices;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use confab_gateway_protocol::json::Json;
use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::postgres::users;
use serde::Deserialize;

use crate::dialect::{self, Dialect, Namespace};
use crate::hub::socket::Socket;
use crate::node::Node;
use crate::session::DisconnectReason;
use crate::transport::application::{Application, ConnectRefused, Handshake, Incoming, Link};
use crate::transport::socketio::disconnect_frame;

pub use notices::show_notices;
use socket::ChatSocket;

/// The chat application of a node.
pub struct Chat {
    node: Arc<Node>,
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

impl Chat {
    /// Chat on this node.
    pub fn new(node: Arc<Node>) -> Result<Self, UnknownDialect> {
        let find = |name: &str| dialect::named(name).ok_or_else(|| UnknownDialect(name.to_owned()));
        let root = find(&node.config.sockets.root_dialect)?;
        let chat = find(&node.config.sockets.chat_dialect)?;
        Ok(Self { node, root, chat })
    }

    fn default_dialect(&self, namespace: Namespace) -> &'static dyn Dialect {
        match namespace {
            Namespace::Root => self.root,
            Namespace::Chat => self.chat,
        }
    }

    /// Who the token's bearer is. The account must still be there.
    async fn authenticate(&self, token: &str) -> Result<UserId, ConnectRefused> {
        let Claims { sub, .. } = self.node.tokens.verify(token).map_err(|error| {
            tracing::debug!(%error, "a socket was refused");
            unauthorized()
        })?;
        match users::profile(&self.node.database, sub).await {
            Ok(Some(_)) => Ok(sub),
            Ok(None) => Err(unauthorized()),
            Err(error) => {
                tracing::warn!(%error, "a socket could not be authenticated");
                Err(refused("Temporarily unavailable", ErrorCode::Timeout))
            }
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
    ) -> Result<Option<ChatSocket>, ConnectRefused> {
        let Some(namespace) = Namespace::parse(namespace) else {
            return Ok(None);
        };
        let credentials = match auth.map(Json::parse::<Credentials>) {
            None => Credentials::default(),
            Some(Ok(credentials)) => credentials,
            Some(Err(_)) => return Err(unauthorized()),
        };
        let default = self.default_dialect(namespace);
        let dialect = match credentials.dialect.or_else(|| handshake.query("dialect")) {
            None => None,
            Some(name) => match dialect::named(&name) {
                Some(dialect) => Some(dialect),
                None => return Err(refused("Unknown dialect", ErrorCode::ValidationFailed)),
            },
        };
        let queue = link.queue().clone();
        let Some(token) = credentials.token.or_else(|| bearer(handshake)) else {
            return Ok(Some(ChatSocket::anonymous(
                namespace,
                dialect.unwrap_or(default),
                link.clone(),
            )));
        };
        let user = self.authenticate(&token).await?;
        let socket = Socket::new(user, namespace, dialect, default, queue);
        // In this order: once the user counts as connected, notices are looked for on its channel.
        self.node.hub.users().add(socket.clone());
        let socket = ChatSocket::authenticated(socket, self.node.config.sockets.max_rooms);
        if self.node.backplane.listen_to(user).await.is_err() {
            self.disconnected(socket, DisconnectReason::Draining).await;
            return Err(refused("Shutting down", ErrorCode::Overloaded));
        }
        Ok(Some(socket))
    }

    async fn connected(&self, socket: &mut ChatSocket) {
        self.node.metrics.sockets_connected.inc();
        if let ChatSocket::Anonymous {
            namespace, link, ..
        } = socket
        {
            let (namespace, link) = (*namespace, link.clone());
            let patience = Duration::from_secs(self.node.config.auth.login_timeout_seconds);
            tokio::spawn(async move {
                tokio::time::sleep(patience).await;
                link.push(disconnect_frame(namespace.as_str()));
                link.close(DisconnectReason::Unauthenticated);
            });
        }
    }

    async fn event(&self, socket: &mut ChatSocket, event: Incoming<'_>) {
        match socket {
            ChatSocket::Anonymous {
                namespace,
                dialect,
                link,
            } => {
                let rejection = Rejection::new(ErrorCode::Unauthorized, "log in first");
                link.push(dialect.rejected(*namespace, event.ack_id, event.name, &rejection));
            }
            ChatSocket::Authenticated(socket) => socket.event(&self.node, event).await,
        }
    }

    async fn disconnected(&self, socket: ChatSocket, reason: DisconnectReason) {
        if let ChatSocket::Authenticated(socket) = socket {
            tracing::debug!(user = %socket.user(), %reason, "socket disconnected");
            socket.leave_all(&self.node).await;
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

fn unauthorized() -> ConnectRefused {
    refused("Unauthorized", ErrorCode::Unauthorized)
}

fn refused(message: &str, code: ErrorCode) -> ConnectRefused {
    ConnectRefused {
        message: message.to_owned(),
        data: Some(format!("{{\"code\":\"{}\"}}", code.as_str())),
    }
}
