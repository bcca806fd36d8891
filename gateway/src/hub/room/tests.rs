//! A room against a hostile channel: whatever pub/sub drops, repeats or reorders, each socket sees everything after its joining
//! once, in order, and a removed member sees nothing after its removal.

use std::time::Instant;

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::event::{Event, Fact};
use proptest::prelude::*;

use super::*;
use crate::hub::test_bench::{Bench, deleted, event, field, sent, socket};

/// What a socket was sent, as the numbers of deleted messages (which stand for seqs here) and 0 for a removal.
fn seen(socket: &SocketRef) -> Vec<i64> {
    sent(socket)
        .iter()
        .map(|packet| field(packet, "messageId").map_or(0, |id| id.parse().unwrap()))
        .collect()
}

/// One room, and the order in which its events are announced.
struct Scene {
    bench: Bench,
    conversation: ConversationId,
    position: Position,
}

impl Scene {
    fn new(max_held: usize) -> Self {
        Self {
            bench: Bench::new(max_held),
            conversation: ConversationId::generate(),
            position: Position::default(),
        }
    }

    fn open(at: i64) -> Self {
        let mut scene = Self::new(8);
        assert_eq!(scene.opened(at), None);
        scene
    }

    fn room(&mut self) -> &mut Room {
        self.bench.room(self.conversation)
    }

    fn opened(&mut self, seq: i64) -> Option<Wish> {
        self.bench.opened(self.conversation, Seq(seq))
    }

    fn receive(&mut self, events: Vec<Event>) -> Option<Wish> {
        self.position.micros += 1;
        self.bench
            .published(self.conversation, self.position, events)
    }

    fn repaired(&mut self, events: Vec<Event>, up_to: i64, complete: bool) -> Option<Wish> {
        self.bench
            .repaired(self.conversation, events, Seq(up_to), complete)
    }

    fn checked(&mut self, seq: i64) -> Option<Wish> {
        self.bench.checked(self.conversation, Seq(seq))
    }

    fn join(&mut self, socket: SocketRef, as_of: Seq) -> JoinOutcome {
        self.bench.join(self.conversation, socket, as_of)
    }

    fn join_with(&mut self, joining: Joining) -> JoinOutcome {
        self.bench.join_with(self.conversation, joining)
    }

    fn leave(&mut self, socket: u64) {
        self.bench.leave(self.conversation, socket);
    }
}

#[test]
fn events_are_shown_once_in_order() {
    let mut scene = Scene::open(4);
    let listener = socket(UserId::generate());
    assert_eq!(
        scene.join(listener.clone(), Seq(4)),
        JoinOutcome::Joined(Seq(4))
    );
    assert_eq!(scene.receive(vec![deleted(5), deleted(6)]), None);
    assert_eq!(
        scene.receive(vec![deleted(5), deleted(6), deleted(7)]),
        None
    );
    assert_eq!(seen(&listener), [5, 6, 7]);
}

#[test]
fn a_gap_holds_back_what_is_later_until_it_is_repaired() {
    let mut scene = Scene::open(4);
    let listener = socket(UserId::generate());
    scene.join(listener.clone(), Seq(4));
    assert_eq!(scene.receive(vec![deleted(7)]), Some(Wish::Repair(Seq(4))));
    assert_eq!(
        scene.receive(vec![deleted(8)]),
        None,
        "one repair at a time"
    );
    assert!(seen(&listener).is_empty());
    assert_eq!(scene.repaired(vec![deleted(5), deleted(6)], 6, true), None);
    assert_eq!(seen(&listener), [5, 6, 7, 8]);
}

#[test]
fn a_long_gap_comes_in_pages_and_asks_once() {
    let mut scene = Scene::open(4);
    let listener = socket(UserId::generate());
    scene.join(listener.clone(), Seq(4));
    assert_eq!(scene.receive(vec![deleted(9)]), Some(Wish::Repair(Seq(4))));
    assert_eq!(scene.repaired(vec![deleted(5), deleted(6)], 6, false), None);
    assert_eq!(scene.repaired(vec![deleted(7), deleted(8)], 8, true), None);
    assert_eq!(seen(&listener), [5, 6, 7, 8, 9]);
}

#[test]
fn a_repair_for_a_room_that_was_let_go_does_not_open_its_successor() {
    let mut scene = Scene::new(8);
    assert_eq!(scene.repaired(vec![deleted(5)], 5, true), None);
    assert!(!scene.room().is_open());
}

#[test]
fn what_comes_while_the_room_opens_waits_for_its_place() {
    let mut scene = Scene::new(8);
    assert_eq!(scene.receive(vec![deleted(5), deleted(6)]), None);
    let listener = socket(UserId::generate());
    assert_eq!(scene.opened(5), None);
    assert_eq!(scene.room().seq(), Seq(6));
    assert_eq!(
        scene.join(listener.clone(), Seq(5)),
        JoinOutcome::Joined(Seq(6))
    );
    assert!(seen(&listener).is_empty());
}

#[test]
fn a_hint_that_says_nothing_new_is_ignored_and_one_that_does_is_followed() {
    let mut scene = Scene::open(4);
    let advanced = |seq| event(seq, Fact::Advanced);
    assert_eq!(scene.receive(vec![advanced(4)]), None);
    assert_eq!(scene.receive(vec![advanced(5)]), Some(Wish::Repair(Seq(4))));
    assert_eq!(scene.repaired(vec![], 5, true), None);
    assert_eq!(scene.checked(5), None);
    assert_eq!(scene.checked(6), Some(Wish::Repair(Seq(5))));
}

#[test]
fn what_is_counted_is_what_was_shown_when_it_was() {
    let mut scene = Scene::open(4);
    let listeners = [socket(UserId::generate()), socket(UserId::generate())];
    for listener in &listeners {
        scene.join(listener.clone(), Seq(4));
    }
    let counted = |scene: &mut Scene| -> Vec<(usize, bool)> {
        let shown = scene.bench.shown.drain(..);
        shown
            .map(|one| (one.listeners, one.since.is_some()))
            .collect()
    };
    scene.receive(vec![deleted(5)]);
    assert_eq!(counted(&mut scene), [(2, true)]);
    scene.receive(vec![deleted(5)]);
    assert_eq!(counted(&mut scene), [], "it was announced again");
    scene.receive(vec![deleted(8)]);
    assert_eq!(counted(&mut scene), [], "it is held back");
    scene.repaired(vec![deleted(6), deleted(7)], 7, true);
    assert_eq!(counted(&mut scene), [(2, false), (2, false), (2, true)]);
}

#[test]
fn a_removed_member_sees_its_removal_on_all_its_sockets_and_nothing_after() {
    let mut scene = Scene::open(4);
    let (removed, other) = (UserId::generate(), UserId::generate());
    let (joined, apart, stays) = (socket(removed), socket(removed), socket(other));
    for socket in [&joined, &apart, &stays] {
        scene.bench.users().add(socket.clone());
    }
    scene.join(joined.clone(), Seq(4));
    scene.join(stays.clone(), Seq(4));
    let removal = event(
        6,
        Fact::MemberRemoved {
            user: removed,
            by: other,
        },
    );
    scene.receive(vec![deleted(5), removal, deleted(7)]);
    assert_eq!(seen(&joined), [5, 0]);
    assert_eq!(seen(&apart), [0]);
    assert_eq!(seen(&stays), [5, 0, 7]);
    assert_eq!(
        scene.join(joined, Seq(5)),
        JoinOutcome::Recheck,
        "its membership was read too early"
    );
}

#[test]
fn a_socket_that_left_sees_nothing_and_an_empty_room_is_idle() {
    let mut scene = Scene::open(0);
    let listener = socket(UserId::generate());
    scene.join(listener.clone(), Seq(0));
    scene.room().touch(Instant::now());
    assert!(scene.room().idle_since().is_none());
    scene.leave(listener.key());
    assert!(scene.room().idle_since().is_some());
    scene.receive(vec![deleted(1)]);
    assert!(seen(&listener).is_empty());
}

proptest! {
    #[test]
    fn nothing_is_lost_repeated_or_reordered(
        steps in prop::collection::vec((0_u8..8, 0_usize..6), 1..200),
        max_held in 1_usize..6,
    ) {
        let mut scene = Scene::new(max_held);
        let mut committed = 0_i64;
        let mut wish = Some(Wish::Open);
        let mut listeners: Vec<(i64, SocketRef)> = Vec::new();
        let answer = |scene: &mut Scene, wish: Wish, committed: i64| match wish {
            Wish::Open => scene.opened(committed),
            Wish::Repair(after) => {
                let events: Vec<Event> = (after.0 + 1..=committed).map(deleted).collect();
                scene.repaired(events, committed, true)
            }
        };
        for (step, detail) in steps {
            match step {
                // Committed and announced, announced twice, announced late, not announced, or hinted at.
                0..=2 => {
                    committed += 1;
                    let wished = scene.receive(vec![deleted(committed)]);
                    prop_assert!(wished.is_none() || wish.is_none(), "two wishes at a time");
                    wish = wish.or(wished);
                }
                3 => committed += 1,
                4 => {
                    let back = i64::try_from(detail).unwrap();
                    let from = (committed - back).max(1);
                    let wished = scene.receive((from..=committed).map(deleted).collect());
                    wish = wish.or(wished);
                }
                5 => {
                    let hint = event(committed, Fact::Advanced);
                    let wished = scene.receive(vec![hint]);
                    wish = wish.or(wished);
                }
                6 => if let Some(open) = wish.take() {
                    wish = answer(&mut scene, open, committed);
                },
                _ => if scene.room().is_open() {
                    let listener = socket(UserId::generate());
                    let from = scene.room().seq().0;
                    prop_assert_eq!(scene.join(listener.clone(), Seq(committed)), JoinOutcome::Joined(Seq(from)));
                    listeners.push((from, listener));
                },
            }
        }
        // What a sweep would do.
        while let Some(open) = wish.take().or_else(|| scene.checked(committed)) {
            wish = answer(&mut scene, open, committed);
        }
        for (from, listener) in listeners {
            prop_assert_eq!(seen(&listener), (from + 1..=committed).collect::<Vec<_>>());
        }
    }
}

/// A joining that has its socket shown first what happened from `after` on, as PostgreSQL tells it up to `up_to`.
fn behind(socket: &SocketRef, as_of: i64, after: i64, up_to: i64) -> Joining {
    let events = (after + 1..=up_to).map(deleted).collect();
    let up_to = Seq(up_to);
    Joining {
        socket: socket.clone(),
        called: Called::ById,
        as_of: Seq(as_of),
        backlog: Some(Backlog { events, up_to }),
    }
}

#[test]
fn a_backlog_is_shown_first_up_to_where_the_room_stands() {
    let mut scene = Scene::open(4);
    let (other, late) = (socket(UserId::generate()), socket(UserId::generate()));
    scene.join(other.clone(), Seq(4));
    scene.receive(vec![deleted(5)]);
    // PostgreSQL is further than what was announced: the room shows the rest, to both.
    assert_eq!(
        scene.join_with(behind(&late, 6, 2, 6)),
        JoinOutcome::Joined(Seq(5))
    );
    scene.receive(vec![deleted(6), deleted(7)]);
    assert_eq!(seen(&late), [3, 4, 5, 6, 7]);
    assert_eq!(seen(&other), [5, 6, 7]);
}

#[test]
fn a_backlog_that_ends_before_the_room_is_read_again() {
    let mut scene = Scene::open(4);
    let late = socket(UserId::generate());
    scene.join(socket(UserId::generate()), Seq(4));
    scene.receive(vec![deleted(5), deleted(6)]);
    assert_eq!(
        scene.join_with(behind(&late, 5, 2, 5)),
        JoinOutcome::Recheck
    );
    assert_eq!(seen(&late), [] as [i64; 0]);
    assert_eq!(
        scene.join_with(behind(&late, 6, 2, 6)),
        JoinOutcome::Joined(Seq(6))
    );
    assert_eq!(seen(&late), [3, 4, 5, 6]);
    // Nothing twice, however often it is asked.
    assert_eq!(
        scene.join_with(behind(&late, 6, 2, 6)),
        JoinOutcome::AlreadyIn(Seq(6))
    );
    assert_eq!(seen(&late), [] as [i64; 0]);
}

#[test]
fn nobody_listens_to_a_room_that_has_ended() {
    let mut scene = Scene::open(4);
    let listener = socket(UserId::generate());
    scene.join(listener.clone(), Seq(4));
    let ended = event(
        5,
        Fact::RoomDeleted {
            by: UserId::generate(),
        },
    );
    scene.receive(vec![deleted(5), ended.clone()]);
    scene.receive(vec![Event {
        seq: Some(Seq(6)),
        ..ended
    }]);
    scene.receive(vec![deleted(7)]);
    assert_eq!(seen(&listener), [5, 0], "its end, and nothing after it");
    assert_eq!(
        scene.join(socket(UserId::generate()), Seq(5)),
        JoinOutcome::Recheck
    );
}
