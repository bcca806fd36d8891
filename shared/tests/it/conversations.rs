//! Lists, views, memberships and unread counts.

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::conversation::MemberRole;
use confab_shared::model::message::MessageStatus;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::{conversations, memberships};
use sqlx::PgPool;

use crate::database::with_database;

async fn unread_truth(pool: &PgPool, conversation: ConversationId, user: UserId) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM messages m JOIN memberships s USING (conversation_id)
         WHERE conversation_id = $1 AND s.user_id = $2 AND m.ordinal > s.read_count AND m.deleted_at IS NULL",
    )
    .bind(conversation)
    .bind(user)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_view_shows_members_the_last_message_and_what_is_unread() {
    with_database(|db| async move {
        let (ann, ben, eve) = (
            db.user("ann").await,
            db.user("ben").await,
            db.user("eve").await,
        );
        let room = db.group(&[ann, ben]).await;
        let empty = conversations::view(&db.pool, room, ben)
            .await
            .unwrap()
            .unwrap();
        assert!(empty.last_message.is_none());
        assert_eq!((empty.unread_count, empty.last_seq), (0, Seq(1)));

        db.say(room, ann, "one").await;
        let two = db.say(room, ann, "two").await;
        let three = db.say(room, ann, "three").await;
        db.delete(room, two, ann).await;
        let view = conversations::view(&db.pool, room, ben)
            .await
            .unwrap()
            .unwrap();
        let names: Vec<_> = view
            .participants
            .iter()
            .map(|member| (&*member.profile.username, member.role))
            .collect();
        assert_eq!(
            names,
            [("ann", MemberRole::Owner), ("ben", MemberRole::Member)]
        );
        assert_eq!(view.last_message.unwrap().id, three);
        assert_eq!(view.unread_count, 2);
        assert_eq!(view.unread_count, unread_truth(&db.pool, room, ben).await);
        assert_eq!(
            conversations::unread(&db.pool, room, ben).await.unwrap(),
            Some(2)
        );
        assert_eq!(
            conversations::unread(&db.pool, room, eve).await.unwrap(),
            None
        );

        db.read(room, ben, three).await;
        db.delete(room, three, ann).await;
        let found = conversations::find(&db.pool, room, ann)
            .await
            .unwrap()
            .unwrap();
        assert!(
            found.last_status == MessageStatus::Read
                && found.view.last_message.unwrap().content.is_empty()
        );
        assert_eq!(
            conversations::unread(&db.pool, room, ben).await.unwrap(),
            Some(0)
        );
        assert!(
            conversations::view(&db.pool, room, eve)
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            conversations::of_message(&db.pool, three).await.unwrap(),
            Some(room)
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_list_is_paged_from_the_latest_activity_on() {
    with_database(|db| async move {
        let (ann, ben) = (db.user("ann").await, db.user("ben").await);
        let mut rooms = Vec::new();
        for _ in 0..5 {
            rooms.push(db.group(&[ann, ben]).await);
        }
        // All at one moment, so that the order hangs on the ids alone, but for one that is later.
        sqlx::query("UPDATE conversations SET updated_at = $1")
            .bind(Timestamp::now())
            .execute(&db.pool)
            .await
            .unwrap();
        rooms.sort_unstable();
        rooms.reverse();
        let active = rooms.remove(3);
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        db.say(active, ann, "hello").await;
        rooms.insert(0, active);

        let (mut listed, mut cursor) = (Vec::new(), None);
        for expected in [2, 2, 1] {
            let (page, next) = conversations::list(&db.pool, ben, cursor, 2).await.unwrap();
            assert_eq!(page.len(), expected);
            listed.extend(page.iter().map(|entry| entry.view.id));
            // The next page is asked for with the cursor as it was written.
            cursor = next.map(|next| next.to_string().parse().unwrap());
        }
        assert_eq!((listed, cursor), (rooms, None));

        db.remove(active, ben, ann, None).await;
        let (left, _) = conversations::list(&db.pool, ben, None, 100).await.unwrap();
        assert_eq!(left.len(), 4);
        assert!(
            left.iter()
                .all(|entry| entry.view.unread_count == 0 && entry.view.participants.len() == 2)
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn comings_and_goings_are_found_by_time() {
    with_database(|db| async move {
        let (ann, ben, cid) = (
            db.user("ann").await,
            db.user("ben").await,
            db.user("cid").await,
        );
        let room = db.group(&[ann, ben]).await;
        assert_eq!(
            memberships::access(&db.pool, room, ann)
                .await
                .unwrap()
                .map(|access| (access.role, access.last_seq)),
            Some((Some(MemberRole::Owner), Seq(1)))
        );
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let since = Timestamp::now();
        let added = db.add(room, &[cid]).await;
        let removed = db.remove(room, ben, ann, None).await;
        let asked = [(ann, since), (ben, since), (cid, since)];
        assert_eq!(
            memberships::joined_since(&db.pool, &asked).await.unwrap(),
            [(cid, room, added)]
        );
        let gone = memberships::removed_since(&db.pool, &asked).await.unwrap();
        assert_eq!(
            gone.iter()
                .map(|gone| (gone.user, gone.seq, gone.by))
                .collect::<Vec<_>>(),
            [(ben, removed, ann)]
        );
        // Each is asked about since a moment of its own.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let later = Timestamp::now();
        let again = db.add(room, &[ben]).await;
        let apart = [
            (cid, later),
            (ben, later),
            (ann, since.minus(std::time::Duration::from_mins(1))),
        ];
        assert_eq!(
            memberships::joined_since(&db.pool, &apart).await.unwrap(),
            [(ann, room, Seq(1)), (ben, room, again)]
        );
        assert!(
            memberships::removed_since(&db.pool, &apart)
                .await
                .unwrap()
                .is_empty()
        );
        let removed = db.remove(room, ben, ann, None).await;
        assert_eq!(
            memberships::access(&db.pool, room, ben).await.unwrap(),
            None
        );
        assert_eq!(
            conversations::last_seqs(&db.pool, &[room, ConversationId::generate()])
                .await
                .unwrap(),
            [(room, removed)]
        );
    });
}
