//! The actor: the task that alone owns the rooms, so that events are shown in one order without a lock.
//!
//! One for all rooms: whoever listens to several of them sees their events in the order in which they were announced, and an offset
//! says of all of them how far they were shown. What follows (encoding per group, queueing per socket) is cheap beside writing to
//! sockets, which sessions do in parallel.

mod announced;
mod notices;
mod waiting;
mod watching;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, UserId};
use confab_shared::lifecycle::Sign;
use confab_shared::metrics::count;
use confab_shared::model::event::Event;
use confab_shared::model::position::Position;
use confab_shared::telemetry::Traces;
use tokio::sync::{mpsc, oneshot};

use super::Habits;
use super::input::{Awaited, Following, HubInput, HubRequest, Opening, Watched};
use super::order::Order;
use super::room::{JoinOutcome, Joining, Limits, Room, Showing, Stage, Wish};
use super::socket::SocketRef;
use super::users::Users;
use crate::metrics::Metrics;
use watching::{Office, Watch};

/// How often it is looked whether something is due that nobody asks for.
const PULSE: Duration = Duration::from_millis(100);
/// After how many pulses it is passed on how far conversations have reached somebody.
const DELIVERIES: u64 = 10;
/// After how many pulses idle rooms are looked for.
const IDLE: u64 = 50;

/// The rooms.
pub(super) struct Actor {
    rooms: HashMap<ConversationId, RoomSlot>,
    order: Order,
    awaited: Vec<Awaited>,
    users: Arc<Users>,
    requests: mpsc::UnboundedSender<HubRequest>,
    /// What sockets watch, by their keys.
    watching: HashMap<u64, Watch>,
    office: Office,
    metrics: Arc<Metrics>,
    /// What rooms have shown that is not counted yet.
    shown: Vec<Showing>,
    linger: Duration,
    limits: Limits,
    max_watched: usize,
    traces: Traces,
}

/// A room and those who wait for it to open.
struct RoomSlot {
    room: Room,
    waiting: Vec<(Joining, oneshot::Sender<JoinOutcome>)>,
    /// Removals said while the room was opening: whether it shows them is known when it is open.
    removals: Vec<(UserId, Option<Position>, Event)>,
    /// Those who came into it while the room was opening, and listen from then on.
    followings: Vec<Following>,
    /// Sockets that watch it from when it is open.
    watching: Vec<(SocketRef, Watched, Option<Opening>)>,
    /// When the room is to be asked again what it wants done.
    alarm: Option<Instant>,
}

impl Actor {
    /// No rooms yet. `requests` holds at most one open request per room, and notices, whose readers bound it.
    pub(super) fn new(
        users: Arc<Users>,
        requests: mpsc::UnboundedSender<HubRequest>,
        order: Order,
        habits: Habits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            watching: HashMap::new(),
            office: Office::new(requests.clone(), metrics.clone()),
            metrics,
            shown: Vec::new(),
            rooms: HashMap::new(),
            order,
            awaited: Vec::new(),
            users,
            requests,
            linger: habits.linger,
            limits: habits.limits,
            max_watched: habits.max_watched,
            traces: Traces::default(),
        }
    }

    /// Traces what is shown of that which is traced.
    pub(super) fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Serves until every sender is gone. Inputs: the mailbox; and before it, so that what is due is not forgotten while there is much to
    /// do, a pulse, which is the hub's sign of life as well.
    pub(super) async fn run(mut self, mut mailbox: mpsc::Receiver<HubInput>, sign: Sign) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pulses = 0_u64;
        loop {
            tokio::select! {
                biased;
                _ = pulse.tick() => {
                    sign.give();
                    let now = Instant::now();
                    pulses += 1;
                    self.pulse(now);
                    if pulses.is_multiple_of(DELIVERIES) {
                        self.pass_on_deliveries();
                    }
                    if pulses.is_multiple_of(IDLE) {
                        self.let_idle_go(now);
                        self.metrics.rooms.set(count(self.rooms.len()));
                    }
                }
                input = mailbox.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
            }
        }
    }

    /// Does what an input asks for, and tells those who waited for it.
    pub(super) fn take(&mut self, input: HubInput) {
        self.handle(input);
        if !self.awaited.is_empty() {
            self.tell_who_waits();
        }
    }

    fn handle(&mut self, input: HubInput) {
        match input {
            HubInput::Join {
                conversation,
                joining,
                done,
            } => self.join(conversation, joining, done),
            HubInput::Leave {
                socket,
                conversation,
            } => self.leave(socket, conversation),
            HubInput::Published(payload) => self.published(&payload),
            HubInput::Opened {
                conversation,
                subject,
                seq,
                since,
            } => self.opened(conversation, subject, seq, since),
            HubInput::Repaired {
                conversation,
                events,
                up_to,
                kept,
                complete,
            } => {
                self.with_room(conversation, |room, stage| {
                    room.repaired(events, up_to, kept, complete, stage)
                });
            }
            HubInput::Checked { conversation, seq } => {
                self.with_room(conversation, |room, stage| room.checked(seq, stage.order));
            }
            HubInput::Noticed {
                user,
                position,
                notice,
            } => self.noticed(user, position, notice),
            HubInput::Joined {
                user,
                position,
                seq,
                view,
            } => self.joined(user, position, seq, view.as_deref()),
            HubInput::Followed(following) => self.followed(following),
            HubInput::Removed {
                user,
                position,
                conversation,
                event,
            } => self.removed(user, position, conversation, event),
            HubInput::Watch {
                socket,
                watched,
                opening,
            } => self.watch(&socket, watched, Some(&opening)),
            HubInput::Unwatch(socket) => self.unwatch(socket),
            HubInput::Counted {
                conversation,
                counted,
            } => self.with_room(conversation, |room, stage| {
                room.counted(counted, stage.now);
                None
            }),
            HubInput::Reached(reached) => {
                for (conversation, ordinal) in reached {
                    self.office.reached(conversation, ordinal);
                }
            }
            HubInput::Listens {
                socket,
                conversation,
                answer,
            } => {
                let room = self.rooms.get(&conversation);
                let _ = answer.send(room.is_some_and(|slot| slot.room.listens(socket)));
            }
            HubInput::CaughtUp(done) => {
                // Whoever asked may have given up.
                let _ = done.send(());
            }
            HubInput::Arrived(order, position, beat) => self.arrived(order, position, beat),
            HubInput::Suspicion(number) => self.order.suspect(number),
            HubInput::Trust(number) => self.order.trust(number),
            HubInput::Doubt(number) => self.order.doubt(number),
            HubInput::Certain(number) => self.order.settle_doubt(number),
            HubInput::Diverged(conversation) => self.with_room(conversation, |room, stage| {
                room.diverge(stage.order);
                None
            }),
            HubInput::Await(awaited) => self.awaited.push(awaited),
            HubInput::Offset(answer) => {
                let _ = answer.send(self.order.offset());
            }
            HubInput::Rooms(answer) => {
                // Whoever asked may have given up; then nobody needs the answer.
                let _ = answer.send(self.rooms.keys().copied().collect());
            }
        }
    }

    fn leave(&mut self, socket: u64, conversation: ConversationId) {
        let now = Instant::now();
        self.step_back(socket, conversation, now);
        if let Some(slot) = self.rooms.get_mut(&conversation) {
            slot.waiting
                .retain(|(joining, _)| joining.socket.key() != socket);
            slot.room.leave(socket, now, &mut self.order);
        }
    }

    fn with_room(
        &mut self,
        conversation: ConversationId,
        act: impl FnOnce(&mut Room, &mut Stage<'_>) -> Option<Wish>,
    ) {
        let Some(slot) = self.rooms.get_mut(&conversation) else {
            return;
        };
        let now = Instant::now();
        let mut stage = Stage::new(&self.users, &mut self.order, &mut self.shown, now);
        let wish = act(&mut slot.room, &mut stage);
        announced::count_shown(&self.metrics, &mut self.shown);
        self.office.tend(conversation, slot, now);
        if let Some(wish) = wish {
            self.wish(conversation, wish);
        }
    }

    fn wish(&self, conversation: ConversationId, wish: Wish) {
        self.request(match wish {
            Wish::Open => HubRequest::Open(conversation),
            Wish::Repair(after) => HubRequest::Repair(conversation, after),
        });
    }

    fn request(&self, request: HubRequest) {
        if self.requests.send(request).is_err() {
            tracing::debug!("the node is shutting down; the hub's request is dropped");
        }
    }

    fn join(
        &mut self,
        conversation: ConversationId,
        joining: Joining,
        done: oneshot::Sender<JoinOutcome>,
    ) {
        let slot = slot(&mut self.rooms, &self.requests, conversation, self.limits);
        if slot.room.is_open() {
            answer(slot.room.join(joining, &mut self.order), done);
            slot.room.touch(Instant::now());
        } else {
            slot.waiting.push((joining, done));
        }
    }

    pub(super) fn let_idle_go(&mut self, now: Instant) {
        let linger = self.linger;
        let (requests, order, mut closed) = (&self.requests, &mut self.order, 0_u32);
        self.rooms.retain(|conversation, slot| {
            let idle = slot
                .room
                .idle_since()
                .is_some_and(|since| now.duration_since(since) >= linger)
                && !order.awaits_removal(*conversation);
            if idle && requests.send(HubRequest::Close(*conversation)).is_ok() {
                order.except_room(*conversation, None);
                closed += 1;
            }
            !idle
        });
        if closed > 0 {
            tracing::debug!(closed, open = self.rooms.len(), "idle rooms were let go");
        }
    }
}

/// A room, which is opened if it is not there.
fn slot<'a>(
    rooms: &'a mut HashMap<ConversationId, RoomSlot>,
    requests: &mpsc::UnboundedSender<HubRequest>,
    conversation: ConversationId,
    limits: Limits,
) -> &'a mut RoomSlot {
    rooms.entry(conversation).or_insert_with(|| {
        if requests.send(HubRequest::Open(conversation)).is_err() {
            tracing::debug!(%conversation, "the node is shutting down; a room is not opened");
        }
        RoomSlot {
            room: Room::new(conversation, limits),
            waiting: Vec::new(),
            removals: Vec::new(),
            followings: Vec::new(),
            watching: Vec::new(),
            alarm: None,
        }
    })
}

fn answer(outcome: JoinOutcome, done: oneshot::Sender<JoinOutcome>) {
    // A socket that went away while it waited leaves by its own cleanup.
    let _ = done.send(outcome);
}
