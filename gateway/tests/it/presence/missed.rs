//! What was said while somebody could not be told is made up for: nodes that were taken for gone, clients that were away, whoever gave up waiting.

use std::time::Duration;

use confab_gateway::presence::Timing;
use confab_shared::postgres::users;
use confab_shared::redis::presence::Stay;
use sqlx::Connection;

use super::overtaken::{are_held, held_gateway, hold, to_each_their_own};
use super::world::{World, hurried, until};
use super::{IN_THE_END, SOON, sees, with_world, with_world_at};

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_node_that_was_taken_for_gone_shows_what_it_missed() {
    with_world(|world| async move {
        let (ann, ben) = (world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        // It notices late.
        let slow = Timing {
            beat: SOON * 20,
            term: SOON * 60,
            ..hurried()
        };
        let here = world.gateway_with(slow, world.pool.clone()).await;
        let there = world.gateway().await;
        let mut watchers = ["conversations", "namespaced"].map(|name| here.connect(ann, name));
        let other = there.connect(ben, "direct");
        for watcher in &mut watchers {
            watcher.began = true;
            sees(watcher, &[ben]).await;
        }
        world.lapse(Stay::first(here.id)).await;
        let gone = |user| {
            let world = &world;
            move || async move {
                let connected = world.connected(&[user]).await;
                let settled = connected.is_empty() && world.unsaid().await == 0;
                settled.then_some(()).ok_or(format!("{connected:?}"))
            }
        };
        until(IN_THE_END, gone(ann)).await.unwrap();
        there.disconnect(&other);
        until(IN_THE_END, gone(ben)).await.unwrap();
        for watcher in &mut watchers {
            sees(watcher, &[]).await;
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_comes_back_is_told_who_went_meanwhile() {
    with_world(|world| async move {
        let (ann, ben, cat) = (world.user().await, world.user().await, world.user().await);
        world.group(&[ann, ben, cat]).await;
        let one = world.gateway().await;
        let _socket = one.connect(cat, "direct");
        for dialect in ["namespaced", "conversations"] {
            let mut watcher = one.recover(ann, dialect, &[ben, cat]);
            sees(&mut watcher, &[cat]).await;
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_wish_that_is_repeated_is_announced_once_more() {
    with_world(|world| async move {
        let (ann, ben) = (world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        let one = world.gateway().await;
        let mut watcher = one.connect(ann, "conversations");
        let _socket = one.connect(ben, "direct");
        sees(&mut watcher, &[ben]).await;
        // By a node that was gone before it could tell anybody.
        users::set_appears_offline(&world.pool, ben, true)
            .await
            .unwrap();
        World::appear(&one, ben, false).await;
        sees(&mut watcher, &[]).await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_wish_that_is_stored_is_announced_whoever_gave_up_waiting() {
    with_world_at(to_each_their_own(), |world| async move {
        let (ann, ben) = (world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        let (held, there) = (held_gateway(&world).await, world.gateway().await);
        let mut watcher = there.connect(ann, "conversations");
        let _socket = there.connect(ben, "direct");
        sees(&mut watcher, &[ben]).await;
        let holding = hold(&world).await;
        tokio::select! {
            _ = held.presence.wish(ben, false) => unreachable!("it is held"),
            () = are_held(&world, 1) => {}
        }
        holding.close().await.unwrap();
        sees(&mut watcher, &[]).await;
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_hides_before_their_going_was_told_is_said_to_be_offline() {
    with_world_at(to_each_their_own(), |world| async move {
        let (ann, ben) = (world.user().await, world.user().await);
        world.group(&[ann, ben]).await;
        let there = world.gateway().await;
        let mut watcher = there.connect(ann, "conversations");
        sees(&mut watcher, &[]).await;
        // Noted by a node that is gone before it announces anything.
        let stay = Stay::first(there.id).next();
        assert!(
            !world.online.appear(ben).await.unwrap(),
            "nobody is to know"
        );
        world.online.put(stay, &[ben], 0).await.unwrap();
        let coming = world.online.owed(&[ben]).await.unwrap();
        world.online.said(&coming).await.unwrap();
        assert_eq!(world.online.take(stay, &[ben]).await.unwrap(), [ben]);
        World::appear(&there, ben, false).await;
        tokio::time::timeout(IN_THE_END, async {
            while watcher.told_offline != [ben] {
                tokio::time::sleep(Duration::from_millis(5)).await;
                watcher.read();
            }
        })
        .await
        .expect("the going was passed over");
        let settled = || async {
            match world.unsaid().await {
                0 => Ok(()),
                unsaid => Err(format!("{unsaid} are not announced")),
            }
        };
        until(IN_THE_END, settled).await.unwrap();
    });
}
