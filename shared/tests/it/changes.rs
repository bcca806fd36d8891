//! Events read back from rows.

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::event::{Event, Fact};
use confab_shared::postgres::changes::since;

use crate::database::{Db, with_database};

fn seqs(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.seq.unwrap().0).collect()
}

async fn crowd(db: &Db, names: &[&str]) -> Vec<UserId> {
    let mut users = Vec::new();
    for name in names {
        users.push(db.user(name).await);
    }
    users
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn every_kind_of_change_comes_back_in_order() {
    with_database(|db| async move {
        let [ann, ben, cid, dan] = crowd(&db, &["ann", "ben", "cid", "dan"]).await[..] else {
            unreachable!()
        };
        let room = db.group(&[ann, ben]).await;
        let first = db.say(room, ann, "first").await; // 2
        let second = db.say(room, ben, "second").await; // 3
        db.edit(room, first, "first, edited").await; // 4
        db.read(room, ben, second).await; // 5
        db.add(room, &[cid, dan]).await; // 6
        db.delete(room, second, ann).await; // 7
        db.remove(room, dan, ann, None).await; // 8
        db.remove(room, ann, ann, Some(ben)).await; // 9

        let changes = since(&db.pool, room, Seq(0)).await.unwrap();
        assert_eq!((changes.up_to, changes.complete), (Seq(9), true));
        let summary: Vec<String> = changes
            .events
            .iter()
            .map(|event| match &event.fact {
                Fact::ConversationCreated { by } => format!("created {}", *by == ann),
                Fact::MessageStored {
                    message,
                    temp_id: None,
                } => format!("stored {:?}", message.content),
                Fact::MessageEdited { message } => format!(
                    "edited {:?} by {}",
                    message.content, message.sender.username
                ),
                Fact::MessageDeleted { message, by } => {
                    format!("deleted {}", *message == second && *by == ann)
                }
                Fact::MessagesRead {
                    user,
                    message,
                    read_count,
                } => {
                    format!(
                        "read {} {read_count}",
                        *user == ben && *message == Some(second)
                    )
                }
                Fact::MembersAdded { members } => {
                    members.iter().fold("added".to_owned(), |text, member| {
                        text + " " + &member.profile.username
                    })
                }
                Fact::MemberRemoved { user, by } => {
                    format!("removed {} {}", *user == *by, *by == ann)
                }
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            summary,
            [
                "created true",
                "stored \"first, edited\"",
                "stored \"\"",
                "edited \"first, edited\" by ann",
                "read true 2",
                // Dan's coming was superseded by his going; Ben was not added, but given a role.
                "added cid",
                "deleted true",
                "removed false true",
                "removed true true",
            ]
        );
        assert_eq!(seqs(&changes.events), [1, 2, 3, 4, 5, 6, 7, 8, 9]);

        for after in 0..=9 {
            let rest = since(&db.pool, room, Seq(after)).await.unwrap();
            assert_eq!(rest.up_to, Seq(9));
            assert_eq!(
                rest.events,
                changes.events[usize::try_from(after).unwrap()..],
                "after {after}"
            );
        }
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn superseded_changes_leave_holes() {
    with_database(|db| async move {
        let [ann, ben] = crowd(&db, &["ann", "ben"]).await[..] else {
            unreachable!()
        };
        let room = db.group(&[ann, ben]).await;
        let message = db.say(room, ann, "a").await; // 2
        db.edit(room, message, "b").await; // 3
        db.edit(room, message, "c").await; // 4
        db.read(room, ben, message).await; // 5
        db.read(room, ben, message).await; // 6
        db.remove(room, ben, ann, None).await; // 7
        db.add(room, &[ben]).await; // 8
        let changes = since(&db.pool, room, Seq(1)).await.unwrap();
        assert_eq!(seqs(&changes.events), [2, 4, 6, 8]);
        assert_eq!(changes.up_to, Seq(8));
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_role_passed_on_to_a_newcomer_does_not_hide_the_coming() {
    with_database(|db| async move {
        let [ann, ben] = crowd(&db, &["ann", "ben"]).await[..] else {
            unreachable!()
        };
        let room = db.group(&[ann]).await;
        db.add(room, &[ben]).await; // 2
        db.remove(room, ann, ann, Some(ben)).await; // 3
        let changes = since(&db.pool, room, Seq(1)).await.unwrap();
        assert_eq!(seqs(&changes.events), [2, 3]);
        assert!(
            matches!(&changes.events[0].fact, Fact::MembersAdded { members } if members[0].profile.id == ben)
        );
        assert!(
            since(&db.pool, ConversationId::generate(), Seq(4))
                .await
                .unwrap()
                .events
                .is_empty()
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_long_gap_is_read_in_pages_that_meet() {
    with_database(|db| async move {
        let [ann, ben, cid] = crowd(&db, &["ann", "ben", "cid"]).await[..] else {
            unreachable!()
        };
        let room = db.group(&[ann]).await;
        sqlx::query(
            "INSERT INTO messages (conversation_id, seq, change_seq, ordinal, sender_id, type, content, command_id, created_at)
             SELECT $1, n + 1, n + 1, n, $2, 'text', n::text, gen_random_uuid(), now() FROM generate_series(1, 998) n",
        )
        .bind(room)
        .bind(ann)
        .execute(&db.pool)
        .await
        .unwrap();
        sqlx::query("UPDATE conversations SET last_seq = 999, message_count = 998 WHERE id = $1")
            .bind(room)
            .execute(&db.pool)
            .await
            .unwrap();
        // The thousandth row is the first of two of one change.
        db.say(room, ann, "the last before").await; // 1000, row 999
        db.add(room, &[ben, cid]).await; // 1001, rows 1000 and 1001
        let first = since(&db.pool, room, Seq(1)).await.unwrap();
        assert_eq!((first.up_to, first.complete), (Seq(1000), false));
        assert_eq!(seqs(&first.events), (2..=1000).collect::<Vec<_>>());
        let second = since(&db.pool, room, first.up_to).await.unwrap();
        assert_eq!((second.up_to, second.complete), (Seq(1001), true));
        assert!(
            matches!(&second.events[..], [Event { fact: Fact::MembersAdded { members }, .. }] if members.len() == 2)
        );
    });
}
