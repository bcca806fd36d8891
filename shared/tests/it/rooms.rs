//! Slugs, guests, what is cleaned up, and how much there is.

use std::time::Duration;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::content::Slug;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::rooms::{self, Cleaned, cleanup, cleanup_as_of};
use confab_shared::postgres::{conversations, users};
use sqlx::PgPool;

use crate::database::{Db, with_database};

fn hours_on(hours: u64) -> Timestamp {
    Timestamp::from(Timestamp::now().to_datetime() + Duration::from_hours(hours))
}

async fn exists(pool: &PgPool, user: UserId) -> bool {
    users::find(pool, user).await.unwrap().is_some()
}

async fn guest(db: &Db, name: &str) -> UserId {
    rooms::create_guest(&db.pool, name).await.unwrap().id
}

async fn end(db: &Db, room: ConversationId, by: UserId) {
    let seq = db.advance(room).await;
    sqlx::query(
        "UPDATE conversations SET info_seq = $2, info_by = $3, info_at = now(), deleted_at = now() WHERE id = $1",
    )
    .bind(room)
    .bind(seq)
    .bind(by)
    .execute(&db.pool)
    .await
    .unwrap();
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn guests_go_unless_they_left_something_behind() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let room = db.room("den", ann).await;
        let (silent, talker, host) = (
            guest(&db, "silent").await,
            guest(&db, "talker").await,
            guest(&db, "host").await,
        );
        db.say(room, talker, "hello").await;
        db.room("parlour", host).await;

        assert_eq!(cleanup(&db.pool).await.unwrap(), Cleaned::default());
        let late = hours_on(2);
        let cleaned = cleanup_as_of(&db.pool, late).await.unwrap();
        assert_eq!((cleaned.removed_sessions, cleaned.removed_rooms), (1, 0));
        for (user, stays) in [
            (silent, false),
            (talker, true),
            (host, true),
            (ann, true),
            (UserId::SYSTEM, true),
        ] {
            assert_eq!(exists(&db.pool, user).await, stays);
        }
        assert_eq!(
            cleanup_as_of(&db.pool, late).await.unwrap(),
            Cleaned::default()
        );

        let present = guest(&db, "present").await;
        sqlx::query("UPDATE users SET last_seen_at = now() - interval '2 hours' WHERE id = $1")
            .bind(present)
            .execute(&db.pool)
            .await
            .unwrap();
        rooms::note_guests(&db.pool, &[present]).await.unwrap();
        cleanup(&db.pool).await.unwrap();
        assert!(exists(&db.pool, present).await);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn more_than_a_page_of_guests_goes_at_once() {
    with_database(|db| async move {
        sqlx::query(
            "INSERT INTO users (id, username, name, role)
             SELECT gen_random_uuid(), 'guest' || n, 'guest' || n, 'guest' FROM generate_series(1, 1203) n",
        )
        .execute(&db.pool)
        .await
        .unwrap();
        let cleaned = cleanup_as_of(&db.pool, hours_on(2)).await.unwrap();
        assert_eq!(cleaned.removed_sessions, 1203);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn slugs_without_a_room_are_free_again() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let (den, parlour) = (db.room("den", ann).await, db.room("parlour", ann).await);
        let never = Slug::parse("never").unwrap();
        let given_up = ConversationId::generate();
        rooms::take_slug(&db.pool, &never, given_up).await.unwrap();
        end(&db, parlour, ann).await;
        let holder = async |slug: &str| {
            rooms::by_slug(&db.pool, &Slug::parse(slug).unwrap())
                .await
                .unwrap()
        };

        cleanup(&db.pool).await.unwrap();
        assert_eq!(holder("never").await, Some(given_up));
        assert_eq!(holder("parlour").await, None);
        cleanup_as_of(&db.pool, hours_on(2)).await.unwrap();
        assert_eq!(holder("never").await, None);
        assert_eq!(holder("den").await, Some(den));
        assert_eq!(holder("lobby").await, Some(ConversationId::LOBBY));

        // Asking again for a slug renews the claim.
        rooms::take_slug(&db.pool, &never, given_up).await.unwrap();
        sqlx::query(
            "UPDATE room_slugs SET taken_at = now() - interval '2 hours' WHERE slug = 'never'",
        )
        .execute(&db.pool)
        .await
        .unwrap();
        let other = ConversationId::generate();
        let taken = rooms::take_slug(&db.pool, &never, other).await.unwrap();
        assert_eq!(taken, given_up);
        cleanup(&db.pool).await.unwrap();
        assert_eq!(holder("never").await, Some(given_up));
        let slug = Slug::parse("den").unwrap();
        assert_eq!(rooms::take_slug(&db.pool, &slug, other).await.unwrap(), den);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn the_slug_of_a_room_that_has_ended_is_had_by_whoever_asks_next() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let den = db.room("den", ann).await;
        let slug = Slug::parse("den").unwrap();
        let since = async || -> Option<Timestamp> {
            sqlx::query_scalar("SELECT taken_at FROM room_slugs WHERE slug = 'den'")
                .fetch_one(&db.pool)
                .await
                .unwrap()
        };
        // Long known to have been made.
        cleanup_as_of(&db.pool, hours_on(2)).await.unwrap();
        assert_eq!(since().await, None);
        end(&db, den, ann).await;

        // Nobody has given it free. It is another's as if it had been: until that room is made, only for a while.
        let next = ConversationId::generate();
        assert_eq!(rooms::take_slug(&db.pool, &slug, next).await.unwrap(), next);
        assert!(since().await.is_some());
        rooms::free_slug(&db.pool, den).await.unwrap();
        cleanup(&db.pool).await.unwrap();
        let late = ConversationId::generate();
        assert_eq!(rooms::take_slug(&db.pool, &slug, late).await.unwrap(), next);
        assert_eq!(rooms::by_slug(&db.pool, &slug).await.unwrap(), Some(next));
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn of_many_who_ask_for_the_slug_of_a_room_that_has_ended_one_gets_it() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let den = db.room("den", ann).await;
        end(&db, den, ann).await;
        let slug = Slug::parse("den").unwrap();
        let asked = (0..8).map(|_| async {
            let room = ConversationId::generate();
            rooms::take_slug(&db.pool, &slug, room).await.unwrap()
        });
        let had = futures_util::future::join_all(asked).await;
        assert!(
            had.iter().all(|one| *one == had[0] && *one != den),
            "{had:?}"
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn empty_rooms_that_ended_go_once_their_commands_are_forgotten() {
    with_database(|db| async move {
        let ann = db.user("ann").await;
        let (empty, remembered, spoken_in, open) = (
            db.room("empty", ann).await,
            db.room("remembered", ann).await,
            db.room("spoken-in", ann).await,
            db.room("open", ann).await,
        );
        db.say(spoken_in, ann, "hello").await;
        sqlx::query("INSERT INTO applied_commands VALUES ($1, gen_random_uuid(), 'done', now())")
            .bind(remembered)
            .execute(&db.pool)
            .await
            .unwrap();
        for room in [empty, remembered, spoken_in] {
            end(&db, room, ann).await;
        }
        let removed = async || {
            let cleaned = cleanup(&db.pool).await.unwrap();
            cleaned.removed_rooms
        };
        assert_eq!(removed().await, 1);
        sqlx::query("DELETE FROM applied_commands")
            .execute(&db.pool)
            .await
            .unwrap();
        assert_eq!((removed().await, removed().await), (1, 0));
        let left: Vec<ConversationId> =
            sqlx::query_scalar("SELECT id FROM conversations WHERE id = ANY($1) ORDER BY id")
                .bind(vec![empty, remembered, spoken_in, open])
                .fetch_all(&db.pool)
                .await
                .unwrap();
        assert_eq!(left, [spoken_in, open]);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn nothing_is_unread_in_a_room_while_there_is_one() {
    with_database(|db| async move {
        let (ann, ben) = (db.user("ann").await, db.user("ben").await);
        let room = db.room("den", ann).await;
        db.say(room, ann, "hello").await;
        let unread = conversations::unread(&db.pool, room, ben).await;
        assert_eq!(unread.unwrap(), Some(0));
        end(&db, room, ann).await;
        let unread = conversations::unread(&db.pool, room, ben).await;
        assert_eq!(unread.unwrap(), None);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn only_one_cleans_up_at_a_time() {
    with_database(|db| async move {
        guest(&db, "silent").await;
        let busy = sqlx::postgres::PgAdvisoryLock::with_key(
            sqlx::postgres::PgAdvisoryLockKey::BigInt(0x636f_6e66_6162_0001),
        );
        let connection = db.pool.acquire().await.unwrap();
        let held = busy.acquire(connection).await.unwrap();
        let late = hours_on(2);
        assert_eq!(
            cleanup_as_of(&db.pool, late).await.unwrap(),
            Cleaned::default()
        );
        held.release_now().await.unwrap();
        assert_eq!(
            cleanup_as_of(&db.pool, late)
                .await
                .unwrap()
                .removed_sessions,
            1
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn how_much_there_is() {
    with_database(|db| async move {
        let nothing = rooms::stats(&db.pool).await.unwrap();
        assert_eq!(
            (
                nothing.total_users,
                nothing.total_messages,
                nothing.messages_per_minute
            ),
            (0, 0, 0.0)
        );
        assert_eq!(nothing.total_rooms, 2, "those that always exist");

        let ann = db.user("ann").await;
        guest(&db, "silent").await;
        let room = db.room("den", ann).await;
        for number in 0..7 {
            db.say(room, ann, &format!("number {number}")).await;
        }
        sqlx::query("UPDATE messages SET created_at = now() - interval '5 minutes' WHERE id <= 4")
            .execute(&db.pool)
            .await
            .unwrap();
        let some = rooms::stats(&db.pool).await.unwrap();
        assert_eq!((some.total_rooms, some.total_users), (3, 1));
        assert_eq!((some.total_messages, some.messages_per_minute), (7, 3.0));

        sqlx::query("UPDATE messages SET created_at = now() - interval '5 minutes'")
            .execute(&db.pool)
            .await
            .unwrap();
        let quiet = rooms::stats(&db.pool).await.unwrap();
        assert_eq!((quiet.total_messages, quiet.messages_per_minute), (7, 0.0));
    });
}
