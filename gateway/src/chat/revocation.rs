//! Tokens that end before their time take their sockets with them.

use std::collections::HashSet;

use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::model::event::UserSignal;
use confab_shared::postgres::tokens;

use crate::hub::socket::{Carrier, SocketRef};
use crate::node::Node;
use crate::session::DisconnectReason;
use crate::transport::socketio::disconnect_frame;

/// How many tokens one query asks about.
const BATCH: usize = 1_000;

/// Ends the sockets that a signal is about.
pub(super) fn heed(node: &Node, user: UserId, signal: &UserSignal) {
    let UserSignal::TokensRevoked { only, except } = signal;
    for socket in node.hub.users().sockets(user) {
        let Some(claims) = socket.token() else {
            continue;
        };
        let is_meant = only.is_none_or(|only| claims.jti == Some(only))
            && (except.is_none() || claims.jti != *except);
        if is_meant {
            end(&socket);
        }
    }
}

/// Asks of all who are connected whether their tokens are still good: a signal may have gone unheard.
pub(super) async fn check(node: &Node) {
    let mut sockets: Vec<SocketRef> = Vec::new();
    for (user, _) in node.hub.users().connected() {
        sockets.extend(node.hub.users().sockets(user));
    }
    sockets.retain(|socket| socket.token().is_some());
    for sockets in sockets.chunks(BATCH) {
        let claims: Vec<Claims> = sockets
            .iter()
            .filter_map(|socket| socket.token().cloned())
            .collect();
        let ended = match tokens::no_longer_good(&node.database, &claims).await {
            Ok(ended) => ended,
            Err(error) => {
                tracing::debug!(%error, "tokens not looked at; they are with the next sweep");
                return;
            }
        };
        let ended: HashSet<_> = ended.into_iter().collect();
        for socket in sockets {
            let key = socket.token().map(|claims| (claims.sub, claims.jti));
            if key.is_some_and(|key| ended.contains(&key)) {
                end(socket);
            }
        }
    }
}

/// Ends a socket, and tells its client not to come back with what it has; STOMP sessions are told in their own words, by what they end with.
pub(super) fn end(socket: &SocketRef) {
    match socket.carrier() {
        Carrier::SocketIo => {
            socket.push(disconnect_frame(socket.namespace().as_str()));
        }
        Carrier::Stomp | Carrier::Subscription(_) => {}
    }
    socket.queue().close(DisconnectReason::LoggedOut);
}
