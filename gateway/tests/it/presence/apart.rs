//! Somebody about whom PostgreSQL gives no answer holds nobody else up.

use confab_shared::id::UserId;

use super::world::{World, until};
use super::{IN_THE_END, SOON, sees, with_world};

/// From here on PostgreSQL fails whenever it is asked about this account.
async fn spoil(world: &World, user: UserId) {
    for statement in [
        "CREATE TABLE spoilt (id uuid)",
        "CREATE FUNCTION is_good(who uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
         BEGIN
           IF EXISTS (SELECT FROM spoilt WHERE id = who) THEN
             RAISE EXCEPTION 'spoilt';
           END IF;
           RETURN true;
         END $$",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE users FORCE ROW LEVEL SECURITY",
        "CREATE POLICY good ON users USING (is_good(id)) WITH CHECK (true)",
    ] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
    sqlx::query("INSERT INTO spoilt VALUES ($1)")
        .bind(user)
        .execute(&world.pool)
        .await
        .unwrap();
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_cannot_be_found_out_about_holds_nobody_else_up() {
    with_world(|world| async move {
        let [ann, mal, eve] = [world.user().await, world.user().await, world.user().await];
        world.group(&[mal, eve]).await;
        let one = world.gateway().await;
        let _sockets = [
            one.connect(mal, "conversations"),
            one.connect(eve, "conversations"),
        ];
        let found = || async {
            let online = one.presence.online_contacts(mal).await;
            let is_right = online.as_deref() == Some(&[eve]) && world.unsaid().await == 0;
            is_right.then_some(()).ok_or(format!("{online:?}"))
        };
        until(IN_THE_END, found).await.unwrap();
        spoil(&world, mal).await;
        // He is to be announced, and asks to be shown who is online, together with others.
        one.presence.appears(mal).await;
        let asked = tokio::spawn({
            let presence = one.presence.clone();
            async move { presence.online_contacts(mal).await }
        });
        let mut watcher = one.connect(ann, "conversations");
        sees(&mut watcher, &[]).await;
        let mut others = Vec::new();
        while one.metrics.online.given_up_total.get() < 2 {
            assert!(others.len() < 24, "nothing is given up");
            let other = world.user().await;
            world.group(&[ann, other]).await;
            others.push(other);
            let _socket = one.connect(other, "conversations");
            sees(&mut watcher, &others).await;
            tokio::time::sleep(SOON / 4).await;
        }
        assert_eq!(asked.await.unwrap(), None);
        let settled = || async {
            match world.unsaid().await {
                0 => Ok(()),
                unsaid => Err(format!("{unsaid} are not announced")),
            }
        };
        until(IN_THE_END, settled).await.unwrap();
    });
}
