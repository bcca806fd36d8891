//! A client that comes back: its socket as it was, and what it missed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::content::Slug;
use confab_shared::model::conversation::{ConversationKind, Subject};
use confab_shared::model::event::Event;
use confab_shared::model::position::Position;
use confab_shared::postgres::{changes, conversations};

use super::arrival::Arrival;
use super::missed::{notices, reached, until_removal};
use super::rejoin::{Standing, rejoin};
use crate::dialect::{Audience, Called, Scene, Shown};
use crate::hub::HubClosed;
use crate::hub::offset::Offset;
use crate::hub::socket::{Held, SocketRef};
use crate::node::Node;
use crate::recovery::replay::{
    Missed, Replay, RoomPart, Step, behind_joinings, fill, holes, is_settled, shown_until,
    was_quiet,
};
use crate::recovery::{Adopted, ClaimLost, EnteredRoom, RecoveryError, Refusal};

/// How many times the lasting limit of a send queue a replay may take: half of what a queue holds at all.
const REPLAY_SHARE: usize = 4;

/// Why a socket was not recovered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Redis did not, or the node is shutting down, or the client has to begin anew.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The client has come back once more meanwhile.
    #[error(transparent)]
    ClaimLost(#[from] ClaimLost),
}

impl From<Refusal> for RecoverError {
    fn from(refusal: Refusal) -> Self {
        Self::Recovery(refusal.into())
    }
}

impl From<HubClosed> for RecoverError {
    fn from(closed: HubClosed) -> Self {
        Self::Recovery(closed.into())
    }
}

/// What is left to do once the client knows that it is connected again.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// What it missed, encoded.
    frames: Vec<Bytes>,
    replay: Replay,
    /// The rooms that it is still in.
    pub(super) rooms: BTreeMap<ConversationId, EnteredRoom>,
    /// Those of them in which people are present, with what the socket calls them.
    pub(super) public: Vec<(ConversationId, Option<Slug>)>,
}

/// Joins the socket's rooms again and finds what it missed.
///
/// The order matters: first the rooms are joined, then it is asked where announcements are, then the histories are read up to there. What
/// is announced in between is in the histories, or held back for the socket, or both.
pub(super) async fn prepare(
    node: &Node,
    arrival: &mut Arrival,
    adopted: &Adopted,
) -> Result<CatchUp, RecoverError> {
    let socket = arrival.socket().clone();
    let user = socket.user();
    let orders = node.hub.orders();
    let standings = rejoin(node, arrival, adopted).await?;
    let cut = node.recovery.cut().await?;
    let standings = without_quiet(node, adopted, standings).await?;
    let rooms: Vec<ConversationId> = standings.iter().map(|room| room.conversation).collect();
    let histories = node.recovery.histories(adopted, &cut, &rooms, user);
    let mut histories = histories.await?;
    let home = orders.of_user(user);
    let followed: HashSet<ConversationId> = standings
        .iter()
        .filter(|room| room.followed)
        .map(|room| room.conversation)
        .collect();
    let follows = |conversation| followed.contains(&conversation);
    let since = behind_joinings(&adopted.since, home, &histories.notices, follows);
    let subjects = conversations::subjects(&node.database, &rooms).await?;
    let mut told = Told::new(subjects, &standings);
    let announcements = std::mem::take(&mut histories.rooms);
    let mut found = Found::default();
    for (standing, history) in standings.iter().zip(announcements) {
        found
            .add(node, &socket, &since, standing, history, &told)
            .await?;
    }
    let notices = notices(node, &socket, adopted, &histories.notices, &found.removals).await?;
    if found.count + notices.missed.len() > node.recovery.max_events() {
        return Err(Refusal::TooMuch.into());
    }
    let rooms = found.rooms;
    let mut replay = Replay::new(orders, user, &since, &histories.cut, found.parts, notices);
    let steps = replay.steps();
    for room in replay.ahead() {
        node.hub.diverged(room).await;
    }
    let shown: Vec<(ConversationId, Seq)> = replay
        .shown()
        .into_iter()
        .filter(|(room, _)| rooms.contains_key(room) || told.is_followed(*room))
        .collect();
    let (asked, cut) = (&histories.asked, &histories.cut);
    node.recovery.shown(asked, cut, user, shown).await?;
    let frames: Vec<Bytes> = steps
        .iter()
        .map(|step| told.show_step(&socket, step))
        .collect();
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    // More would overrun the socket's queue, now and whenever its client comes back for it.
    let queue = node.config.engine.send_queue_bytes;
    if bytes > queue.saturating_mul(REPLAY_SHARE) {
        return Err(Refusal::TooMuch.into());
    }
    reached(node, &steps, user, |room| told.has_members(room)).await;
    Ok(CatchUp {
        frames,
        replay,
        rooms,
        public: found.public,
    })
}

/// Leaves out those of many conversations that the socket merely follows in which nothing has happened for long: most of them.
///
/// They are looked at behind the cut. What was announced before that in a room without a part would be told by nothing but what is held
/// back, and every offset before would say that it had been told.
async fn without_quiet(
    node: &Node,
    adopted: &Adopted,
    mut standings: Vec<Standing>,
) -> Result<Vec<Standing>, RecoverError> {
    let orders = node.hub.orders();
    let may_be_quiet =
        |room: &&Standing| room.followed && is_settled(&adopted.since, orders, &room.place);
    let settled: Vec<ConversationId> = standings
        .iter()
        .filter(may_be_quiet)
        .map(|room| room.conversation)
        .collect();
    if settled.is_empty() {
        return Ok(standings);
    }
    let latest = conversations::last_seqs(&node.database, &settled).await?;
    let latest: HashMap<ConversationId, Seq> = latest.into_iter().collect();
    standings.retain(|room| {
        let seq = latest.get(&room.conversation).copied();
        !was_quiet(&room.place, seq)
    });
    Ok(standings)
}

/// What a client missed in its rooms.
#[derive(Default)]
struct Found {
    parts: Vec<RoomPart>,
    /// How many events that is in all.
    count: usize,
    /// The rooms that the socket is still in.
    rooms: BTreeMap<ConversationId, EnteredRoom>,
    /// Those of them in which people are present.
    public: Vec<(ConversationId, Option<Slug>)>,
    /// The rooms that the user was put out of meanwhile, and which change that was.
    removals: BTreeMap<ConversationId, Seq>,
}

impl Found {
    /// Adds what it missed in a room.
    async fn add(
        &mut self,
        node: &Node,
        socket: &SocketRef,
        since: &Offset,
        standing: &Standing,
        history: Vec<(Position, Event)>,
        told: &Told,
    ) -> Result<(), RecoverError> {
        let (conversation, floor) = (standing.conversation, standing.entered.floor);
        let orders = node.hub.orders();
        let at = since.places.of(orders.of_room(conversation));
        let shown = shown_until(since, orders, &history, floor, &standing.place)
            .ok_or(Refusal::Uncertain)?;
        let announced = history
            .iter()
            .filter_map(|(position, event)| Some((*position, event.seq?)))
            .collect();
        let later = history
            .into_iter()
            .filter(|(position, event)| event.seq.is_some() || *position > at)
            .collect();
        let target = standing.joined_at.unwrap_or(standing.place.last_seq);
        let (mut missed, filled) = complete(node, conversation, shown, later, target).await?;
        match until_removal(&mut missed, socket.user()) {
            Some(seq) => {
                self.removals.insert(conversation, seq);
                node.hub.leave(socket.key(), conversation).await;
            }
            None if standing.joined_at.is_some() => {
                if !standing.followed {
                    self.rooms.insert(conversation, standing.entered);
                }
                if standing.place.kind == ConversationKind::Room {
                    self.public.push((conversation, told.slug(conversation)));
                }
            }
            // It was told before that it is out; what came then is not for it.
            None => missed.clear(),
        }
        self.count += missed.len();
        self.parts.push(RoomPart {
            conversation,
            shown,
            regular: since.exception(conversation).is_none(),
            announced,
            filled,
            missed,
        });
        Ok(())
    }
}

/// What conversations are called to a socket that is told of them.
struct Told {
    subjects: HashMap<ConversationId, (Arc<Subject>, Called, bool)>,
}

impl Told {
    fn new(subjects: Vec<(Subject, Seq)>, standings: &[Standing]) -> Self {
        let mut known: HashMap<ConversationId, Arc<Subject>> = subjects
            .into_iter()
            .map(|(subject, _)| (subject.id, Arc::new(subject)))
            .collect();
        let subjects = standings.iter().filter_map(|room| {
            let subject = known.remove(&room.conversation)?;
            Some((
                room.conversation,
                (subject, room.entered.called, room.followed),
            ))
        });
        Self {
            subjects: subjects.collect(),
        }
    }

    /// The slug of a room that the socket calls by it.
    fn slug(&self, conversation: ConversationId) -> Option<Slug> {
        let (subject, called, _) = self.subjects.get(&conversation)?;
        let slug = subject.slug.as_deref()?;
        (*called == Called::BySlug)
            .then(|| Slug::parse(slug).ok())
            .flatten()
    }

    fn has_members(&self, conversation: ConversationId) -> bool {
        let known = self.subjects.get(&conversation);
        known.is_some_and(|(subject, ..)| subject.kind != ConversationKind::Room)
    }

    fn is_followed(&self, conversation: ConversationId) -> bool {
        self.subjects
            .get(&conversation)
            .is_some_and(|(_, _, followed)| *followed)
    }

    fn show_step(&mut self, socket: &SocketRef, Step { missed, offset }: &Step) -> Bytes {
        let offset = Some(offset.as_str());
        match missed {
            Missed::Event(conversation, event) | Missed::Removed(conversation, event) => {
                let (subject, called, _) =
                    self.subjects.entry(*conversation).or_insert_with(|| {
                        let subject = Arc::new(Subject::unknown(*conversation));
                        (subject, Called::ById, false)
                    });
                show(socket, subject, *called, event, offset)
            }
            Missed::Joined(view) => socket.joined(view, offset),
        }
    }
}

/// A room's events after `shown`, without a hole, up to `target` at least: from its history, and where that has none of an event,
/// from PostgreSQL; and whether that was so.
async fn complete(
    node: &Node,
    conversation: ConversationId,
    shown: Seq,
    history: Vec<(Position, Event)>,
    target: Seq,
) -> Result<(Vec<(Position, Event)>, bool), RecoverError> {
    let holes = holes(shown, &history, target);
    let mut fillings = Vec::with_capacity(holes.len());
    for hole in &holes {
        fillings.push(read(node, conversation, hole.after, hole.until).await?);
    }
    Ok((fill(shown, history, &holes, fillings), !holes.is_empty()))
}

/// Reads a conversation's changes after `after`, up to `until`.
async fn read(
    node: &Node,
    conversation: ConversationId,
    mut after: Seq,
    until: Seq,
) -> Result<Vec<Event>, RecoverError> {
    let mut events = Vec::new();
    while after < until {
        let page = changes::since(&node.database, conversation, after);
        let page = node.metrics.postgres.time("repair", page).await?;
        let fits = |event: &Event| event.seq.is_some_and(|seq| seq <= until);
        events.extend(page.events.into_iter().filter(fits));
        if page.complete || page.up_to <= after {
            break;
        }
        after = page.up_to;
    }
    Ok(events)
}

impl CatchUp {
    /// What the socket's client is sent: what it missed, then what was held back meanwhile.
    pub(super) fn frames(self, socket: &SocketRef, held: Vec<Held>) -> Vec<Bytes> {
        let mut frames = self.frames;
        frames.extend(self.replay.behind(held).map(|one| show_held(socket, one)));
        frames
    }
}

/// What a new socket's client is sent that was held back until it was connected.
pub(super) fn held_frames(socket: &SocketRef, held: Vec<Held>) -> Vec<Bytes> {
    held.into_iter().map(|one| show_held(socket, one)).collect()
}

fn show_held(socket: &SocketRef, held: Held) -> Bytes {
    match held {
        Held::Event {
            subject,
            called,
            event,
            offset,
        } => show(socket, &subject, called, &event, offset.as_deref()),
        Held::Joined { view, offset, .. } => socket.joined(&view, offset.as_deref()),
        Held::Frames(frames) => frames,
    }
}

fn show(
    socket: &SocketRef,
    subject: &Subject,
    called: Called,
    event: &Event,
    offset: Option<&str>,
) -> Bytes {
    let shown = Shown { event, offset };
    let scene = Scene {
        namespace: socket.namespace(),
        subject,
        called,
    };
    let audience = Audience::Sender(socket.user());
    let written = socket
        .dialect()
        .outbound(scene, std::slice::from_ref(&shown), audience);
    socket.addressed(written)
}
