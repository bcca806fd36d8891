//! A client that sees all its user's conversations and comes back, while things go on happening between any two steps of its recovery. It
//! may break off between any two frames, of the replay as of what was held back meanwhile: when it has come back once more, it has been
//! told all that happened, once, in order.

use std::collections::BTreeSet;

use confab_shared::model::event::UserNotice;
use confab_shared::postgres::memberships::Place;
use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::super::*;
use super::deployment::{ALL, Deployment, GROUP, Happening, KINDS, NEW, ROOMS, SOON};
use crate::hub::JoinOutcome;
use crate::hub::socket::{Held, SocketRef};
use crate::hub::test_node::{held, places, view};

/// For how long Redis keeps histories.
const WINDOW: u64 = 120_000_000;

/// What a client is told by one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Change(ConversationId, Seq),
    Joined(ConversationId),
    Removed(ConversationId),
}

impl Told {
    fn event(room: ConversationId, event: &Event) -> Self {
        match event.fact {
            Fact::MemberRemoved { .. } => Self::Removed(room),
            _ => Self::Change(room, event.seq.unwrap()),
        }
    }
}

/// Frames, each with the offset that it carries.
type Frames = Vec<(Told, String)>;

fn of_steps(steps: Vec<Step>) -> Frames {
    let told = |missed: Missed| match missed {
        Missed::Event(room, event) | Missed::Removed(room, event) => Told::event(room, &event),
        Missed::Joined(view) => Told::Joined(view.id),
    };
    let frames = steps.into_iter();
    frames
        .map(|step| (told(step.missed), step.offset))
        .collect()
}

fn of_held(held: impl IntoIterator<Item = Held>) -> Frames {
    let frame = |one: Held| match one {
        Held::Event {
            subject,
            event,
            offset,
            ..
        } => (Told::event(subject.id, &event), offset.unwrap().into()),
        Held::Joined { view, offset, .. } => (Told::Joined(view.id), offset.unwrap().into()),
        Held::Frames(_) => panic!("nothing else was sent"),
    };
    held.into_iter().map(frame).collect()
}

/// What a client has been told, and its place.
struct Client {
    told: Vec<Told>,
    offset: String,
}

impl Client {
    fn take(&mut self, frames: &[(Told, String)]) {
        for (told, offset) in frames {
            self.told.push(told.clone());
            self.offset.clone_from(offset);
        }
    }

    /// Whether it has been told everything, once, in order.
    fn is_complete(&self, deployment: &Deployment) -> Result<(), String> {
        let fail = |what: &str, index: usize| {
            Err(format!(
                "{what} {index}: {:?} at {}",
                self.told, self.offset
            ))
        };
        for (index, room) in deployment.rooms.iter().enumerate() {
            let seen: Vec<i64> = self
                .told
                .iter()
                .filter_map(|told| match told {
                    Told::Change(id, seq) if *id == room.id => Some(seq.0),
                    Told::Change(..) | Told::Joined(_) | Told::Removed(_) => None,
                })
                .collect();
            let first = i64::from(index == NEW) + 1;
            if seen != (first..=room.committed).collect::<Vec<i64>>() {
                return fail("room", index);
            }
        }
        for (index, (_, notice)) in deployment.notices.iter().enumerate() {
            let told = match notice {
                UserNotice::Joined { conversation, .. } => Told::Joined(*conversation),
                UserNotice::Removed { conversation, .. } => Told::Removed(*conversation),
            };
            if self.told.iter().filter(|one| **one == told).count() != 1 {
                return fail("notice", index);
            }
        }
        Ok(())
    }
}

/// The client's first socket: in all its rooms from the beginning.
fn first(deployment: &mut Deployment) -> (SocketRef, Client) {
    let socket = deployment.connect();
    deployment.tick();
    for index in 0..NEW {
        let id = deployment.rooms[index].id;
        if index >= GROUP {
            socket.follow(id);
        }
        let mut joined = deployment.node.begin_join(id, &socket, Seq(0));
        deployment.attend();
        assert_eq!(joined.try_recv(), Ok(JoinOutcome::Joined(Seq(0))));
    }
    let offset = deployment.node.offset().to_string();
    let told = Vec::new();
    (socket, Client { told, offset })
}

/// How the rooms stand that a socket has joined again: as they were read before, and where the hub's was when it was joined.
fn rejoin(
    deployment: &mut Deployment,
    socket: &SocketRef,
    mut meanwhile: impl FnMut(&mut Deployment),
) -> Vec<(usize, Place, Seq)> {
    let known = if deployment.has_begun() { ROOMS } else { NEW };
    let read: Vec<Place> = (0..known).map(|index| deployment.place(index)).collect();
    meanwhile(deployment);
    let mut joined = Vec::new();
    for (index, place) in read.into_iter().enumerate() {
        if index >= GROUP {
            socket.follow(place.conversation);
        }
        let mut as_of = place.last_seq;
        let at = loop {
            let mut outcome = (deployment.node).begin_join(place.conversation, socket, as_of);
            deployment.attend();
            match outcome.try_recv().unwrap() {
                JoinOutcome::Joined(seq) | JoinOutcome::AlreadyIn(seq) => break seq,
                JoinOutcome::Recheck => as_of = deployment.place(index).last_seq,
            }
        };
        joined.push((index, place, at));
    }
    joined
}

/// What the user's notices come to, as whoever asks PostgreSQL finds.
fn notices(
    deployment: &Deployment,
    since: &Offset,
    history: &[(Position, UserNotice)],
) -> NoticePart {
    let mut part = NoticePart {
        told: last_words(history),
        ..NoticePart::default()
    };
    for (position, notice) in untold(since, deployment.home(), history) {
        let missed = match notice {
            UserNotice::Joined { conversation, seq } => {
                part.followed.insert(*conversation, *seq);
                let last_seq = deployment.place(NEW).last_seq;
                Missed::Joined(Box::new(view(*conversation, KINDS[NEW], last_seq)))
            }
            UserNotice::Removed { .. } => {
                let (conversation, event) = notice.removal(deployment.user).unwrap();
                Missed::Removed(conversation, event)
            }
        };
        part.missed.push((position, missed));
    }
    part
}

/// What it missed in a room, which the hub had shown up to `at` when it was joined.
fn part(
    deployment: &Deployment,
    since: &Offset,
    (index, place): (usize, &Place),
    at: Seq,
    history: Vec<(Position, Event)>,
) -> Option<RoomPart> {
    let (id, floor) = (place.conversation, Seq(i64::from(index == NEW)));
    let shown = shown_until(since, deployment.orders, &history, floor, place)?;
    let announced = history.iter();
    let announced = announced
        .filter_map(|(at, event)| Some((*at, event.seq?)))
        .collect();
    let holes = holes(shown, &history, at);
    let read = |hole: &Hole| {
        let mut events = deployment.changes(index, hole.after);
        events.retain(|event| event.seq.unwrap() <= hole.until);
        events
    };
    let fillings = holes.iter().map(read).collect();
    Some(RoomPart {
        conversation: id,
        shown,
        regular: since.exception(id).is_none(),
        announced,
        filled: !holes.is_empty(),
        missed: fill(shown, history, &holes, fillings),
    })
}

/// What a client that comes back is told, or that it cannot be. Things happen `meanwhile`, between any two steps.
fn come_back(
    deployment: &mut Deployment,
    socket: &SocketRef,
    offset: &str,
    mut meanwhile: impl FnMut(&mut Deployment),
) -> Option<Frames> {
    let since: Offset = offset.parse().expect("an offset that we wrote");
    if !since.is_certain() {
        return None;
    }
    let orders = deployment.orders;
    let mut joined = rejoin(deployment, socket, &mut meanwhile);
    meanwhile(deployment);
    deployment.tick();
    let present = deployment.present();
    meanwhile(deployment);
    joined.retain(|(index, place, _)| {
        let latest = Some(deployment.place(*index).last_seq);
        let may_be_quiet = *index >= GROUP && is_settled(&since, orders, place);
        !(may_be_quiet && was_quiet(place, latest))
    });
    let mut asked = BTreeSet::from([deployment.home()]);
    asked.extend(
        joined
            .iter()
            .map(|(_, place, _)| orders.of_room(place.conversation)),
    );
    let present: Vec<_> = present
        .into_iter()
        .filter(|(order, _)| asked.contains(order))
        .collect();
    let mut cut = since.places.clone();
    cut.advance_all(&places(orders, &present));
    if since.places.earliest().micros + WINDOW < cut.latest().micros {
        return None;
    }
    let oldest = cut.latest().micros - WINDOW;
    let is_kept = |order: Partition, at: &Position| at.micros >= oldest && *at <= cut.of(order);
    let own = deployment.notices.iter();
    let own: Vec<_> = own
        .filter(|(at, _)| is_kept(deployment.home(), at))
        .cloned()
        .collect();
    let follows = |id| {
        joined
            .iter()
            .any(|(index, place, _)| *index >= GROUP && place.conversation == id)
    };
    let since = behind_joinings(&since, deployment.home(), &own, follows);
    meanwhile(deployment);
    let mut parts = Vec::new();
    for (index, place, at) in &joined {
        let order = orders.of_room(place.conversation);
        let mut history = deployment.rooms[*index].history.clone();
        history.retain(|(at, _)| is_kept(order, at));
        parts.push(part(deployment, &since, (*index, place), *at, history)?);
    }
    let notices = notices(deployment, &since, &own);
    meanwhile(deployment);
    let mut replay = Replay::new(orders, deployment.user, &since, &cut, parts, notices);
    let steps = replay.steps();
    for room in replay.ahead().collect::<Vec<_>>() {
        deployment.node.diverged(room);
    }
    let parts: BTreeSet<ConversationId> = joined
        .iter()
        .map(|(_, place, _)| place.conversation)
        .collect();
    let rooms = replay.shown().into_iter();
    let rooms = rooms.filter(|(room, _)| parts.contains(room)).collect();
    let mut shown = deployment.node.shown(deployment.user, present, rooms);
    meanwhile(deployment);
    if shown.try_recv() == Err(TryRecvError::Empty) {
        // Whatever is under way is done in time, unless the node hears nothing.
        if deployment.is_deaf {
            return None;
        }
        deployment.settle();
        shown.try_recv().expect("it was waited for");
    }
    meanwhile(deployment);
    let mut frames = of_steps(steps);
    frames.extend(of_held(replay.behind(held(socket))));
    Some(frames)
}

fn happenings(kinds: u8, most: usize) -> impl Strategy<Value = Vec<Happening>> {
    prop::collection::vec((0..kinds, 0_usize..ROOMS, 0_i64..3), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn wherever_a_client_breaks_off_while_it_comes_back_it_is_told_everything_once(
        before in happenings(ALL, 40),
        away in happenings(ALL, 8),
        meanwhile in prop::collection::vec(happenings(SOON, 4), 7),
        after in happenings(ALL, 8),
        broken_off in any::<prop::sample::Index>(),
        broken_again in any::<prop::sample::Index>(),
        is_split: bool,
        elsewhere: bool,
    ) {
        let orders = if is_split { Orders::of_partitions(2) } else { Orders::ONE };
        let mut deployment = Deployment::new(orders);
        let (gone, mut client) = first(&mut deployment);
        for one in before {
            deployment.happen(one);
        }
        let got = of_held(held(&gone));
        client.take(&got[..broken_off.index(got.len() + 1)]);
        for one in away {
            deployment.happen(one);
        }
        if elsewhere {
            deployment.move_on();
        }
        let back = deployment.connect();
        leave(&mut deployment, &gone);
        let mut meanwhile = meanwhile.into_iter();
        let told = come_back(&mut deployment, &back, &client.offset, |deployment| {
            for one in meanwhile.next().unwrap_or_default() {
                deployment.happen(one);
            }
        });
        let Some(told) = told else { return Ok(()) };
        client.take(&told[..broken_again.index(told.len() + 1)]);
        for one in after {
            deployment.happen(one);
        }
        deployment.settle();
        let again = deployment.connect();
        leave(&mut deployment, &back);
        let told = come_back(&mut deployment, &again, &client.offset, |_| {});
        let Some(told) = told else { return Ok(()) };
        client.take(&told);
        client.is_complete(&deployment).map_err(TestCaseError::fail)?;
    }
}

fn leave(deployment: &mut Deployment, socket: &SocketRef) {
    deployment.node.users().remove(socket);
    for index in 0..ROOMS {
        let id = deployment.rooms[index].id;
        deployment.node.leave(id, socket.key());
    }
}
