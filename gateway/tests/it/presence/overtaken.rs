//! What is said is overtaken by what is true later: one node is held up in the middle of announcing, or of looking, while others go on.

use std::time::{Duration, Instant};

use confab_gateway::presence::Timing;
use confab_shared::id::UserId;
use confab_shared::redis::presence::Stay;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection};

use super::watcher::Watcher;
use super::world::{Gateway, World, hurried};
use super::{IN_THE_END, sees, with_world_at};

/// As which node it asks whose questions about accounts wait while they are held.
const HELD: &str = "held";

/// Nobody announces what others should have announced.
pub(super) fn to_each_their_own() -> Timing {
    let never = Duration::from_secs(3_600);
    Timing {
        overdue: never,
        round: never,
        ..hurried()
    }
}

/// A node whose questions about accounts wait while they are [held](hold).
pub(super) async fn held_gateway(world: &World) -> Gateway {
    for statement in [
        "CREATE FUNCTION held() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
         BEGIN
           IF current_setting('application_name') = 'held' THEN
             PERFORM pg_advisory_lock_shared(7);
             PERFORM pg_advisory_unlock_shared(7);
           END IF;
           RETURN true;
         END $$",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE users FORCE ROW LEVEL SECURITY",
        "CREATE POLICY held ON users USING (held()) WITH CHECK (true)",
    ] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
    let options = world.pool.connect_options();
    let options = options.as_ref().clone().application_name(HELD);
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .connect_lazy_with(options);
    world.gateway_with(to_each_their_own(), pool).await
}

/// From here on they wait, until this is closed.
pub(super) async fn hold(world: &World) -> PgConnection {
    let options = world.pool.connect_options();
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

/// Until so many wait.
pub(super) async fn are_held(world: &World, expected: i64) {
    let began = Instant::now();
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        if waiting >= expected {
            return;
        }
        assert!(began.elapsed() < IN_THE_END, "{waiting} wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn has_announced(gateway: &Gateway, expected: u64) {
    let began = Instant::now();
    while gateway.metrics.online.announced_total.get() < expected {
        assert!(began.elapsed() < IN_THE_END, "not announced");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whatever a node said before it announces this has been heard then.
async fn sees_come(watcher: &mut Watcher, gateway: &Gateway, user: UserId, others: &[UserId]) {
    let _socket = gateway.connect(user, "direct");
    let everybody: Vec<UserId> = others.iter().copied().chain([user]).collect();
    sees(watcher, &everybody).await;
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_was_told_the_truth_is_not_told_what_was_true_before() {
    with_world_at(to_each_their_own(), |world| async move {
        let (ann, ben, cat) = (world.user().await, world.user().await, world.user().await);
        world.group(&[ann, ben, cat]).await;
        let (held, there, here) = (
            held_gateway(&world).await,
            world.gateway().await,
            world.gateway().await,
        );
        let _socket = there.connect(ben, "direct");
        let mut watcher = here.connect(ann, "conversations");
        sees(&mut watcher, &[ben]).await;
        has_announced(&there, 1).await;
        let holding = hold(&world).await;
        hide(&world, &held, ben).await;
        World::appear(&there, ben, true).await;
        has_announced(&there, 2).await;
        holding.close().await.unwrap();
        has_announced(&held, 1).await;
        sees_come(&mut watcher, &held, cat, &[ben]).await;
        assert!(watcher.told_offline.is_empty());
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_comes_after_a_correction_is_not_told_what_it_corrected() {
    with_world_at(to_each_their_own(), |world| async move {
        let (ann, ben, cat) = (world.user().await, world.user().await, world.user().await);
        world.group(&[ann, ben, cat]).await;
        let (held, there, here) = (
            held_gateway(&world).await,
            world.gateway().await,
            world.gateway().await,
        );
        let _socket = there.connect(ben, "direct");
        has_announced(&there, 1).await;
        let holding = hold(&world).await;
        hide(&world, &held, ben).await;
        World::appear(&there, ben, true).await;
        has_announced(&there, 2).await;
        let mut watchers = ["conversations", "namespaced"].map(|name| here.connect(ann, name));
        for watcher in &mut watchers {
            watcher.began = true;
            sees(watcher, &[ben]).await;
        }
        holding.close().await.unwrap();
        has_announced(&held, 1).await;
        for watcher in &mut watchers {
            sees_come(watcher, &held, cat, &[ben]).await;
            assert!(watcher.told_offline.is_empty());
        }
    });
}

/// Stored, and noted to be announced by the node that is held, which has got as far as to ask for accounts.
async fn hide(world: &World, held: &Gateway, user: UserId) {
    // The node itself would wait for its turn to store it.
    sqlx::query("UPDATE users SET appears_offline = true WHERE id = $1")
        .bind(user)
        .execute(&world.pool)
        .await
        .unwrap();
    held.presence.appears(user).await;
    are_held(world, 1).await;
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_was_looked_up_is_corrected_by_what_was_announced_since() {
    with_world_at(to_each_their_own(), |world| async move {
        let (ann, ben, cat) = (world.user().await, world.user().await, world.user().await);
        world.group(&[ann, ben, cat]).await;
        let (held, there) = (held_gateway(&world).await, world.gateway().await);
        let mut first = held.connect(cat, "conversations");
        sees(&mut first, &[]).await;
        has_announced(&held, 1).await;
        let holding = hold(&world).await;
        let mut watcher = held.connect(ann, "conversations");
        // Whether she wants to be seen is asked to announce her, and once more to show her who is online.
        are_held(&world, 2).await;
        let _socket = there.connect(ben, "direct");
        sees(&mut first, &[ben]).await;
        watcher.read();
        assert!(!watcher.began);
        holding.close().await.unwrap();
        let mut everybody = [ben, cat];
        everybody.sort_unstable();
        sees(&mut watcher, &everybody).await;
        assert_eq!(watcher.frames, 1);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_changed_while_something_was_said_is_still_to_be_said() {
    with_world_at(to_each_their_own(), |world| async move {
        let user = world.user().await;
        let node = world.gateway().await;
        let (online, stay) = (&world.online, Stay::first(node.id).next());
        assert_eq!(online.put(stay, &[user], 0).await.unwrap(), [user]);
        let read = online.owed(&[user]).await.unwrap();
        assert!(online.appear(user).await.unwrap());
        online.said(&read).await.unwrap();
        let read = online.owed(&[user]).await.unwrap();
        assert_eq!(
            read.iter().map(|owed| owed.by_will).collect::<Vec<_>>(),
            [true]
        );
        online.said(&read).await.unwrap();
        assert_eq!(world.unsaid().await, 0);
    });
}
