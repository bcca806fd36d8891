//! Lists by index against lists by sorting everything, whatever the clock did.

use std::time::Duration;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::command::Command;
use confab_shared::model::content::Slug;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::conversations::ListCursor;
use confab_shared::postgres::{conversations, rooms};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::database::{Db, envelope, group, say, with_database};

const USERS: usize = 4;
const CONVERSATIONS: usize = 6;

/// What happens in one conversation, this many seconds after what happened before.
#[derive(Debug, Clone)]
struct Step {
    seconds: i16,
    conversation: usize,
    user: usize,
    act: Act,
}

#[derive(Debug, Clone)]
enum Act {
    Say,
    Read,
    Add(usize),
    Remove(usize),
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        6 => Just(Act::Say),
        1 => Just(Act::Read),
        2 => (0..USERS).prop_map(Act::Add),
        1 => (0..USERS).prop_map(Act::Remove),
        1 => Just(Act::Leave),
    ];
    // Mostly a little, sometimes much, sometimes back: another worker's clock.
    let seconds = prop_oneof![8 => 0..60_i16, 1 => 100..1_000_i16, 1 => -150..0_i16];
    (seconds, 0..CONVERSATIONS, 0..USERS, act).prop_map(|(seconds, conversation, user, act)| Step {
        seconds,
        conversation,
        user,
        act,
    })
}

/// What `listed_at` promises, of every conversation and every present member.
async fn promise_holds(db: &Db) {
    let broken: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM conversations c LEFT JOIN memberships m ON m.conversation_id = c.id AND m.left_at IS NULL
         WHERE m.listed_at <> c.listed_at
            OR c.listed_at < 'infinity' AND c.updated_at NOT BETWEEN c.listed_at AND c.listed_at + interval '5 minutes'",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!(broken, 0, "listed_at is where it should not be");
}

async fn sorted(db: &Db, user: UserId) -> Vec<ConversationId> {
    sqlx::query_scalar(
        "SELECT c.id FROM memberships m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.user_id = $1 AND m.left_at IS NULL ORDER BY c.updated_at DESC, c.id DESC",
    )
    .bind(user)
    .fetch_all(&db.pool)
    .await
    .unwrap()
}

/// Which list.
#[derive(Debug, Clone, Copy)]
enum List {
    Of(UserId),
    Rooms,
}

/// A page of a list.
async fn page(
    db: &Db,
    list: List,
    cursor: Option<ListCursor>,
    limit: u32,
) -> (Vec<ConversationId>, Option<ListCursor>) {
    match list {
        List::Of(user) => {
            let (page, next) = conversations::list(&db.pool, user, cursor, limit)
                .await
                .unwrap();
            (page.into_iter().map(|entry| entry.view.id).collect(), next)
        }
        List::Rooms => {
            let (page, next) = rooms::list(&db.pool, cursor, limit).await.unwrap();
            (page.into_iter().map(|room| room.id).collect(), next)
        }
    }
}

/// All pages of a list, as one.
async fn paged(db: &Db, list: List, limit: u32) -> Vec<ConversationId> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = page(db, list, cursor, limit).await;
        assert!(page.len() == usize::try_from(limit).unwrap() || next.is_none());
        all.extend(page);
        match next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

async fn listed(db: &Db, user: UserId, limit: u32) -> Vec<ConversationId> {
    paged(db, List::Of(user), limit).await
}

async fn play(db: Db, steps: Vec<Step>) {
    let epoch = db.take_over().await;
    let users: [UserId; USERS] = db.users().await;
    let mut at = Timestamp::now().minus(Duration::from_hours(20));
    let threads: Vec<ConversationId> = (0..CONVERSATIONS)
        .map(|_| ConversationId::generate())
        .collect();
    let made: Vec<_> = threads
        .iter()
        .map(|thread| envelope(*thread, users[0], group(&users[1..3])))
        .collect();
    db.run_at(at, epoch, &made).await;
    for chunk in steps.chunks(2) {
        let mut batch = Vec::new();
        for step in chunk {
            at = Timestamp::from(
                at.to_datetime() + time::Duration::seconds(i64::from(step.seconds)),
            );
            let command = match step.act {
                Act::Say => say("hello"),
                Act::Read => Command::MarkRead { up_to: None },
                Act::Add(user) => Command::AddMembers {
                    users: vec![users[user]],
                },
                Act::Remove(user) => Command::RemoveMember { user: users[user] },
                Act::Leave => Command::Leave,
            };
            batch.push(envelope(
                threads[step.conversation],
                users[step.user],
                command,
            ));
        }
        db.run_at(at, epoch, &batch).await;
        promise_holds(&db).await;
        for user in users {
            let expected = sorted(&db, user).await;
            for limit in [1, 2, 4] {
                assert_eq!(listed(&db, user, limit).await, expected, "limit {limit}");
            }
        }
    }
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn pages_are_what_sorting_everything_would_show() {
    let config = Config {
        cases: 8,
        max_shrink_iters: 12,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..120), |steps| {
            with_database(|db| play(db, steps));
            Ok(())
        })
        .unwrap();
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn large_groups_are_listed_in_their_place() {
    with_database(|db| async move {
        let epoch = db.take_over().await;
        let [ann, ben] = db.users().await;
        sqlx::query(
            "INSERT INTO users (id, email, username, name, password_hash)
             SELECT gen_random_uuid(), 'crowd' || n || '@example.com', 'crowd' || n, 'Crowd', 'hash' FROM generate_series(1, 300) n",
        )
        .execute(&db.pool)
        .await
        .unwrap();
        let crowd: Vec<UserId> =
            sqlx::query_scalar("SELECT id FROM users WHERE username LIKE 'crowd%'")
                .fetch_all(&db.pool)
                .await
                .unwrap();
        let begin = Timestamp::now().minus(Duration::from_hours(20));
        let after = |seconds| Timestamp::from(begin.to_datetime() + Duration::from_secs(seconds));
        let [large, small, quiet, sudden] = [(); 4].map(|()| ConversationId::generate());
        let add = |some: &[UserId]| Command::AddMembers {
            users: some.to_vec(),
        };
        let batch = [
            envelope(large, ann, group(&crowd[..200])),
            envelope(small, ann, group(&[ben])),
            envelope(quiet, ann, group(&[ben])),
        ];
        db.run_at(begin, epoch, &batch).await;
        promise_holds(&db).await;
        let count = "SELECT count(*) FROM memberships WHERE conversation_id = $1 AND listed_at = 'infinity'";
        assert_eq!(db.count(count, large).await, 0);
        // At once: later there might be too many members to be written to.
        let growing = [
            envelope(large, ann, add(&crowd[200..])),
            envelope(sudden, ann, group(&crowd[..200])),
            envelope(sudden, ann, add(&crowd[200..])),
        ];
        db.run_at(after(1), epoch, &growing).await;
        promise_holds(&db).await;
        for thread in [large, sudden] {
            assert_eq!(db.count(count, thread).await, 301);
        }
        for (seconds, thread, latest) in [
            (350, large, large),
            (400, small, small),
            (450, large, large),
            (1500, small, small),
            (1501, large, large),
        ] {
            let said = [envelope(thread, ann, say("hi"))];
            db.run_at(after(seconds), epoch, &said).await;
            promise_holds(&db).await;
            for limit in [1, 2, 3] {
                let all = listed(&db, ann, limit).await;
                assert_eq!(all, sorted(&db, ann).await);
                assert_eq!(all[0], latest);
            }
        }
        assert_eq!(
            (db.count(count, large).await, db.count(count, small).await),
            (301, 0)
        );
        // Who joins now is where the others are.
        let joining = [envelope(large, ann, add(&[ben]))];
        db.run_at(after(1502), epoch, &joining).await;
        promise_holds(&db).await;
        assert_eq!(listed(&db, ben, 2).await, [large, small, quiet]);
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn rooms_are_listed_by_their_latest_activity() {
    with_database(|db| async move {
        let epoch = db.take_over().await;
        let [ann] = db.users().await;
        let begin = Timestamp::now();
        let after = |seconds| Timestamp::from(begin.to_datetime() + Duration::from_secs(seconds));
        let mut made = vec![ConversationId::PUBLIC, ConversationId::LOBBY];
        for number in 0..7 {
            let (id, slug) = (
                ConversationId::generate(),
                Slug::of_name(&format!("n {number}")),
            );
            rooms::take_slug(&db.pool, &slug, id).await.unwrap();
            let create = Command::CreateRoom {
                slug,
                name: "A room".to_owned(),
                description: None,
                max_users: None,
            };
            db.run_at(after(100 * number), epoch, &[envelope(id, ann, create)])
                .await;
            made.push(id);
        }
        for (seconds, room) in [(750, 2), (950, 4), (951, 1), (1100, 2), (2000, 0)] {
            db.run_at(
                after(seconds),
                epoch,
                &[envelope(made[room], ann, say("hi"))],
            )
            .await;
        }
        db.run_at(
            after(2001),
            epoch,
            &[envelope(made[5], ann, Command::DeleteRoom)],
        )
        .await;
        promise_holds(&db).await;
        let expected: Vec<ConversationId> = sqlx::query_scalar(
            "SELECT id FROM conversations WHERE kind = 'room' AND deleted_at IS NULL ORDER BY updated_at DESC, id DESC",
        )
        .fetch_all(&db.pool)
        .await
        .unwrap();
        assert_eq!(expected.len(), 8);
        for limit in [1, 3, 8, 20] {
            let all = paged(&db, List::Rooms, limit).await;
            assert_eq!(all, expected, "limit {limit}");
        }
    });
}
