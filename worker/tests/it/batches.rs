//! What a batch leaves in the tables.

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::Content;
use confab_shared::model::event::Fact;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{Stored, prune_applied};
use confab_shared::postgres::partitions::{self, PartitionError};

use crate::database::{envelope, group, say, with_database};

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_batch_is_stored_as_it_is_announced() {
    with_database(|db| async move {
        let [ann, ben, cid] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        let batch = [
            envelope(room, ann, group(&[ben, cid])),
            envelope(room, ben, say("one")),
            envelope(room, cid, say("two")),
            envelope(room, ann, Command::MarkRead { up_to: None }),
            envelope(room, ben, say("three")),
        ];
        let announced = db.run(epoch, &batch).await;
        assert_eq!(announced.outcomes[3], Ok(Outcome::Read { unread: 0 }));

        let rows: Vec<(MessageId, i64, i64, UserId, String)> = sqlx::query_as(
            "SELECT id, seq, ordinal, sender_id, content FROM messages ORDER BY seq",
        )
        .fetch_all(&db.pool)
        .await
        .unwrap();
        let told: Vec<_> = announced.rooms[0]
            .events
            .iter()
            .filter_map(|event| match &event.fact {
                Fact::MessageStored { message, .. } => {
                    let sender = message.sender.id;
                    Some((
                        message.id,
                        message.seq.0,
                        message.ordinal,
                        sender,
                        message.content.to_string(),
                    ))
                }
                _ => None,
            })
            .collect();
        assert_eq!(rows, told);
        assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [2, 3, 5]);

        let message = rows[0].0;
        let edit = Command::EditMessage {
            message,
            content: Content::parse("uno").unwrap(),
        };
        let batch = [
            envelope(room, ben, edit),
            envelope(room, ann, Command::DeleteMessage { message: rows[1].0 }),
            envelope(room, ann, Command::RemoveMember { user: ben }),
            envelope(room, ben, say("too late")),
            envelope(room, ann, Command::Leave),
        ];
        let announced = db.run(epoch, &batch).await;
        let accepted: Vec<bool> = announced.outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(accepted, [true, true, true, false, true]);

        let text = |id: MessageId| {
            let query = sqlx::query_as::<_, (String, i64, bool, bool)>(
                "SELECT content, change_seq, edited_at IS NOT NULL, deleted_at IS NOT NULL FROM messages WHERE id = $1",
            );
            query.bind(id).fetch_one(&db.pool)
        };
        assert_eq!(
            text(message).await.unwrap(),
            ("uno".to_owned(), 6, true, false)
        );
        assert_eq!(
            text(rows[1].0).await.unwrap(),
            (String::new(), 7, false, true)
        );
        let members: Vec<(UserId, String, i64, i64, bool)> = sqlx::query_as(
            "SELECT user_id, role, change_seq, read_count, left_at IS NULL FROM memberships ORDER BY user_id",
        )
        .fetch_all(&db.pool)
        .await
        .unwrap();
        let expected = [
            (ann, "owner".to_owned(), 9, 2, false),
            (ben, "member".to_owned(), 8, 3, false),
            (cid, "owner".to_owned(), 9, 2, true),
        ];
        assert_eq!(members, expected);
        assert_eq!(
            db.count("SELECT last_seq FROM conversations WHERE id = $1", room)
                .await,
            9
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_repeated_command_finds_what_it_did() {
    with_database(|db| async move {
        let [ann, ben] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        let batch = [
            envelope(room, ann, group(&[ben])),
            envelope(room, ben, say("once")),
            envelope(room, ann, Command::RemoveMember { user: ben }),
            envelope(room, ann, Command::MarkRead { up_to: None }),
        ];
        let first = db.run(epoch, &batch).await;
        db.run(epoch, &[envelope(room, ann, say("later"))]).await;
        let again = db.run(epoch, &batch).await;
        assert_eq!(first.outcomes, again.outcomes);
        assert_eq!(
            again.rooms[0].events.len(),
            1,
            "nothing but how far it has come: {again:?}"
        );
        assert_eq!(
            db.count(
                "SELECT count(*) FROM messages WHERE conversation_id = $1",
                room
            )
            .await,
            2
        );
        assert_eq!(
            db.count("SELECT last_seq FROM conversations WHERE id = $1", room)
                .await,
            5
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn memory_of_old_commands_is_pruned() {
    with_database(|db| async move {
        let [ann, ben] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        db.run(
            epoch,
            &[
                envelope(room, ann, group(&[])),
                envelope(room, ann, Command::AddMembers { users: vec![ben] }),
            ],
        )
        .await;
        sqlx::query(
            "UPDATE applied_commands SET applied_at = now() - interval '2 days' WHERE outcome LIKE '%created%'",
        )
        .execute(&db.pool)
        .await
        .unwrap();
        let day_ago =
            Timestamp::from(Timestamp::now().to_datetime() - std::time::Duration::from_hours(24));
        assert_eq!(prune_applied(&db.pool, day_ago).await.unwrap(), 1);
        // More than one step looks at, the old among the new.
        sqlx::query(
            "INSERT INTO applied_commands SELECT $1, gen_random_uuid(), repeat('x', 500), now() - n % 2 * interval '2 days'
             FROM generate_series(1, 5000) n",
        )
        .bind(room)
        .execute(&db.pool)
        .await
        .unwrap();
        assert_eq!(prune_applied(&db.pool, day_ago).await.unwrap(), 2_500);
        sqlx::query("DELETE FROM applied_commands WHERE outcome LIKE 'x%'")
            .execute(&db.pool)
            .await
            .unwrap();
        assert_eq!(
            db.count(
                "SELECT count(*) FROM applied_commands WHERE conversation_id = $1",
                room
            )
            .await,
            1
        );
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn the_number_of_partitions_is_fixed() {
    with_database(|db| async move {
        partitions::prepare(&db.pool, 16).await.unwrap();
        partitions::check(&db.pool, 16).await.unwrap();
        let changed = partitions::prepare(&db.pool, 8).await;
        assert!(matches!(
            changed,
            Err(PartitionError::Changed {
                configured: 8,
                recorded: 16
            })
        ));
        sqlx::query("DROP TABLE partitions")
            .execute(&db.pool)
            .await
            .unwrap();
        assert!(matches!(
            partitions::check(&db.pool, 16).await,
            Err(PartitionError::Missing)
        ));
    });
}

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn what_the_database_refuses_leaves_nothing_behind() {
    with_database(|db| async move {
        let [ann] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        db.run(epoch, &[envelope(room, ann, group(&[]))]).await;
        // No gateway lets this through, but nothing here may depend on that.
        let Command::SendMessage { content, .. } = say("odd") else {
            unreachable!()
        };
        let odd = Command::SendMessage {
            content,
            message_type: String::new(),
            reply_to: None,
            temp_id: None,
        };
        let decided = db
            .decide(&[envelope(room, ann, say("fine")), envelope(room, ann, odd)])
            .await;
        let mut connection = db.pool.acquire().await.unwrap();
        let fence = [(crate::database::PARTITION, epoch)];
        let refused =
            confab_shared::postgres::batch::store(&mut connection, &fence, &decided.changes).await;
        assert!(refused.is_err());
        assert_eq!(
            db.count("SELECT last_seq FROM conversations WHERE id = $1", room)
                .await,
            1
        );
        assert!(
            matches!(db.store(epoch, &db.decide(&[]).await).await, Stored::Committed(ids) if ids.is_empty())
        );
    });
}
