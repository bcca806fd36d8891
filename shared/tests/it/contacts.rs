//! Who is whose contact, and how people want to be seen.

use std::collections::BTreeSet;
use std::time::Duration;

use confab_shared::id::{Seq, UserId};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::contacts::{Bounds, appearances, circles, note_last_seen};
use confab_shared::postgres::users;

use crate::database::with_database;

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn contacts_are_present_members_of_what_is_not_too_large() {
    with_database(|db| async move {
        let mut people = Vec::new();
        for name in ["ann", "ben", "cat", "dan", "eve"] {
            people.push(db.user(name).await);
        }
        let [ann, ben, cat, dan, eve] = people[..] else {
            panic!("five")
        };
        db.group(&[ann, ben]).await;
        let left = db.group(&[ann, cat, dan]).await;
        db.group(&[eve]).await;
        db.room("lounge", ann).await;
        db.group(&people).await;
        let seq = db.advance(left).await;
        assert!(seq > Seq(1));
        sqlx::query("UPDATE memberships SET left_at = now(), removed_by = user_id WHERE conversation_id = $1 AND user_id = $2")
            .bind(left)
            .bind(dan)
            .execute(&db.pool)
            .await
            .unwrap();
        let find = |asked: Vec<UserId>, largest, most| {
            let pool = db.pool.clone();
            async move {
                let bounds = Bounds { largest, most };
                let circles = circles(&pool, &asked, bounds).await.unwrap();
                let sorted = circles.into_iter().map(|circle| {
                    let set = |users: Vec<UserId>| users.into_iter().collect::<BTreeSet<_>>();
                    (set(circle.asked), set(circle.members))
                });
                sorted.collect::<BTreeSet<_>>()
            }
        };
        let found = |asked, largest| find(asked, largest, 100);
        let pair = |asked: &[UserId]| (asked.iter().copied().collect(), [ann, ben].into());
        let rest = ([ann].into(), [ann, cat].into());
        assert_eq!(
            found(vec![ann], 4).await,
            [pair(&[ann]), rest.clone()].into()
        );
        assert_eq!(
            found(vec![ben, ann], 4).await,
            [pair(&[ann, ben]), rest].into()
        );
        assert_eq!(found(vec![dan, eve], 4).await, [].into());
        let everybody: BTreeSet<UserId> = people.iter().copied().collect();
        assert_eq!(
            found(vec![eve], 5).await,
            [([eve].into(), everybody)].into()
        );
        // Of each, the one that something was said in last.
        sqlx::query(
            "UPDATE memberships SET listed_at = CASE WHEN conversation_id = $1 THEN now() ELSE now() - interval '1 day' END",
        )
        .bind(left)
        .execute(&db.pool)
        .await
        .unwrap();
        let both: BTreeSet<UserId> = [ann, cat].into();
        assert_eq!(
            find(vec![ann, cat], 4, 1).await,
            [(both.clone(), both)].into()
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn who_hides_was_last_seen_then_and_is_not_seen_to_go() {
    with_database(|db| async move {
        let (ann, ben) = (db.user("ann").await, db.user("ben").await);
        let later = |seconds| {
            let now = Timestamp::now().to_datetime();
            Timestamp::from(now + Duration::from_secs(seconds))
        };
        let at = |user| {
            let pool = db.pool.clone();
            async move {
                let seen = appearances(&pool, &[user, UserId::generate()])
                    .await
                    .unwrap();
                assert_eq!((seen.len(), seen[0].id), (1, user));
                (seen[0].appears_offline, seen[0].last_seen_at)
            }
        };
        let (first, second) = (later(10), later(20));
        note_last_seen(&db.pool, &[(ann, second), (ben, first)])
            .await
            .unwrap();
        note_last_seen(&db.pool, &[(ann, first)]).await.unwrap();
        assert_eq!(at(ann).await, (false, second), "never back in time");
        let hide = |hides| users::set_appears_offline(&db.pool, ben, hides);
        let hidden = hide(true).await.unwrap().unwrap();
        assert!(hidden.last_seen_at < first, "now");
        note_last_seen(&db.pool, &[(ben, second)]).await.unwrap();
        let repeated = hide(true).await.unwrap().unwrap();
        assert_eq!(repeated, hidden);
        assert_eq!(at(ben).await, (true, hidden.last_seen_at));
        let shown = hide(false).await.unwrap().unwrap();
        assert!(hidden.appears_offline && !shown.appears_offline);
        assert_eq!(at(ben).await, (false, hidden.last_seen_at));
        assert!(appearances(&db.pool, &[]).await.unwrap().is_empty());
    });
}
