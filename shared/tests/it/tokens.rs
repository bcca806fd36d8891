//! Tokens that end before their time, and what else an account's owner changes.

use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::postgres::tokens;
use confab_shared::postgres::users::{self, NewUser, ProfileChange, SearchCursor};
use sqlx::PgPool;
use uuid::Uuid;

use crate::database::with_database;

async fn account(pool: &PgPool, username: &str, email: &str) -> UserId {
    let new = NewUser {
        email: email.to_owned(),
        username: username.to_owned(),
        name: username.to_owned(),
        avatar: None,
        password_hash: "old".to_owned(),
    };
    users::create(pool, new).await.unwrap().id
}

fn token(user: UserId, ver: Option<i32>, iat: u64) -> Claims {
    Claims {
        sub: user,
        iat,
        exp: u64::MAX / 2,
        jti: Some(Uuid::new_v4()),
        ver,
    }
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_change_of_password_ends_all_tokens_but_one() {
    with_database(|db| async move {
        let ann = account(&db.pool, "ann", "ann@example.com").await;
        let (asking, other) = (token(ann, Some(0), 1), token(ann, Some(0), 1));
        let (foreign, foreign_asking) = (token(ann, None, 1), token(ann, None, 1));
        for good in [&asking, &other, &foreign] {
            assert!(tokens::bearer(&db.pool, good).await.unwrap().is_some());
        }
        let change = |old: &'static str, kept| {
            let pool = db.pool.clone();
            async move {
                tokens::change_password(&pool, ann, old, "new", kept)
                    .await
                    .unwrap()
            }
        };
        assert!(!change("wrong", asking.jti).await);
        assert!(change("old", asking.jti).await);
        assert!(
            !change("old", asking.jti).await,
            "the password is another now"
        );
        let kept = tokens::bearer(&db.pool, &asking).await.unwrap().unwrap();
        assert_eq!(kept.token_version, 1);
        assert!(tokens::bearer(&db.pool, &other).await.unwrap().is_none());
        assert!(tokens::bearer(&db.pool, &foreign).await.unwrap().is_none());
        let later = token(ann, None, 4_000_000_000);
        assert!(tokens::bearer(&db.pool, &later).await.unwrap().is_some());
        assert!(
            tokens::bearer(&db.pool, &token(ann, Some(1), 1))
                .await
                .unwrap()
                .is_some()
        );

        let all = [
            asking.clone(),
            other.clone(),
            foreign.clone(),
            later.clone(),
        ];
        let mut gone = tokens::no_longer_good(&db.pool, &all).await.unwrap();
        gone.sort();
        let mut expected = vec![(ann, other.jti), (ann, foreign.jti)];
        expected.sort();
        assert_eq!(gone, expected);

        // Another issuer's token can be the one that asks.
        assert!(change("new", foreign_asking.jti).await);
        assert!(
            tokens::bearer(&db.pool, &foreign_asking)
                .await
                .unwrap()
                .is_some()
        );
        assert!(tokens::bearer(&db.pool, &asking).await.unwrap().is_none());
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_token_that_was_logged_out_with_is_no_good() {
    with_database(|db| async move {
        let ann = account(&db.pool, "ann", "ann@example.com").await;
        let (here, there) = (token(ann, Some(0), 1), token(ann, Some(0), 1));
        for _ in 0..2 {
            let jti = here.jti.unwrap();
            tokens::revoke(&db.pool, ann, jti, here.exp).await.unwrap();
        }
        assert!(tokens::bearer(&db.pool, &here).await.unwrap().is_none());
        assert!(tokens::bearer(&db.pool, &there).await.unwrap().is_some());
        assert_eq!(
            tokens::prune(&db.pool).await.unwrap(),
            0,
            "it has not ended by itself yet"
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn an_account_changes_where_it_is_asked_to() {
    with_database(|db| async move {
        let ann = account(&db.pool, "ann", "ann@example.com").await;
        account(&db.pool, "Ben", "ben@example.com").await;
        let update = |change| {
            let pool = db.pool.clone();
            async move { users::update(&pool, ann, change).await }
        };
        let avatar = Some(Some("https://example.com/a.png".to_owned()));
        let first = ProfileChange {
            avatar,
            ..ProfileChange::default()
        };
        let changed = update(first).await.unwrap().unwrap();
        assert_eq!(
            (changed.username.as_str(), changed.avatar.is_some()),
            ("ann", true)
        );
        let second = ProfileChange {
            username: Some("Anna".to_owned()),
            name: Some("Anna A".to_owned()),
            avatar: Some(None),
        };
        let changed = update(second).await.unwrap().unwrap();
        assert_eq!(
            (
                changed.username.as_str(),
                changed.name.as_str(),
                changed.avatar
            ),
            ("Anna", "Anna A", None)
        );
        let taken = ProfileChange {
            username: Some("ben".to_owned()),
            ..ProfileChange::default()
        };
        assert!(matches!(
            update(taken).await,
            Err(users::CreateUserError::UsernameTaken)
        ));
        let hidden = users::set_appears_offline(&db.pool, ann, true)
            .await
            .unwrap()
            .unwrap();
        assert!(hidden.appears_offline);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn people_are_found_by_the_beginning_of_their_name_or_address_each_once() {
    with_database(|db| async move {
        let mut expected = Vec::new();
        for number in 0..12 {
            // Found by both, by the name, by the address, and not at all.
            account(
                &db.pool,
                &format!("JO_{number:02}"),
                &format!("jo_{number:02}@example.com"),
            )
            .await;
            account(
                &db.pool,
                &format!("joe{number:02}"),
                &format!("x{number}@example.com"),
            )
            .await;
            account(
                &db.pool,
                &format!("other{number:02}"),
                &format!("jo-{number:02}@example.com"),
            )
            .await;
            account(
                &db.pool,
                &format!("nobody{number:02}"),
                &format!("a{number}@jo.example.com"),
            )
            .await;
        }
        for form in ["jo_", "joe", "other"] {
            expected.extend((0..12).map(|number| format!("{form}{number:02}")));
        }
        for limit in [1, 2, 5, 36, 100] {
            let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let (page, next) = users::search(&db.pool, "Jo", cursor, limit).await.unwrap();
                assert!(page.len() <= usize::try_from(limit).unwrap());
                found.extend(
                    page.into_iter()
                        .map(|account| account.username.to_lowercase()),
                );
                pages += 1;
                assert!(pages < 100, "no end");
                match next {
                    Some(next) => {
                        assert_eq!(next.to_string().parse::<SearchCursor>(), Ok(next.clone()));
                        cursor = Some(next);
                    }
                    None => break,
                }
            }
            found.sort();
            let mut all = expected.clone();
            all.sort();
            assert_eq!(found, all, "in pages of {limit}");
        }
        for (nothing, limit) in [("jo%", 5), ("_", 5), ("jox", 5), ("\u{10ffff}", 5)] {
            let (found, next) = users::search(&db.pool, nothing, None, limit).await.unwrap();
            assert!(found.is_empty() && next.is_none(), "{nothing}");
        }
    });
}
