//! A client that comes back: its socket as it was, and what it missed.

use std::collections::BTreeMap;

use bytes::Bytes;
use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::event::{Event, Fact, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::postgres::conversations::Place;
use confab_shared::postgres::{changes, conversations};

use super::arrival::Arrival;
use super::notices::removal;
use crate::dialect::{Audience, Shown};
use crate::hub::socket::{Held, SocketRef};
use crate::hub::{HubClosed, JoinOutcome};
use crate::node::Node;
use crate::recovery::replay::{Missed, Replay, RoomPart, Step, fill, holes, shown_until};
use crate::recovery::{Adopted, RecoveryError};

/// How often a membership is read again because memberships changed meanwhile.
const JOIN_ATTEMPTS: usize = 8;

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
    /// The rooms that it is still in, with their floors.
    pub(super) rooms: BTreeMap<ConversationId, Seq>,
}

/// A room of the socket's as it stands now.
struct Standing {
    conversation: ConversationId,
    floor: Seq,
    place: Place,
    /// Where the hub's room stood when the socket joined it; none if the user is no longer a member.
    joined_at: Option<Seq>,
}

/// Joins the socket's rooms again and finds what it missed. None: that cannot be told, so the client has to begin anew.
///
/// The order matters: first the rooms are joined, then the histories are read. What is announced in between is in the histories, or
/// held back for the socket, or both.
pub(super) async fn prepare(
    node: &Node,
    arrival: &mut Arrival,
    adopted: &Adopted,
) -> Result<Option<CatchUp>, RecoverError> {
    let socket = arrival.socket().clone();
    let user = socket.user();
    let Some(standings) = rejoin(node, arrival, adopted).await? else {
        return Ok(None);
    };
    let rooms: Vec<ConversationId> = standings.iter().map(|room| room.conversation).collect();
    let histories = node.recovery.histories(adopted, &rooms, user).await?;
    let Some(histories) = histories else {
        return Ok(None);
    };
    let (mut parts, mut rooms) = (Vec::new(), BTreeMap::new());
    let mut removals = BTreeMap::new();
    let mut count = 0;
    for (standing, history) in standings.iter().zip(histories.rooms) {
        let since = &adopted.since;
        let Some(shown) = shown_until(since, &history, standing.floor, &standing.place) else {
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
                rooms.insert(conversation, standing.floor);
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
    let mut replay = Replay::new(&adopted.since, histories.cut, parts, notices);
    let steps = replay.steps();
    for room in replay.ahead() {
        node.hub.diverged(room).await;
    }
    let shown: Vec<(ConversationId, Seq)> = replay
        .shown()
        .into_iter()
        .filter(|(room, _)| rooms.contains_key(room))
        .collect();
    if !node.recovery.shown(histories.cut, user, shown).await? {
        return Ok(None);
    }
    let frames: Vec<Bytes> = steps.iter().map(|step| show_step(&socket, step)).collect();
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
    Ok(Some(CatchUp {
        frames,
        replay,
        rooms,
    }))
}

/// Joins the rooms again that the socket is still in. None: memberships change faster than they are read.
async fn rejoin(
    node: &Node,
    arrival: &mut Arrival,
    adopted: &Adopted,
) -> Result<Option<Vec<Standing>>, RecoverError> {
    let socket = arrival.socket().clone();
    let mut standings = Vec::new();
    let rooms: Vec<ConversationId> = adopted.record.rooms.keys().copied().collect();
    let places = conversations::places(&node.database, socket.user(), &rooms).await?;
    for place in places {
        let conversation = place.conversation;
        let floor = adopted.record.rooms.get(&conversation).copied();
        let floor = floor.unwrap_or_default();
        // Added again since: it was put out in between, and did not join again.
        let is_in = place.joined_seq.is_some_and(|seq| seq <= floor);
        let joined_at = if is_in {
            arrival.enter(conversation);
            match join(node, &socket, conversation, place.last_seq).await? {
                Joining::Joined(seq) => Some(seq),
                Joining::NoMember => None,
                Joining::Unsettled => return Ok(None),
            }
        } else {
            None
        };
        standings.push(Standing {
            conversation,
            floor,
            place,
            joined_at,
        });
    }
    Ok(Some(standings))
}

/// What became of joining a room again.
enum Joining {
    /// Events after this change are held back for the socket.
    Joined(Seq),
    /// The user is no longer a member.
    NoMember,
    /// Memberships change faster than they are read.
    Unsettled,
}

/// Joins a room again.
async fn join(
    node: &Node,
    socket: &SocketRef,
    conversation: ConversationId,
    mut as_of: Seq,
) -> Result<Joining, RecoverError> {
    for _ in 0..JOIN_ATTEMPTS {
        match node.hub.join(socket.clone(), conversation, as_of).await? {
            JoinOutcome::Joined(seq) => return Ok(Joining::Joined(seq)),
            JoinOutcome::AlreadyIn => return Ok(Joining::Unsettled),
            JoinOutcome::Recheck => {}
        }
        let membership =
            conversations::membership(&node.database, conversation, socket.user()).await?;
        match membership {
            Some((_, seq)) => as_of = seq,
            None => return Ok(Joining::NoMember),
        }
    }
    Ok(Joining::Unsettled)
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
        let page = changes::since(&node.database, conversation, after).await?;
        let fits = |event: &Event| event.seq.is_some_and(|seq| seq <= until);
        events.extend(page.events.into_iter().filter(fits));
        if page.complete || page.up_to <= after {
            break;
        }
        after = page.up_to;
    }
    Ok(events)
}

/// Cuts what came after the user's own removal. The change that removed it, if there was one.
fn until_removal(missed: &mut Vec<(Position, Event)>, user: UserId) -> Option<Seq> {
    let index = missed.iter().position(|(_, event)| {
        matches!(event.fact, Fact::MemberRemoved { user: removed, .. } if removed == user)
    })?;
    missed.truncate(index + 1);
    missed[index].1.seq
}

/// The user's notices that it has not been shown, each once.
async fn notices(
    node: &Node,
    user: UserId,
    adopted: &Adopted,
    history: &[(Position, UserNotice)],
    removals: &BTreeMap<ConversationId, Seq>,
) -> Result<Vec<(Position, Missed)>, RecoverError> {
    let since = &adopted.since;
    let mut missed = Vec::new();
    for (index, (position, notice)) in history.iter().enumerate() {
        let pending = since.notices.contains(position);
        // A redelivered command's notice is announced again.
        let repeated = history[..index]
            .iter()
            .any(|(_, earlier)| earlier == notice);
        if (*position <= since.position && !pending) || repeated {
            continue;
        }
        match notice {
            UserNotice::Joined { conversation, seq } => {
                // Unless the last word about it is that very one already.
                let last = missed.iter().rev().find_map(|(_, missed)| match missed {
                    Missed::Joined(_, view) if view.id == *conversation => Some(true),
                    Missed::Removed(removed, _) if removed == conversation => Some(false),
                    Missed::Joined(..) | Missed::Removed(..) | Missed::Event(..) => None,
                });
                if last == Some(true) {
                    continue;
                }
                let view = conversations::view(&node.database, *conversation, user).await?;
                if let Some(view) = view {
                    missed.push((*position, Missed::Joined(*seq, Box::new(view))));
                }
            }
            UserNotice::Removed { conversation, .. } => {
                // Where it had joined the room, the room says so.
                let told = adopted.record.rooms.contains_key(conversation);
                let own = removal(user, notice).filter(|_| !told);
                if let Some((conversation, event)) = own
                    && !removals.contains_key(&conversation)
                {
                    missed.push((*position, Missed::Removed(conversation, event)));
                }
            }
        }
    }
    Ok(missed)
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
                    conversation,
                    event,
                    offset,
                } => {
                    let offset = offset.map(|offset| self.replay.amend(offset));
                    show(socket, conversation, &event, offset.as_deref())
                }
                Held::Notice { frames, .. } | Held::Frames(frames) => frames,
            });
        }
        frames
    }
}

fn show_step(socket: &SocketRef, Step { missed, offset }: &Step) -> Bytes {
    let offset = Some(offset.as_str());
    match missed {
        Missed::Event(conversation, event) | Missed::Removed(conversation, event) => {
            show(socket, *conversation, event, offset)
        }
        Missed::Joined(_, view) => socket.dialect().joined(socket.namespace(), view, offset),
    }
}

/// What a new socket's client is sent that was held back until it was connected.
pub(super) fn held_frames(socket: &SocketRef, held: Vec<Held>) -> Vec<Bytes> {
    held.into_iter()
        .map(|one| match one {
            Held::Event {
                conversation,
                event,
                offset,
            } => show(socket, conversation, &event, offset.as_deref()),
            Held::Notice { frames, .. } | Held::Frames(frames) => frames,
        })
        .collect()
}

fn show(
    socket: &SocketRef,
    conversation: ConversationId,
    event: &Event,
    offset: Option<&str>,
) -> Bytes {
    let shown = Shown { event, offset };
    let audience = Audience::Sender(socket.user());
    socket.dialect().outbound(
        socket.namespace(),
        conversation,
        std::slice::from_ref(&shown),
        audience,
    )
}
