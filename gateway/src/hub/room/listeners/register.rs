//! Which sockets listen to a room, by what they are looked up by.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::hub::socket::{Socket, SocketRef};
use crate::session::stomp::Subscription;

/// The sockets that listen to a room.
#[derive(Debug, Default)]
pub(super) struct Register {
    keys: HashSet<u64>,
    /// Those of them that are subscriptions.
    subscriptions: HashMap<u64, SocketRef>,
    /// How many of these each session has that are to this very room, by where its queue is: the sockets keep it there.
    sessions: HashMap<usize, u32>,
}

impl Register {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the socket of this key listens.
    pub(super) fn contains(&self, socket: u64) -> bool {
        self.keys.contains(&socket)
    }

    /// The socket of this key, if it is a subscription that listens.
    pub(super) fn subscription(&self, socket: u64) -> Option<(SocketRef, Arc<Subscription>)> {
        let socket = self.subscriptions.get(&socket)?;
        Some((socket.clone(), socket.subscription()?.clone()))
    }

    /// Whether the session of this socket has subscribed to this very room.
    pub(super) fn attends(&self, socket: &Socket) -> bool {
        self.sessions.contains_key(&session(socket))
    }

    /// A socket listens.
    pub(super) fn add(&mut self, socket: &SocketRef) {
        self.keys.insert(socket.key());
        if socket.subscription().is_none() {
            return;
        }
        self.subscriptions.insert(socket.key(), socket.clone());
        if is_to_this_room(socket) {
            *self.sessions.entry(session(socket)).or_default() += 1;
        }
    }

    /// It does no more.
    pub(super) fn remove(&mut self, socket: &Socket) {
        self.keys.remove(&socket.key());
        let is_subscription = self.subscriptions.remove(&socket.key()).is_some();
        if is_subscription && is_to_this_room(socket) {
            let session = session(socket);
            if let Some(count) = self.sessions.get_mut(&session) {
                *count -= 1;
                if *count == 0 {
                    self.sessions.remove(&session);
                }
            }
        }
    }
}

/// Whether a subscription that listens has been made to the room itself, not to whatever its user takes part in.
fn is_to_this_room(socket: &Socket) -> bool {
    !socket.dialect().sight().is_wide()
}

fn session(socket: &Socket) -> usize {
    Arc::as_ptr(socket.queue()).addr()
}
