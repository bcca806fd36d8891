//! Who is online, by whole histories: nodes come and go, people do, Redis forgets; and in the end everybody's view is right.
//!
//! The nodes are in this process, without listeners; Redis and PostgreSQL are real. Times are a tenth of production's.

mod apart;
mod history;
mod in_rooms;
mod missed;
mod overtaken;
mod watcher;
mod world;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use confab_gateway::presence::Timing;
use confab_shared::id::UserId;
use confab_shared::postgres;
use confab_shared::postgres::users;
use confab_shared::testing::on_fresh_database;
use fred::interfaces::ClientLike;

use watcher::Watcher;
pub(crate) use watcher::frames;
use world::{LARGEST_GROUP, World, hurried, mortal, until};

/// A tenth of what it may take until everybody's view is right after a gateway's death.
const SOON: Duration = Duration::from_secs(1);
/// How long what is to come is waited for, where it is not about how soon: a loaded machine is no fault.
const IN_THE_END: Duration = Duration::from_secs(30);

fn with_world<F: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(World) -> F + Send + 'static,
) {
    with_world_at(hurried(), test);
}

fn with_world_at<F: Future<Output = ()> + Send + 'static>(
    timing: Timing,
    test: impl FnOnce(World) -> F + Send + 'static,
) {
    on_fresh_database(postgres::pool, move |pool| async move {
        test(World::new(pool, timing).await).await;
    });
}

async fn sees(watcher: &mut Watcher, expected: &[UserId]) -> Duration {
    let expected: BTreeSet<UserId> = expected.iter().copied().collect();
    let began = std::time::Instant::now();
    loop {
        watcher.read();
        if watcher.began && watcher.view == expected {
            return began.elapsed();
        }
        let view = &watcher.view;
        assert!(
            began.elapsed() < IN_THE_END,
            "{view:?} instead of {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nodes that say everything themselves, however long it takes: what others say for them is said twice.
fn unhelped() -> Timing {
    Timing {
        overdue: IN_THE_END,
        ..hurried()
    }
}

/// The same where somebody who was away is not to have gone: a slow machine has them back in time.
fn lenient() -> Timing {
    Timing {
        linger: SOON * 6,
        ..unhelped()
    }
}

/// Until whoever lingered has gone.
async fn lingered() {
    tokio::time::sleep(lenient().linger + SOON).await;
}

async fn rest(times: u32) {
    tokio::time::sleep(hurried().linger * times).await;
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn devices_on_several_nodes_are_one_user_and_a_reconnection_is_silent() {
    with_world_at(lenient(), |world| async move {
        let (ann, ben, stranger) = (world.user().await, world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        let (one, other) = (world.gateway().await, world.gateway().await);
        let mut watcher = one.connect(ann, "conversations");
        sees(&mut watcher, &[]).await;
        let _nobody = other.connect(stranger, "conversations");
        let first = other.connect(ben, "namespaced");
        sees(&mut watcher, &[ben]).await;
        let mut came = one.connect(ben, "conversations");
        sees(&mut came, &[ann]).await;
        other.disconnect(&first);
        lingered().await;
        // The last device goes and comes back in time, at the other node.
        one.disconnect(&came);
        tokio::time::sleep(hurried().linger / 2).await;
        let again = other.connect(ben, "conversations");
        lingered().await;
        watcher.read();
        assert_eq!(watcher.frames, 2, "everybody online, and ben's coming");
        let seen = users::find(&world.pool, ben).await.unwrap().unwrap();
        other.disconnect(&again);
        let waited = sees(&mut watcher, &[]).await;
        assert!(waited >= lenient().linger, "{waited:?}");
        assert_eq!(watcher.told_offline, [ben]);
        let noted = || async {
            let gone = users::find(&world.pool, ben).await.unwrap().unwrap();
            let is_right = gone.last_seen_at > seen.last_seen_at && world.unsaid().await == 0;
            is_right.then_some(()).ok_or(format!("{gone:?}"))
        };
        until(IN_THE_END, noted).await.unwrap();
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_was_on_a_node_that_dies_is_gone_soon_unless_they_come_back() {
    with_world_at(mortal(), |world| async move {
        // A machine that stands still for a moment may let the other node's lease lapse as well; but not every time.
        let mut failures = Vec::new();
        for _ in 0..5 {
            world.redis.flushall::<()>(false).await.unwrap();
            match a_node_dies(&world).await {
                Ok(()) => return,
                Err(why) => failures.push(why),
            }
        }
        panic!("{failures:#?}");
    });
}

async fn a_node_dies(world: &World) -> Result<(), String> {
    let (ann, ben, cat) = (world.user().await, world.user().await, world.user().await);
    world.group(&[ann, ben, cat]).await;
    let (one, other) = (world.gateway().await, world.gateway().await);
    let mut watcher = one.connect(ann, "namespaced");
    let _both = (
        other.connect(ben, "conversations"),
        other.connect(cat, "direct"),
    );
    watcher.began = true;
    sees(&mut watcher, &[ben, cat]).await;
    other.kill().await;
    let _back = one.connect(cat, "conversations");
    let waited = sees(&mut watcher, &[cat]).await;
    let connected = world.connected(&[ann, ben, cat]).await;
    let reaped = one.metrics.online.reaped_total.get();
    let is_right = waited < SOON * 4
        && watcher.told_offline == [ben]
        && connected == [ann, cat].into()
        && reaped == 2;
    one.kill().await;
    let told = &watcher.told_offline;
    is_right.then_some(()).ok_or_else(|| {
        format!(
            "{waited:?}, told of {told:?}, connected {connected:?}, {reaped} reaped; {ben} went"
        )
    })
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_redis_that_forgot_everything_is_told_again_and_nobody_seems_to_have_gone() {
    // A slow machine's nodes note anew what they know by then.
    let settling = SOON * 5;
    let timing = Timing {
        settling,
        ..hurried()
    };
    with_world_at(timing, move |world| async move {
        let (ann, ben, cat) = (world.user().await, world.user().await, world.user().await);
        world.group(&[ann, ben, cat]).await;
        let (one, other) = (world.gateway().await, world.gateway().await);
        let mut watchers = [
            one.connect(ann, "conversations"),
            one.connect(ann, "namespaced"),
        ];
        let (first, second) = (other.connect(ben, "direct"), one.connect(cat, "direct"));
        watchers[1].began = true;
        for watcher in &mut watchers {
            sees(watcher, &[ben, cat]).await;
        }
        tokio::time::sleep(settling).await;
        for _ in 0..2 {
            world.redis.flushall::<()>(false).await.unwrap();
            let back = || async {
                let connected = world.connected(&[ann, ben, cat]).await;
                (connected.len() == 3)
                    .then_some(())
                    .ok_or_else(|| format!("{connected:?}"))
            };
            until(IN_THE_END, back).await.unwrap();
        }
        // One goes before anybody is shown anything again.
        one.disconnect(&second);
        for watcher in &mut watchers {
            sees(watcher, &[ben]).await;
            assert_eq!(
                watcher
                    .told_offline
                    .iter()
                    .filter(|user| **user == ben)
                    .count(),
                0
            );
        }
        other.disconnect(&first);
        for watcher in &mut watchers {
            sees(watcher, &[]).await;
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_wants_to_be_seen_as_offline_is_and_nobody_notices_their_comings_and_goings() {
    with_world_at(unhelped(), |world| async move {
        let (ann, ben) = (world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        let one = world.gateway().await;
        let mut watcher = one.connect(ann, "conversations");
        let first = one.connect(ben, "conversations");
        sees(&mut watcher, &[ben]).await;
        World::appear(&one, ben, false).await;
        sees(&mut watcher, &[]).await;
        let hidden_at = users::find(&world.pool, ben)
            .await
            .unwrap()
            .unwrap()
            .last_seen_at;
        let frames = watcher.frames;
        one.disconnect(&first);
        rest(2).await;
        let again = one.connect(ben, "conversations");
        rest(1).await;
        watcher.read();
        assert_eq!(watcher.frames, frames, "not a word");
        assert_eq!(one.presence.online_contacts(ann).await, Some(vec![]));
        assert_eq!(one.presence.online_contacts(ben).await, Some(vec![ann]));
        let seen = users::find(&world.pool, ben).await.unwrap().unwrap();
        assert_eq!(seen.last_seen_at, hidden_at);
        World::appear(&one, ben, true).await;
        sees(&mut watcher, &[ben]).await;
        // Who is not there at all has nothing to announce.
        one.disconnect(&again);
        sees(&mut watcher, &[]).await;
        rest(1).await;
        let frames = watcher.frames;
        for online in [false, true] {
            World::appear(&one, ben, online).await;
        }
        rest(1).await;
        watcher.read();
        assert_eq!(watcher.frames, frames);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_hides_in_the_moment_of_coming_is_said_to_be_offline() {
    let tick = hurried().linger;
    let slow = Timing { tick, ..hurried() };
    with_world_at(slow, |world| async move {
        let (ann, ben) = (world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        let one = world.gateway().await;
        let mut watcher = one.connect(ann, "conversations");
        sees(&mut watcher, &[]).await;
        let _socket = one.connect(ben, "conversations");
        // Redis was not told of it: that takes a tick.
        World::appear(&one, ben, false).await;
        let until = std::time::Instant::now() + IN_THE_END;
        while watcher.told_offline != [ben] {
            watcher.read();
            assert!(
                std::time::Instant::now() < until,
                "{:?}",
                watcher.told_offline
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_large_group_makes_nobody_contacts() {
    with_world(|world| async move {
        let mut people = Vec::new();
        for _ in 0..=LARGEST_GROUP {
            people.push(world.user().await);
        }
        world.group(&people).await;
        world.group(&people[..2]).await;
        let one = world.gateway().await;
        let all: Vec<Watcher> = people
            .iter()
            .map(|user| one.connect(*user, "conversations"))
            .collect();
        for (index, mut watcher) in all.into_iter().enumerate() {
            let other = [people[1], people[0]].into_iter().nth(index);
            sees(&mut watcher, other.as_slice()).await;
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_rolling_restart_shows_nobody_as_offline() {
    let timing = Timing {
        linger: lenient().linger,
        ..hurried()
    };
    with_world_at(timing, |world| async move {
        let (mut people, mut gateways) = (Vec::new(), Vec::new());
        for _ in 0..LARGEST_GROUP {
            people.push(world.user().await);
        }
        world.group(&people).await;
        for _ in 0..3 {
            gateways.push(world.gateway().await);
        }
        let mut watchers: Vec<Watcher> = (0..people.len())
            .map(|index| gateways[index % 3].connect(people[index], "conversations"))
            .collect();
        let others = |user: UserId| -> Vec<UserId> {
            people
                .iter()
                .copied()
                .filter(|other| *other != user)
                .collect()
        };
        for watcher in &mut watchers {
            let expected = others(watcher.user);
            sees(watcher, &expected).await;
        }
        for index in 0..3 {
            let fresh = world.gateway().await;
            let leaving = std::mem::replace(&mut gateways[index], fresh);
            let (going, staying): (Vec<_>, Vec<_>) = watchers
                .into_iter()
                .partition(|watcher| watcher.node == leaving.id);
            leaving.drain(&going.iter().collect::<Vec<_>>()).await;
            // They are away for as long as a client may be.
            tokio::time::sleep(hurried().linger / 2).await;
            watchers = staying;
            for mut left in going {
                left.read();
                assert!(left.told_offline.is_empty());
                watchers.push(gateways[(index + 1) % 3].connect(left.user, "conversations"));
            }
            lingered().await;
        }
        for watcher in &mut watchers {
            let expected = others(watcher.user);
            sees(watcher, &expected).await;
            assert!(
                watcher.told_offline.is_empty(),
                "{:?}",
                watcher.told_offline
            );
        }
    });
}
