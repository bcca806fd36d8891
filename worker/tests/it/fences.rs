//! Who may write: the epoch, and the conversations as they were.

use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, UserId, WorkerId};
use confab_shared::model::command::Outcome;
use confab_shared::postgres::batch::{Stored, store};
use confab_shared::postgres::partitions;
use tokio::sync::Barrier;

use crate::database::{Db, PARTITION, envelope, group, say, with_database};

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_former_owner_changes_nothing_and_learns_what_it_lost() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let (room, old) = (ConversationId::generate(), db.take_over().await);
        db.run(old, &[envelope(room, ann, group(&[]))]).await;
        let decided = db.decide(&[envelope(room, ann, say("late"))]).await;
        let new = db.take_over().await;
        assert!(new > old);
        assert_eq!(
            db.store(old, &decided).await,
            Stored::Fenced(vec![PARTITION])
        );

        let other = partitions::take_over(&db.pool, Partition(5), WorkerId::generate())
            .await
            .unwrap();
        let mut connection = db.pool.acquire().await.unwrap();
        let mixed = [(Partition(5), other), (PARTITION, old)];
        let stored = store(&mut connection, &mixed, &decided.changes)
            .await
            .unwrap();
        assert_eq!(
            stored,
            Stored::Fenced(vec![PARTITION]),
            "one lost partition stops the whole batch"
        );
        assert_eq!(
            db.count(
                "SELECT message_count FROM conversations WHERE id = $1",
                room
            )
            .await,
            0
        );
        assert!(matches!(
            db.store(new, &decided).await,
            Stored::Committed(_)
        ));
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn an_attempt_whose_answer_was_lost_is_not_made_twice() {
    with_database(|db| async move {
        let [ann, ben] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        let creation = [envelope(room, ann, group(&[ben]))];
        let decided = db.decide(&creation).await;
        assert!(matches!(
            db.store(epoch, &decided).await,
            Stored::Committed(_)
        ));
        assert_eq!(
            db.store(epoch, &decided).await,
            Stored::Stale,
            "the conversation is there"
        );

        let sends = [
            envelope(room, ann, say("one")),
            envelope(room, ben, say("two")),
        ];
        let decided = db.decide(&sends).await;
        let Stored::Committed(ids) = db.store(epoch, &decided).await else {
            panic!("not stored")
        };
        assert_eq!(
            db.store(epoch, &decided).await,
            Stored::Stale,
            "the conversation has moved"
        );
        let announced = db.run(epoch, &sends).await;
        for (outcome, id) in announced.outcomes.iter().zip(ids) {
            assert!(
                matches!(outcome, Ok(Outcome::Stored { message, .. }) if *message == id),
                "{outcome:?}"
            );
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn owners_who_come_and_go_leave_one_gapless_order() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let room = ConversationId::generate();
        db.run(db.take_over().await, &[envelope(room, ann, group(&[]))])
            .await;
        // Each believes to be the owner until it is told otherwise, takes over again, and does its batch anew.
        let all = Arc::new(Barrier::new(3));
        let writers: Vec<_> = (0..3)
            .map(|_| tokio::spawn(write(db.clone(), room, ann, all.clone())))
            .collect();
        let mut fenced = 0;
        for writer in writers {
            fenced += writer.await.unwrap();
        }
        assert!(
            fenced > 0,
            "nobody was ever in the way: this test tests nothing"
        );
        let stored = db
            .count(
                "SELECT count(*) FROM messages WHERE conversation_id = $1",
                room,
            )
            .await;
        assert_eq!(stored, 3 * 10 * 5);
        let distinct = "SELECT count(DISTINCT (seq, ordinal)) FROM messages WHERE conversation_id = $1 AND seq = ordinal + 1";
        assert_eq!(db.count(distinct, room).await, stored);
        assert_eq!(
            db.count("SELECT last_seq FROM conversations WHERE id = $1", room)
                .await,
            stored + 1
        );
    });
}

async fn write(db: Db, room: ConversationId, ann: UserId, all: Arc<Barrier>) -> u32 {
    let mut fenced = 0;
    let mut epoch = db.take_over().await;
    // Of all that believe to be the owner when they begin one is right.
    all.wait().await;
    for _ in 0..10 {
        let batch: Vec<_> = (0..5).map(|_| envelope(room, ann, say("x"))).collect();
        loop {
            let decided = db.decide(&batch).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            match db.store(epoch, &decided).await {
                Stored::Committed(_) => break,
                Stored::Fenced(_) => {
                    fenced += 1;
                    epoch = db.take_over().await;
                }
                Stored::Stale => {}
            }
        }
    }
    fenced
}
