//! A shard: the task that alone owns some of the rooms, so that each room's events are shown in one order without a lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::event::{Event, RoomBatch};
use tokio::sync::{mpsc, oneshot};

use super::room::{JoinOutcome, Room, Wish, show_to};
use super::socket::SocketRef;
use super::users::Users;

/// What reaches a shard.
#[derive(Debug)]
pub enum ShardInput {
    /// A socket wants a room's live events.
    Join {
        /// Who.
        socket: SocketRef,
        /// Which room.
        conversation: ConversationId,
        /// The conversation's place when the membership was read.
        as_of: Seq,
        /// Where to say what came of it.
        done: oneshot::Sender<JoinOutcome>,
    },
    /// A socket wants them no more.
    Leave {
        /// Which socket.
        socket: u64,
        /// Which room.
        conversation: ConversationId,
    },
    /// A room channel carried this (a [`RoomBatch`] behind its position).
    Published(Bytes),
    /// A room is subscribed, and the conversation stood at `seq` after that.
    Opened {
        /// Which.
        conversation: ConversationId,
        /// How far it had come.
        seq: Seq,
    },
    /// What a room missed.
    Repaired {
        /// Which.
        conversation: ConversationId,
        /// The changes, in order.
        events: Vec<Event>,
        /// Up to where they are complete.
        up_to: Seq,
        /// Whether nothing more follows.
        complete: bool,
    },
    /// PostgreSQL says how far a conversation has come.
    Checked {
        /// Which.
        conversation: ConversationId,
        /// How far.
        seq: Seq,
    },
    /// A user was removed from a conversation; said on the user's own channel.
    Removed {
        /// Who.
        user: UserId,
        /// From which.
        conversation: ConversationId,
        /// The removal.
        event: Event,
    },
    /// Which rooms are open?
    Rooms(oneshot::Sender<Vec<ConversationId>>),
}

/// What a shard asks of those who do I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubRequest {
    /// Subscribe to a room's channel, then answer [`ShardInput::Opened`].
    Open(ConversationId),
    /// Nobody listens to it any more.
    Close(ConversationId),
    /// Read what changed after this and answer [`ShardInput::Repaired`].
    Repair(ConversationId, Seq),
}

/// The rooms of one shard.
pub(super) struct Shard {
    rooms: HashMap<ConversationId, RoomSlot>,
    users: Arc<Users>,
    requests: mpsc::UnboundedSender<HubRequest>,
    linger: Duration,
    max_held: usize,
}

/// A room and those who wait for it to open.
struct RoomSlot {
    room: Room,
    waiting: Vec<(SocketRef, Seq, oneshot::Sender<JoinOutcome>)>,
    /// Removals said while the room was opening: whether it shows them is known when it is open.
    removals: Vec<(UserId, Event)>,
}

impl Shard {
    /// A shard without rooms. `requests` holds at most one open request per room, which bounds it.
    pub(super) fn new(
        users: Arc<Users>,
        requests: mpsc::UnboundedSender<HubRequest>,
        linger: Duration,
        max_held: usize,
    ) -> Self {
        Self {
            rooms: HashMap::new(),
            users,
            requests,
            linger,
            max_held,
        }
    }

    /// Serves until every sender is gone. Inputs: the mailbox, and a slow tick that lets idle rooms go.
    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<ShardInput>) {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                biased;
                input = mailbox.recv() => match input {
                    Some(input) => self.handle(input),
                    None => return,
                },
                _ = tick.tick() => self.let_idle_go(Instant::now()),
            }
        }
    }

    fn handle(&mut self, input: ShardInput) {
        match input {
            ShardInput::Join {
                socket,
                conversation,
                as_of,
                done,
            } => self.join(socket, conversation, as_of, done),
            ShardInput::Leave {
                socket,
                conversation,
            } => {
                if let Some(slot) = self.rooms.get_mut(&conversation) {
                    slot.waiting.retain(|(waiting, ..)| waiting.key() != socket);
                    slot.room.leave(socket, Instant::now());
                }
            }
            ShardInput::Published(payload) => self.published(&payload),
            ShardInput::Opened { conversation, seq } => self.opened(conversation, seq),
            ShardInput::Repaired {
                conversation,
                events,
                up_to,
                complete,
            } => {
                self.with_room(conversation, |room, users| {
                    room.repaired(&events, up_to, complete, users)
                });
            }
            ShardInput::Checked { conversation, seq } => {
                self.with_room(conversation, |room, _| room.checked(seq));
            }
            ShardInput::Removed {
                user,
                conversation,
                event,
            } => self.removed(user, conversation, event),
            ShardInput::Rooms(answer) => {
                // Whoever asked may have given up; then nobody needs the answer.
                let _ = answer.send(self.rooms.keys().copied().collect());
            }
        }
    }

    fn with_room(
        &mut self,
        conversation: ConversationId,
        act: impl FnOnce(&mut Room, &Users) -> Option<Wish>,
    ) {
        let Some(slot) = self.rooms.get_mut(&conversation) else {
            return;
        };
        if let Some(wish) = act(&mut slot.room, &self.users) {
            self.request(conversation, wish);
        }
    }

    fn request(&self, conversation: ConversationId, wish: Wish) {
        let request = match wish {
            Wish::Open => HubRequest::Open(conversation),
            Wish::Repair(after) => HubRequest::Repair(conversation, after),
        };
        if self.requests.send(request).is_err() {
            tracing::debug!(%conversation, "the node is shutting down; a room's request is dropped");
        }
    }

    fn join(
        &mut self,
        socket: SocketRef,
        conversation: ConversationId,
        as_of: Seq,
        done: oneshot::Sender<JoinOutcome>,
    ) {
        let max_held = self.max_held;
        let slot = match self.rooms.entry(conversation) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(vacant) => {
                let slot = vacant.insert(RoomSlot {
                    room: Room::new(conversation, max_held),
                    waiting: Vec::new(),
                    removals: Vec::new(),
                });
                if self.requests.send(HubRequest::Open(conversation)).is_err() {
                    tracing::debug!(%conversation, "the node is shutting down; a room is not opened");
                }
                slot
            }
        };
        if slot.room.is_open() {
            answer(slot.room.join(socket, as_of), done);
            slot.room.touch(Instant::now());
        } else {
            slot.waiting.push((socket, as_of, done));
        }
    }

    fn opened(&mut self, conversation: ConversationId, seq: Seq) {
        let Some(slot) = self.rooms.get_mut(&conversation) else {
            return;
        };
        let was_open = slot.room.is_open();
        let wish = slot.room.opened(seq, &self.users);
        if !was_open {
            for (socket, as_of, done) in slot.waiting.drain(..) {
                if !done.is_closed() {
                    answer(slot.room.join(socket, as_of), done);
                }
            }
            slot.room.touch(Instant::now());
        }
        let removals = std::mem::take(&mut slot.removals);
        if let Some(wish) = wish {
            self.request(conversation, wish);
        }
        for (user, removal) in removals {
            self.removed(user, conversation, removal);
        }
    }

    fn published(&mut self, payload: &[u8]) {
        // `<position>\n<RoomBatch>`: the position serves recovery, not the live path.
        let json = payload
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(payload, |end| &payload[end + 1..]);
        match serde_json::from_slice::<RoomBatch>(json) {
            Ok(batch) => self.with_room(batch.conversation, |room, users| {
                room.receive(batch.events, users)
            }),
            Err(error) => {
                tracing::error!(%error, "a room channel carried what is no batch of events");
            }
        }
    }

    /// The room shows a removal in its order, to the removed user's sockets as well. Only where no room has shown it, or will, is it
    /// said here.
    fn removed(&mut self, user: UserId, conversation: ConversationId, removal: Event) {
        let Some(seq) = removal.seq else { return };
        match self.rooms.get_mut(&conversation) {
            Some(slot) if !slot.room.is_open() => {
                slot.removals.push((user, removal));
                return;
            }
            Some(slot) if slot.room.covers(seq) => return,
            Some(_) | None => {}
        }
        if self.users.first_sight(user, conversation, seq) {
            for socket in self.users.sockets(user) {
                show_to(&socket, conversation, &removal);
            }
        }
    }

    fn let_idle_go(&mut self, now: Instant) {
        let linger = self.linger;
        let (requests, mut closed) = (&self.requests, 0_u32);
        self.rooms.retain(|conversation, slot| {
            let idle = slot
                .room
                .idle_since()
                .is_some_and(|since| now.duration_since(since) >= linger);
            if idle && requests.send(HubRequest::Close(*conversation)).is_ok() {
                closed += 1;
            }
            !idle
        });
        if closed > 0 {
            tracing::debug!(closed, open = self.rooms.len(), "idle rooms were let go");
        }
    }
}

fn answer(outcome: JoinOutcome, done: oneshot::Sender<JoinOutcome>) {
    // A socket that went away while it waited leaves by its own cleanup.
    let _ = done.send(outcome);
}
