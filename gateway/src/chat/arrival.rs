//! A socket on its way in: it counts as connected, and is taken out of everything again unless it stays.

use std::sync::Arc;

use confab_shared::id::ConversationId;

use crate::hub::socket::SocketRef;
use crate::node::Node;

/// A socket that is being connected.
pub(super) struct Arrival {
    node: Arc<Node>,
    socket: SocketRef,
    rooms: Vec<ConversationId>,
    stays: bool,
}

impl Arrival {
    /// A socket that counts as connected from here on.
    pub(super) fn new(node: Arc<Node>, socket: SocketRef) -> Self {
        node.hub.users().add(socket.clone());
        Self {
            node,
            socket,
            rooms: Vec::new(),
            stays: false,
        }
    }

    /// The socket.
    pub(super) fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// It is about to join a room.
    pub(super) fn enter(&mut self, conversation: ConversationId) {
        self.rooms.push(conversation);
    }

    /// It is connected: from here on whoever holds the socket takes it out in the end.
    pub(super) fn stay(mut self) -> SocketRef {
        self.stays = true;
        self.node.presence.touch(self.socket.user());
        self.socket.clone()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if !self.stays {
            take_out(&self.node, &self.socket, std::mem::take(&mut self.rooms));
        }
    }
}

/// Takes a socket out of its user's sockets and out of its rooms.
pub(super) fn take_out(node: &Node, socket: &SocketRef, rooms: Vec<ConversationId>) {
    if node.hub.users().remove(socket) {
        node.backplane.forget(socket.user());
        node.presence.touch(socket.user());
    }
    let (hub, key, watched) = (node.hub.clone(), socket.key(), socket.end_watching());
    if rooms.is_empty() && !watched {
        return;
    }
    // The hub may be busy, and nobody is left to wait for it; without a runtime there is no hub either.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            for conversation in rooms {
                hub.leave(key, conversation).await;
            }
            if watched {
                hub.unwatch(key).await;
            }
        });
    }
}
