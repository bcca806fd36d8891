//! Accounts.

use confab_shared::id::UserId;
use confab_shared::model::account::AccountRole;
use confab_shared::postgres::users::{self, CreateUserError, NewUser, ProfileChange, SearchCursor};

use crate::database::with_database;

fn newcomer(email: &str, username: &str) -> NewUser {
    NewUser {
        email: email.to_owned(),
        username: username.to_owned(),
        name: "Somebody".to_owned(),
        avatar: Some("https://example.com/a.png".to_owned()),
        password_hash: "$argon2id$hash".to_owned(),
    }
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn an_account_is_found_as_it_was_made() {
    with_database(|db| async move {
        let made = users::create(&db.pool, newcomer("ann@example.com", "Ann"))
            .await
            .unwrap();
        assert_eq!(made.role, AccountRole::User);
        assert_eq!(
            users::find(&db.pool, made.id).await.unwrap(),
            Some(made.clone())
        );
        let credentials = users::find_by_email(&db.pool, "ann@example.com")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(credentials.account, made);
        assert_eq!(credentials.password_hash, "$argon2id$hash");
        let profile = users::profile(&db.pool, made.id).await.unwrap().unwrap();
        assert_eq!(
            (&*profile.username, profile.avatar.as_deref()),
            ("Ann", Some("https://example.com/a.png"))
        );
        assert!(
            users::find(&db.pool, UserId::generate())
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            users::profile(&db.pool, UserId::generate())
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            users::find_by_email(&db.pool, "nobody@example.com")
                .await
                .unwrap()
                .is_none()
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_search_goes_on_though_the_last_one_found_is_renamed() {
    with_database(|db| async move {
        let mut made = Vec::new();
        for name in ["Jo_ann", "jo_ben", "jo_cid"] {
            let newcomer = newcomer(&format!("{name}@x.example.com").to_lowercase(), name);
            made.push(users::create(&db.pool, newcomer).await.unwrap());
        }
        let (page, next) = users::search(&db.pool, "jo", None, 1).await.unwrap();
        assert_eq!(page[0].id, made[0].id);
        let next: SearchCursor = next.unwrap().to_string().parse().unwrap();
        let change = ProfileChange {
            username: Some("Jo_zoe".to_owned()),
            name: None,
            avatar: None,
        };
        users::update(&db.pool, made[0].id, change).await.unwrap();
        let (page, _) = users::search(&db.pool, "jo", Some(next), 2).await.unwrap();
        let found: Vec<UserId> = page.iter().map(|account| account.id).collect();
        assert_eq!(found, [made[1].id, made[2].id]);
        for bad in ["u_", "u_Jo", "u_jo ann", "u_jö", "e_jo", "jo"] {
            assert!(bad.parse::<SearchCursor>().is_err(), "{bad}");
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn names_are_taken_once_whatever_their_case() {
    with_database(|db| async move {
        users::create(&db.pool, newcomer("ann@example.com", "Ann"))
            .await
            .unwrap();
        let same_email = users::create(&db.pool, newcomer("ann@example.com", "other")).await;
        assert!(
            matches!(same_email, Err(CreateUserError::EmailTaken)),
            "{same_email:?}"
        );
        let same_name = users::create(&db.pool, newcomer("other@example.com", "ANN")).await;
        assert!(
            matches!(same_name, Err(CreateUserError::UsernameTaken)),
            "{same_name:?}"
        );
    });
}
