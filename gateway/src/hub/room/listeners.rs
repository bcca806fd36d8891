//! Who listens to a room, and how what it shows reaches them.
//!
//! Owns the sockets, in groups for whom everything is put into the same words, so that it is encoded once for each; and within these, those
//! that are subscriptions by what they have to be addressed by, so that it is addressed once for all that look alike. It knows nothing of
//! order, gaps or memberships: what it is given is shown.

mod register;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use confab_shared::id::UserId;
use confab_shared::model::conversation::Subject;
use confab_shared::model::event::Fact;

use crate::dialect::{Audience, Called, Dialect, Namespace, Scene, Shown};
use crate::hub::socket::SocketRef;
use crate::session::stomp::Subscription;
use register::Register;

/// The sockets that listen to a room.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    groups: Vec<Group>,
    register: Register,
}

/// Sockets for whom an event is put into the same words.
#[derive(Debug)]
struct Group {
    dialect: &'static dyn Dialect,
    namespace: Namespace,
    called: Called,
    /// Those that get these words as they are.
    sockets: Vec<SocketRef>,
    /// Those to which they are addressed, by what that takes. Hashed, since there may be as many as sockets.
    subscribed: HashMap<Arc<Subscription>, Vec<SocketRef>>,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.subscribed.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &SocketRef> {
        self.sockets
            .iter()
            .chain(self.subscribed.values().flatten())
    }

    /// The sockets that are addressed like this one.
    fn alike(&mut self, socket: &SocketRef) -> &mut Vec<SocketRef> {
        match socket.subscription() {
            None => &mut self.sockets,
            Some(subscription) => self.subscribed.entry(subscription.clone()).or_default(),
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&SocketRef) -> bool) {
        self.sockets.retain(&mut keep);
        self.subscribed.retain(|_, sockets| {
            sockets.retain(&mut keep);
            !sockets.is_empty()
        });
    }

    fn scene<'a>(&self, subject: &'a Subject) -> Scene<'a> {
        Scene {
            namespace: self.namespace,
            subject,
            called: self.called,
        }
    }
}

impl Listeners {
    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many listen.
    pub(super) fn len(&self) -> usize {
        self.register.len()
    }

    /// Whether the socket of this key listens.
    pub(super) fn contains(&self, socket: u64) -> bool {
        self.register.contains(socket)
    }

    /// Whether the session of this socket has subscribed to this very room.
    pub(super) fn attends(&self, socket: &SocketRef) -> bool {
        self.register.attends(socket)
    }

    /// Whether somebody else than this user listens.
    pub(super) fn has_others(&self, user: UserId) -> bool {
        self.groups
            .iter()
            .flat_map(Group::all)
            .any(|socket| socket.audience() != user)
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
                    subscribed: HashMap::new(),
                };
                self.groups.push_mut(group)
            }
        };
        self.register.add(&socket);
        group.alike(&socket).push(socket);
    }

    /// A socket listens no more.
    pub(super) fn remove(&mut self, socket: u64) {
        if !self.register.contains(socket) {
            return;
        }
        let Some((socket, subscription)) = self.register.subscription(socket) else {
            self.retain(|other| other.key() != socket);
            return;
        };
        // Those that are addressed alike are found without looking at all.
        self.register.remove(&socket);
        self.groups.retain_mut(|group| {
            if let Some(alike) = group.subscribed.get_mut(&subscription) {
                alike.retain(|other| other.key() != socket.key());
                if alike.is_empty() {
                    group.subscribed.remove(&subscription);
                }
            }
            !group.is_empty()
        });
    }

    /// Those that are not to be kept listen no more.
    pub(super) fn retain(&mut self, keep: impl Fn(&SocketRef) -> bool) {
        let register = &mut self.register;
        self.groups.retain_mut(|group| {
            group.retain(|socket| {
                let kept = keep(socket);
                if !kept {
                    register.remove(socket);
                }
                kept
            });
            !group.is_empty()
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
            let scene = group.scene(subject);
            let frames = group.dialect.outbound(scene, events, Audience::Others);
            if frames.is_empty() {
                continue;
            }
            let tell = |sockets: &[SocketRef], frames: &Bytes| {
                for socket in sockets.iter().filter(|socket| socket.audience() != user) {
                    if socket.holds_back() && socket.hold(subject, group.called, events) {
                        continue;
                    }
                    // A session that is ending is left with the next event that lasts.
                    socket.push(frames.clone());
                }
            };
            tell(&group.sockets, &frames);
            for (subscription, sockets) in &group.subscribed {
                tell(sockets, &subscription.address(frames.clone()));
            }
        }
    }

    /// Encodes events once per group (and once more per sender, who alone sees its own `tempId`), addresses them once per kind of
    /// subscription, and queues them. A socket whose session is ending listens no more.
    pub(super) fn show(&mut self, subject: &Arc<Subject>, events: &[Shown<'_>]) {
        let senders: Vec<UserId> = events.iter().filter_map(sender_with_temp_id).collect();
        let register = &mut self.register;
        for group in &mut self.groups {
            let showing = Showing {
                dialect: group.dialect,
                scene: group.scene(subject),
                subject,
                events,
                senders: &senders,
            };
            let shared = showing.encode(Audience::Others);
            showing.reach(&mut group.sockets, &shared, |frames| frames, register);
            group.subscribed.retain(|subscription, sockets| {
                let address = |frames: Bytes| {
                    if frames.is_empty() {
                        frames
                    } else {
                        subscription.address(frames)
                    }
                };
                showing.reach(sockets, &shared, address, register);
                !sockets.is_empty()
            });
        }
        self.groups.retain(|group| !group.is_empty());
    }
}

/// Events that are shown to a group.
struct Showing<'a> {
    dialect: &'static dyn Dialect,
    scene: Scene<'a>,
    subject: &'a Arc<Subject>,
    events: &'a [Shown<'a>],
    /// Who sees more of them than others.
    senders: &'a [UserId],
}

impl Showing<'_> {
    fn encode(&self, audience: Audience) -> Bytes {
        self.dialect.outbound(self.scene, self.events, audience)
    }

    /// Queues for sockets that are addressed alike what all see, or what its sender does. Those whose session is ending are let go.
    fn reach(
        &self,
        sockets: &mut Vec<SocketRef>,
        shared: &Bytes,
        address: impl Fn(Bytes) -> Bytes,
        register: &mut Register,
    ) {
        if sockets.is_empty() {
            return;
        }
        let shared = address(shared.clone());
        let mut own: Vec<(UserId, Bytes)> = Vec::new();
        sockets.retain(|socket| {
            if socket.holds_back() && socket.hold(self.subject, self.scene.called, self.events) {
                return true;
            }
            let user = socket.audience();
            let frames = if self.senders.contains(&user) {
                match own.iter().find(|(owner, _)| *owner == user) {
                    Some((_, frames)) => frames,
                    None => {
                        let frames = address(self.encode(Audience::Sender(user)));
                        &own.push_mut((user, frames)).1
                    }
                }
            } else {
                &shared
            };
            let stays = frames.is_empty() || socket.push(frames.clone());
            if !stays {
                register.remove(socket);
            }
            stays
        });
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
        socket.push(socket.addressed(frames));
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

#[cfg(test)]
mod tests;
