//! A subscription that is shown something.

use std::sync::Arc;

use confab_shared::id::ConversationId;

use super::super::arrival::take_out;
use super::super::follow::unfollow;
use crate::hub::socket::SocketRef;
use crate::node::Node;

/// A subscription's socket. However it ends, dropping this takes it out of everything.
pub(super) struct Listening {
    node: Arc<Node>,
    socket: SocketRef,
    /// The room that it listens to, if it is one room's.
    room: Option<ConversationId>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Listening {
    /// A socket that is about to listen to a room.
    pub(super) fn to_room(node: Arc<Node>, socket: SocketRef, room: ConversationId) -> Self {
        Self {
            node,
            socket,
            room: Some(room),
        }
    }

    /// A socket that is about to be shown what concerns its user: it is one of the user's from here on.
    pub(super) fn to_user(node: Arc<Node>, socket: SocketRef) -> Self {
        node.hub.users().add(socket.clone());
        Self {
            node,
            socket,
            room: None,
        }
    }

    /// Listens no more. Nothing is queued for it after this.
    pub(super) async fn end(mut self) {
        // On a task of its own: it is gone through with, should whoever waits for it be gone.
        let ending = tokio::spawn(async move {
            let (node, socket) = (self.node.clone(), self.socket.clone());
            unfollow(&node, &socket).await;
            if let Some(room) = self.room.take() {
                node.hub.leave(socket.key(), room).await;
            }
            if socket.end_watching() {
                node.hub.unwatch(socket.key()).await;
            }
            drop(self);
            node.hub.caught_up().await;
        });
        if let Err(error) = ending.await {
            tracing::error!(%error, "a subscription was not ended");
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut rooms: Vec<_> = self.room.take().into_iter().collect();
        rooms.extend(self.socket.end_following());
        take_out(&self.node, &self.socket, rooms);
    }
}
