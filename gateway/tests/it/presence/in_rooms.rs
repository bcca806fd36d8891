//! Who is in which public room, while nodes are taken for gone and Redis gives no answers.

use std::sync::Arc;

use confab_gateway::presence::Timing;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::presence::Stay;
use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};

use super::world::{Gateway, PARTITIONS, World, hurried, until};
use super::{IN_THE_END, SOON, with_world};

fn somebody() -> Arc<Profile> {
    let id = UserId::generate();
    let name: Arc<str> = id.0.simple().to_string().into();
    Arc::new(Profile {
        id,
        username: name.clone(),
        name,
        avatar: None,
        account: AccountRole::User,
    })
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_enters_after_a_try_that_failed_is_noted() {
    with_world(|world| async move {
        let (one, room, ann) = (
            world.gateway().await,
            ConversationId::generate(),
            somebody(),
        );
        let key = Keyspace::new(PARTITIONS).present(room);
        // It has just looked who has lingered long enough, and does so again in half a second.
        tokio::time::sleep(SOON / 10).await;
        world
            .redis
            .set::<(), _, _>(&key, "no hash", None, None, false)
            .await
            .unwrap();
        assert!(one.presence.enter(room, ann.clone(), None).await.is_err());
        world.redis.del::<(), _>(&key).await.unwrap();
        let entrance = one.presence.enter(room, ann.clone(), None).await.unwrap();
        entrance.stay();
        assert_eq!(one.presence.count(room).await.unwrap(), 1);
        // Nor is she taken out for the try that failed.
        tokio::time::sleep(SOON).await;
        assert_eq!(one.presence.present(room).await.unwrap(), [(*ann).clone()]);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_room_is_a_nodes_while_somebody_of_it_is_there() {
    with_world(|world| async move {
        let (one, room) = (world.gateway().await, ConversationId::generate());
        let key = Keyspace::new(PARTITIONS).stay_rooms(Stay::first(one.id));
        let people = [somebody(), somebody()];
        for (index, user) in people.iter().enumerate() {
            assert_eq!(
                one.presence.some_present(room, 9).await.unwrap().len(),
                index
            );
            let entrance = one.presence.enter(room, user.clone(), None).await;
            entrance.unwrap().stay();
        }
        let all = one.presence.present(room).await.unwrap();
        assert_eq!(one.presence.some_present(room, 2).await.unwrap(), all);
        assert_eq!(one.presence.some_present(room, 1).await.unwrap().len(), 1);
        for (user, rooms) in people.iter().zip([1, 0]) {
            one.presence.exit(room, user.id, true).await;
            // Served after that.
            let other = one
                .presence
                .enter(ConversationId::generate(), somebody(), None)
                .await;
            drop(other.unwrap());
            let members: Vec<String> = world.redis.smembers(&key).await.unwrap();
            let here = members.iter().filter(|one| **one == room.to_string());
            assert_eq!(here.count(), rooms);
        }
    });
}

/// A node that notices late that it is taken for gone.
async fn slow_gateway(world: &World) -> Gateway {
    let slow = Timing {
        beat: SOON * 20,
        term: SOON * 60,
        ..hurried()
    };
    world.gateway_with(slow, world.pool.clone()).await
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_room_hears_that_a_node_is_back_that_was_taken_for_gone() {
    with_world(|world| async move {
        let (here, _there) = (slow_gateway(&world).await, world.gateway().await);
        let (room, ann) = (ConversationId::generate(), somebody());
        let mut heard = world.hear(room).await;
        let entrance = here.presence.enter(room, ann.clone(), None).await;
        entrance.unwrap().stay();
        assert_eq!(heard.next().await, ("entered", ann.id));
        world.lapse(Stay::first(here.id)).await;
        assert_eq!(heard.next().await, ("exited", ann.id));
        assert_eq!(heard.next().await, ("entered", ann.id));
        assert_eq!(here.presence.count(room).await.unwrap(), 1);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_a_former_stay_noted_too_late_is_no_ghost() {
    with_world(|world| async move {
        let (here, _there) = (slow_gateway(&world).await, world.gateway().await);
        let (room, ann) = (ConversationId::generate(), somebody());
        let mut heard = world.hear(room).await;
        let entrance = here.presence.enter(room, ann.clone(), None).await;
        entrance.unwrap().stay();
        assert_eq!(heard.next().await, ("entered", ann.id));
        let stay = Stay::first(here.id);
        world.lapse(stay).await;
        assert_eq!(heard.next().await, ("exited", ann.id));
        let key = Keyspace::new(PARTITIONS).present(room);
        let user = ann.id.to_string();
        let late = format!("{stay} {}", serde_json::to_string(&*ann).unwrap());
        world
            .redis
            .hset::<(), _, _>(&key, (user.clone(), late))
            .await
            .unwrap();
        let taken_over = || async {
            let entry: Option<String> = world.redis.hget(&key, &user).await.unwrap();
            let noted = format!("{} ", stay.next());
            let is_right = entry
                .as_ref()
                .is_some_and(|entry| entry.starts_with(&noted));
            is_right.then_some(()).ok_or(format!("{entry:?}"))
        };
        until(IN_THE_END, taken_over).await.unwrap();
        here.presence.exit(room, ann.id, true).await;
        assert_eq!(heard.next().await, ("exited", ann.id));
        assert_eq!(here.presence.count(room).await.unwrap(), 0);
    });
}
