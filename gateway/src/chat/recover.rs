//! A client that comes back: its socket as it was, and what it missed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::content::Slug;
use confab_shared::model::conversation::{ConversationKind, Subject};
use confab_shared::model::event::{Event, UserNotice};
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
    Missed, Replay, RoomPart, Step, fill, holes, is_settled, shown_until,
};
use crate::recovery::{Adopted, EnteredRoom, Histories, RecoveryError};

/// How many times the lasting limit of a send queue a replay may take: half of what a queue holds at all.
const REPLAY_SHARE: usize = 4;

/// Why a socket was not recovered though it might have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Redis did not, or the node is shutting down.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
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

/// Joins the socket's rooms again and finds what it missed. None: that cannot be told, so the client has to begin anew.
///
/// The order matters: first the rooms are joined, then the histories are read. What is announced in between is in the histories, or
/// held back for the socket, or both.
#[allow(
    clippy::too_many_lines,
    reason = "one thing after the other, each of which may end it"
)]
pub(super) async fn prepare(
    node: &Node,
    arrival: &mut Arrival,
    adopted: &Adopted,
) -> Result<Option<CatchUp>, RecoverError> {
    let socket = arrival.socket().clone();
    let user = socket.user();
    let Some(mut standings) = rejoin(node, arrival, adopted).await? else {
        return Ok(None);
    };
    // Of many conversations that it merely follows, most have been quiet for long: nothing is asked about those.
    standings.retain(|room| {
        let joined_as_read = room.joined_at.is_none_or(|at| at <= room.place.last_seq);
        !(room.followed && joined_as_read && is_settled(&adopted.since, &room.place))
    });
    let rooms: Vec<ConversationId> = standings.iter().map(|room| room.conversation).collect();
    let histories = node.recovery.histories(adopted, &rooms, user).await?;
    let Some(mut histories) = histories else {
        return Ok(None);
    };
    let since = since(adopted, &standings, &histories);
    let subjects = conversations::subjects(&node.database, &rooms).await?;
    let mut told = Told::new(subjects, &standings);
    let (mut parts, mut rooms, mut public) = (Vec::new(), BTreeMap::new(), Vec::new());
    let (mut removals, mut count) = (BTreeMap::new(), 0);
    let announcements = std::mem::take(&mut histories.rooms);
    for (standing, history) in standings.iter().zip(announcements) {
        let floor = standing.entered.floor;
        if !history.is_sure(&since, floor, standing.conversation) {
            tracing::debug!(%user, room = %standing.conversation, "it is not certain what of a room a client had seen");
            return Ok(None);
        }
        let history = history.events;
        let Some(shown) = shown_until(&since, &history, floor, &standing.place) else {
            return Ok(None);
        };
        let conversation = standing.conversation;
        let announced = history
            .iter()
            .filter_map(|(position, event)| Some((*position, event.seq?)))
            .collect();
        let later = history
            .into_iter()
            .filter(|(position, event)| event.seq.is_some() || *position > since.position)
            .collect();
        let target = standing.joined_at.unwrap_or(standing.place.last_seq);
        let mut missed = complete(node, conversation, shown, later, target).await?;
        match until_removal(&mut missed, user) {
            Some(seq) => {
                removals.insert(conversation, seq);
                node.hub.leave(socket.key(), conversation).await;
            }
            None if standing.joined_at.is_some() => {
                if !standing.followed {
                    rooms.insert(conversation, standing.entered);
                }
                if standing.place.kind == ConversationKind::Room {
                    public.push((conversation, told.slug(conversation)));
                }
            }
            // It was told before that it is out; what came then is not for it.
            None => missed.clear(),
        }
        count += missed.len();
        parts.push(RoomPart {
            conversation,
            shown,
            regular: since.exception(conversation).is_none(),
            announced,
            missed,
        });
    }
    let notices = notices(node, user, adopted, &histories.notices, &removals).await?;
    if count + notices.len() > node.recovery.max_events() {
        return Ok(None);
    }
    let mut replay = Replay::new(&since, histories.cut, parts, notices);
    let steps = replay.steps();
    for room in replay.ahead() {
        node.hub.diverged(room).await;
    }
    let shown: Vec<(ConversationId, Seq)> = replay
        .shown()
        .into_iter()
        .filter(|(room, _)| rooms.contains_key(room) || told.is_followed(*room))
        .collect();
    if !node.recovery.shown(histories.cut, user, shown).await? {
        return Ok(None);
    }
    let frames: Vec<Bytes> = steps
        .iter()
        .map(|step| told.show_step(&socket, step))
        .collect();
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    // More would overrun the socket's queue, now and whenever its client comes back for it.
    if bytes
        > node
            .config
            .engine
            .send_queue_bytes
            .saturating_mul(REPLAY_SHARE)
    {
        return Ok(None);
    }
    reached(node, &steps, user, |room| told.has_members(room)).await;
    Ok(Some(CatchUp {
        frames,
        replay,
        rooms,
        public,
    }))
}

/// Where the client is to be gone on from. What was said in a conversation before it was shown that the user is in it had not been
/// shown either, if the socket was to follow it from then on.
fn since(adopted: &Adopted, standings: &[Standing], histories: &Histories) -> Offset {
    let mut since = adopted.since.clone();
    for (position, notice) in &histories.notices {
        let UserNotice::Joined { conversation, seq } = notice else {
            continue;
        };
        let unseen = *position > since.position || since.notices.contains(position);
        let is_followed = standings
            .iter()
            .any(|room| room.followed && room.conversation == *conversation);
        if unseen && is_followed && since.exception(*conversation).is_none() {
            since.rooms.push((*conversation, *seq));
        }
    }
    since
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
            Missed::Joined(_, view) => socket.dialect().joined(socket.namespace(), view, offset),
        }
    }
}

/// A room's events after `shown`, without a hole, up to `target` at least: from its history, and where that has none of an event,
/// from PostgreSQL.
async fn complete(
    node: &Node,
    conversation: ConversationId,
    shown: Seq,
    history: Vec<(Position, Event)>,
    target: Seq,
) -> Result<Vec<(Position, Event)>, RecoverError> {
    let holes = holes(shown, &history, target);
    let mut fillings = Vec::with_capacity(holes.len());
    for hole in &holes {
        fillings.push(read(node, conversation, hole.after, hole.until).await?);
    }
    Ok(fill(shown, history, &holes, fillings))
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
    pub(super) fn frames(mut self, socket: &SocketRef, held: Vec<Held>) -> Vec<Bytes> {
        let mut frames = std::mem::take(&mut self.frames);
        for one in held {
            if !self.replay.wants(&one) {
                continue;
            }
            frames.push(match one {
                Held::Event {
                    subject,
                    called,
                    event,
                    offset,
                } => {
                    let offset = offset.map(|offset| self.replay.amend(offset));
                    show(socket, &subject, called, &event, offset.as_deref())
                }
                Held::Notice { frames, .. } | Held::Frames(frames) => frames,
            });
        }
        frames
    }
}

/// What a new socket's client is sent that was held back until it was connected.
pub(super) fn held_frames(socket: &SocketRef, held: Vec<Held>) -> Vec<Bytes> {
    held.into_iter()
        .map(|one| match one {
            Held::Event {
                subject,
                called,
                event,
                offset,
            } => show(socket, &subject, called, &event, offset.as_deref()),
            Held::Notice { frames, .. } | Held::Frames(frames) => frames,
        })
        .collect()
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
