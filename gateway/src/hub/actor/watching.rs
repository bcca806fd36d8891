//! Sockets that watch conversations without having joined, and what rooms want done that may wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use confab_shared::id::ConversationId;
use tokio::sync::mpsc;

use super::{Actor, RoomSlot, slot};
use crate::hub::input::{HubRequest, Opening, Watched};
use crate::hub::room::{Chores, Watching};
use crate::hub::socket::SocketRef;
use crate::metrics::Metrics;

/// A socket and what it watches, joined or not.
pub(super) struct Watch {
    pub(super) socket: SocketRef,
    /// In their order. There are few of most, and sets take more room.
    pub(super) conversations: Vec<ConversationId>,
}

/// Where rooms' chores are kept until they are done.
pub(super) struct Office {
    requests: mpsc::UnboundedSender<HubRequest>,
    metrics: Arc<Metrics>,
    /// When which room wants to be asked again.
    alarms: BTreeSet<(Instant, ConversationId)>,
    /// How far conversations have reached somebody, since this was passed on.
    delivered: HashMap<ConversationId, i64>,
    tickets: u64,
}

impl Office {
    pub(super) fn new(requests: mpsc::UnboundedSender<HubRequest>, metrics: Arc<Metrics>) -> Self {
        Self {
            requests,
            metrics,
            alarms: BTreeSet::new(),
            delivered: HashMap::new(),
            tickets: 0,
        }
    }

    /// Asks a room what it wants done, and sees to it.
    pub(super) fn tend(&mut self, conversation: ConversationId, slot: &mut RoomSlot, now: Instant) {
        if !slot.room.is_open() {
            return;
        }
        let ticket = self.tickets + 1;
        let Chores {
            badges,
            reading,
            delivered,
            due,
        } = slot.room.settle(now, ticket);
        if badges > 0 {
            self.metrics.badges_total.inc_by(badges);
        }
        if let Some(reading) = reading {
            self.tickets = ticket;
            self.ask(HubRequest::Count {
                ticket,
                conversation,
                users: reading.users,
                last: reading.last,
            });
        }
        if let Some(ordinal) = delivered {
            self.reached(conversation, ordinal);
        }
        if slot.alarm != due {
            if let Some(former) = slot.alarm {
                self.alarms.remove(&(former, conversation));
            }
            self.alarms.extend(due.map(|due| (due, conversation)));
            slot.alarm = due;
        }
    }

    /// Everything up to this ordinal has reached somebody else than its sender.
    pub(super) fn reached(&mut self, conversation: ConversationId, ordinal: i64) {
        let known = self.delivered.entry(conversation).or_default();
        *known = ordinal.max(*known);
    }

    /// A room whose time has come.
    fn ring(&mut self, now: Instant) -> Option<ConversationId> {
        let first = self.alarms.first().filter(|(due, _)| *due <= now)?;
        let conversation = first.1;
        self.alarms.pop_first();
        Some(conversation)
    }

    fn ask(&self, request: HubRequest) {
        if self.requests.send(request).is_err() {
            tracing::debug!("the node is shutting down; the hub's request is dropped");
        }
    }
}

impl Actor {
    /// Does what rooms want done by now.
    pub(super) fn pulse(&mut self, now: Instant) {
        while let Some(conversation) = self.office.ring(now) {
            if let Some(slot) = self.rooms.get_mut(&conversation) {
                slot.alarm = None;
                self.office.tend(conversation, slot, now);
            }
        }
    }

    /// Passes on how far conversations have reached somebody.
    pub(super) fn pass_on_deliveries(&mut self) {
        if !self.office.delivered.is_empty() {
            let delivered = self.office.delivered.drain().collect();
            self.request(HubRequest::Delivered(delivered));
        }
    }

    /// A socket watches conversations from here on.
    pub(super) fn watch(
        &mut self,
        socket: &SocketRef,
        watched: Vec<Watched>,
        opening: Option<&Opening>,
    ) {
        for watched in watched {
            self.watch_one(socket, watched, opening);
        }
    }

    fn watch_one(&mut self, socket: &SocketRef, watched: Watched, opening: Option<&Opening>) {
        // Whoever ended meanwhile has been taken out already.
        if !socket.is_watching() {
            return;
        }
        let conversation = watched.conversation;
        let watch = self.watching.entry(socket.key()).or_insert_with(|| Watch {
            socket: Arc::clone(socket),
            conversations: Vec::new(),
        });
        if let Err(place) = watch.conversations.binary_search(&conversation) {
            if watch.conversations.len() >= self.max_watched {
                return;
            }
            watch.conversations.insert(place, conversation);
            self.office.metrics.watched.inc();
        }
        let slot = slot(&mut self.rooms, &self.requests, conversation, self.limits);
        if slot.room.is_open() {
            let now = Instant::now();
            begin(&self.office, slot, socket, watched, now);
            self.office.tend(conversation, slot, now);
        } else {
            slot.watching
                .push((Arc::clone(socket), watched, opening.cloned()));
        }
    }

    /// A room is open: those who waited for it watch.
    pub(super) fn begin_watching(&mut self, conversation: ConversationId, now: Instant) {
        if let Some(slot) = self.rooms.get_mut(&conversation) {
            for (socket, watched, _) in std::mem::take(&mut slot.watching) {
                if socket.is_watching() {
                    begin(&self.office, slot, &socket, watched, now);
                }
            }
            self.office.tend(conversation, slot, now);
        }
    }

    /// A socket watches nothing any more.
    pub(super) fn unwatch(&mut self, socket: u64) {
        let Some(watch) = self.watching.remove(&socket) else {
            return;
        };
        let now = Instant::now();
        let count = i64::try_from(watch.conversations.len()).unwrap_or(i64::MAX);
        self.office.metrics.watched.sub(count);
        for conversation in watch.conversations {
            if let Some(slot) = self.rooms.get_mut(&conversation) {
                slot.watching.retain(|(other, ..)| other.key() != socket);
                slot.room.unwatch(&watch.socket, now);
            }
        }
    }

    /// A socket that is about to leave a room watches it, if it watches at all.
    pub(super) fn step_back(&mut self, socket: u64, conversation: ConversationId, now: Instant) {
        let Some(watch) = self.watching.get(&socket) else {
            return;
        };
        if watch.socket.is_watching()
            && watch.conversations.binary_search(&conversation).is_ok()
            && let Some(slot) = self.rooms.get_mut(&conversation)
        {
            slot.room.step_back(&watch.socket, now);
        }
    }
}

/// Has a socket watch an open room, or its membership read again.
fn begin(office: &Office, slot: &mut RoomSlot, socket: &SocketRef, watched: Watched, now: Instant) {
    let Watched { as_of, owed, .. } = watched;
    if slot.room.watch(socket, as_of, owed, now) == Watching::Recheck {
        let watched = Watched {
            owed: true,
            ..watched
        };
        office.ask(HubRequest::Rewatch(socket.user(), watched));
    }
    slot.room.touch(now);
}
