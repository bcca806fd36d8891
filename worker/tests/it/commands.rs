//! What an operator does with a database.

use confab_shared::auth::verify_password;
use confab_shared::config::Environment;
use confab_shared::model::account::AccountRole;
use confab_shared::model::content::Slug;
use confab_shared::postgres::{conversations, partitions, rooms, schema, users};
use confab_worker::commands::create_admin::Admin;
use confab_worker::commands::seed::Amount;
use confab_worker::commands::{create_admin, migrate, reset, seed};

use crate::database::with_database;

fn admin(email: &str, username: &str) -> Admin {
    Admin {
        email: email.to_owned(),
        username: Some(username.to_owned()),
        name: None,
        password_stdin: false,
        promote: false,
    }
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_reset_leaves_what_migrating_an_empty_database_makes() {
    with_database(|db| async move {
        let [_ann] = db.users().await;
        sqlx::query("CREATE TABLE somebody_elses (id int)")
            .execute(&db.pool)
            .await
            .unwrap();
        schema::drop_all(&db.pool).await.unwrap();
        let left: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
             UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        )
        .fetch_all(&db.pool)
        .await
        .unwrap();
        assert_eq!(
            left,
            ["somebody_elses"],
            "drop_all knows what migrations make"
        );

        let mut said = Vec::new();
        reset::run(&db.pool, 16, &mut said).await.unwrap();
        let said = String::from_utf8(said).unwrap();
        let applied = said
            .lines()
            .filter(|line| line.starts_with("applied "))
            .count();
        assert_eq!(applied, schema::MIGRATIONS.iter().count(), "{said}");
        partitions::check(&db.pool, 16).await.unwrap();
        let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE role <> 'guest'")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!(users, 0);
        let lobby = Slug::parse("lobby").unwrap();
        assert!(rooms::by_slug(&db.pool, &lobby).await.unwrap().is_some());

        let mut again = Vec::new();
        migrate::run(&db.pool, 16, &mut again).await.unwrap();
        let again = String::from_utf8(again).unwrap();
        assert_eq!(again.lines().count(), 1, "nothing to apply: {again}");
        assert!(migrate::run(&db.pool, 8, &mut Vec::new()).await.is_err());
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn nothing_is_reset_under_a_running_program() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let mut running = db.pool.acquire().await.unwrap();
        sqlx::query("SET application_name = 'confab-gateway'")
            .execute(&mut *running)
            .await
            .unwrap();
        let refused = reset::run(&db.pool, 16, &mut Vec::new()).await.unwrap_err();
        assert!(refused.to_string().contains("confab-gateway"), "{refused}");
        assert!(users::find(&db.pool, ann).await.unwrap().is_some());
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn admins_are_made_and_promoted() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let password = |text: &'static str| move || Ok(text.to_owned());
        let wanted = admin("Root@Example.com", "root");
        let made = create_admin::run(&db.pool, &wanted, password("correct horse"))
            .await
            .unwrap();
        assert_eq!((made.role, &*made.name), (AccountRole::Admin, "root"));
        let found = users::find_by_email(&db.pool, "root@example.com").await;
        let found = found.unwrap().unwrap();
        assert!(verify_password("correct horse", &found.password_hash));

        for (refused, text) in [
            (admin("root@example.com", "other"), "correct horse"),
            (admin("other@example.com", "ROOT"), "correct horse"),
            (admin("other@example.com", "other"), "short"),
            (admin("other", "other"), "correct horse"),
            (admin("other@example.com", "o"), "correct horse"),
        ] {
            let outcome = create_admin::run(&db.pool, &refused, password(text)).await;
            assert!(outcome.is_err(), "{refused:?}");
        }

        let promote = |email: &str| Admin {
            email: email.to_owned(),
            username: None,
            promote: true,
            ..admin("", "")
        };
        let unasked = || panic!("nobody is asked for a password");
        let promoted = create_admin::run(&db.pool, &promote("user0@example.com"), unasked)
            .await
            .unwrap();
        assert_eq!((promoted.id, promoted.role), (ann, AccountRole::Admin));
        let nobody = create_admin::run(&db.pool, &promote("nobody@example.com"), unasked).await;
        assert!(nobody.is_err());
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn seeds_are_what_clients_would_have_made() {
    with_database(|db| async move {
        let amount = Amount {
            users: 12,
            conversations: 9,
            messages: 100,
        };
        let refused = seed::run(&db.pool, Environment::Production, amount, &mut Vec::new()).await;
        assert!(refused.is_err());
        assert_eq!(rooms::stats(&db.pool).await.unwrap().total_users, 0);

        let mut said = Vec::new();
        for _ in 0..2 {
            seed::run(&db.pool, Environment::Development, amount, &mut said)
                .await
                .unwrap();
        }
        let said = String::from_utf8(said).unwrap();
        assert_eq!(
            said.lines()
                .filter(|line| line.contains("(was there)"))
                .count(),
            3
        );
        let stats = rooms::stats(&db.pool).await.unwrap();
        assert_eq!((stats.total_users, stats.total_messages), (27, 200));

        let wrong: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM conversations c
             CROSS JOIN LATERAL (SELECT count(*) AS n, max(seq) AS last, min(ordinal) AS first, max(created_at) AS at
                                 FROM messages m WHERE m.conversation_id = c.id) m
             WHERE c.kind = 'group'
               AND (m.n, m.last, m.first, m.at) IS DISTINCT FROM (c.message_count, c.last_seq, 1::bigint, c.updated_at)",
        )
        .fetch_one(&db.pool)
        .await
        .unwrap();
        assert_eq!(wrong, 0);
        let user =
            sqlx::query_scalar("SELECT user_id FROM memberships WHERE role = 'owner' LIMIT 1")
                .fetch_one(&db.pool)
                .await
                .unwrap();
        let (listed, _) = conversations::list(&db.pool, user, None, 100)
            .await
            .unwrap();
        assert!(!listed.is_empty());
        assert!(
            listed
                .windows(2)
                .all(|pair| pair[0].view.updated_at >= pair[1].view.updated_at)
        );
    });
}
