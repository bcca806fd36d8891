//! Who listens to a room, and how what it shows reaches them.
//!
//! Owns the sockets, in groups for whom everything looks the same, so that it is encoded once for each. It knows nothing of order,
//! gaps or memberships: what it is given is shown.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use confab_shared::id::UserId;
use confab_shared::model::conversation::Subject;
use confab_shared::model::event::Fact;

use crate::dialect::{Audience, Called, Dialect, Namespace, Scene, Shown};
use crate::hub::socket::SocketRef;

/// The sockets that listen to a room.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    groups: Vec<Group>,
    keys: HashSet<u64>,
}

/// Sockets for whom an event looks the same.
#[derive(Debug)]
struct Group {
    dialect: &'static dyn Dialect,
    namespace: Namespace,
    called: Called,
    sockets: Vec<SocketRef>,
}

impl Listeners {
    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether the socket of this key listens.
    pub(super) fn contains(&self, socket: u64) -> bool {
        self.keys.contains(&socket)
    }

    /// Whether somebody else than this user listens.
    pub(super) fn has_others(&self, user: UserId) -> bool {
        self.groups
            .iter()
            .flat_map(|group| &group.sockets)
            .any(|socket| socket.user() != user)
    }

    /// One more socket listens, which calls the room thus. It must not listen yet.
    pub(super) fn add(&mut self, socket: SocketRef, called: Called) {
        let key = (socket.dialect().id(), socket.namespace(), called);
        let group = match self
            .groups
            .iter_mut()
            .find(|group| (group.dialect.id(), group.namespace, group.called) == key)
        {
            Some(group) => group,
            None => {
                let group = Group {
                    dialect: socket.dialect(),
                    namespace: socket.namespace(),
                    called,
                    sockets: Vec::new(),
                };
                self.groups.push_mut(group)
            }
        };
        self.keys.insert(socket.key());
        group.sockets.push(socket);
    }

    /// Those that are not to be kept listen no more.
    pub(super) fn retain(&mut self, keep: impl Fn(&SocketRef) -> bool) {
        let keys = &mut self.keys;
        self.groups.retain_mut(|group| {
            group.sockets.retain(|socket| {
                let kept = keep(socket);
                if !kept {
                    keys.remove(&socket.key());
                }
                kept
            });
            !group.sockets.is_empty()
        });
    }

    /// Shows something that is over at once to everybody but one user, who did it.
    pub(super) fn show_to_others(
        &mut self,
        subject: &Arc<Subject>,
        shown: Shown<'_>,
        user: UserId,
    ) {
        let events = std::slice::from_ref(&shown);
        for group in &self.groups {
            let scene = Scene {
                namespace: group.namespace,
                subject,
                called: group.called,
            };
            let frames = group.dialect.outbound(scene, events, Audience::Others);
            if frames.is_empty() {
                continue;
            }
            for socket in group.sockets.iter().filter(|socket| socket.user() != user) {
                if socket.holds_back() && socket.hold(subject, group.called, events) {
                    continue;
                }
                // A session that is ending is left with the next event that lasts.
                socket.push(frames.clone());
            }
        }
    }

    /// Encodes events once per group (and once more per sender, who alone sees its own `tempId`) and queues them. A socket whose
    /// session is ending listens no more.
    pub(super) fn show(&mut self, subject: &Arc<Subject>, events: &[Shown<'_>]) {
        let senders: Vec<UserId> = events.iter().filter_map(sender_with_temp_id).collect();
        let keys = &mut self.keys;
        for Group {
            dialect,
            namespace,
            called,
            sockets,
        } in &mut self.groups
        {
            let scene = Scene {
                namespace: *namespace,
                subject,
                called: *called,
            };
            let encode = |audience| dialect.outbound(scene, events, audience);
            let shared = encode(Audience::Others);
            let mut own: Vec<(UserId, Bytes)> = Vec::new();
            sockets.retain(|socket| {
                if socket.holds_back() && socket.hold(subject, *called, events) {
                    return true;
                }
                let user = socket.user();
                let stays = if senders.contains(&user) {
                    let frames = match own.iter().find(|(owner, _)| *owner == user) {
                        Some((_, frames)) => frames.clone(),
                        None => {
                            let frames = encode(Audience::Sender(user));
                            own.push((user, frames.clone()));
                            frames
                        }
                    };
                    socket.push(frames)
                } else {
                    shared.is_empty() || socket.push(shared.clone())
                };
                if !stays {
                    keys.remove(&socket.key());
                }
                stays
            });
        }
        self.groups.retain(|group| !group.sockets.is_empty());
    }
}

/// Shows one event of a conversation to one socket, whether or not it listens to the room.
pub fn show_to(socket: &SocketRef, subject: &Arc<Subject>, called: Called, shown: Shown<'_>) {
    let events = std::slice::from_ref(&shown);
    if socket.holds_back() && socket.hold(subject, called, events) {
        return;
    }
    let scene = Scene {
        namespace: socket.namespace(),
        subject,
        called,
    };
    let frames = socket.dialect().outbound(scene, events, Audience::Others);
    if !frames.is_empty() {
        socket.push(frames);
    }
}

fn sender_with_temp_id(shown: &Shown<'_>) -> Option<UserId> {
    match &shown.event.fact {
        Fact::MessageStored {
            message,
            temp_id: Some(_),
        } => Some(message.sender.id),
        _ => None,
    }
}
