//! How PostgreSQL goes about a batch when all it has seen is an empty deployment: plans are made then, and kept.

use confab_shared::id::ConversationId;
use confab_shared::model::command::Command;
use confab_shared::model::content::Content;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::database::{envelope, group, say, with_database};

#[test]
#[ignore = "needs CONFAB_TEST_STATE; run by deploy/test"]
fn a_batch_reads_no_table_and_no_index_from_end_to_end() {
    with_database(|db| async move {
        let [ann, ben, cid] = db.users().await;
        let (room, epoch) = (ConversationId::generate(), db.take_over().await);
        let first = [
            envelope(room, ann, group(&[ben])),
            envelope(room, ben, say("one")),
        ];
        db.run(epoch, &first).await;
        let message = sqlx::query_scalar("SELECT max(id) FROM messages")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        let content = Content::parse("uno").unwrap();
        let second = [
            envelope(room, ben, Command::EditMessage { message, content }),
            envelope(room, ben, say("two")),
            envelope(room, ann, Command::MarkRead { up_to: None }),
            envelope(room, ann, Command::DeleteMessage { message }),
            envelope(room, ann, Command::AddMembers { users: vec![cid] }),
        ];
        db.run(epoch, &second).await;

        let mut seen = 0;
        let mut connections = Vec::new();
        for _ in 0..db.pool.options().get_max_connections() {
            connections.push(db.pool.acquire().await.unwrap());
        }
        for connection in &mut connections {
            seen += hold_to_lookups(connection).await;
        }
        assert!(seen > 3, "{seen} statements");
    });
}

/// Holds every statement of a batch that a connection has prepared to plans that look rows up. How many there were.
async fn hold_to_lookups(connection: &mut PgConnection) -> usize {
    let prepared = sqlx::query(
        "SELECT name, statement, cardinality(parameter_types) AS parameters FROM pg_prepared_statements
         WHERE statement ~ 'unnest' AND statement ~ 'memberships|conversations|messages' AND statement !~ 'pg_prepared_statements'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for statement in &prepared {
        let (name, text): (String, String) = (statement.get("name"), statement.get("statement"));
        let parameters = statement.get::<i32, _>("parameters");
        let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(",");
        let explain = format!("EXPLAIN EXECUTE {name} ({nulls})");
        let plan: Vec<String> = sqlx::raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut *connection)
            .await
            .unwrap()
            .iter()
            .map(|line| line.get(0))
            .collect();
        let mut lines = plan.iter().peekable();
        while let Some(line) = lines.next() {
            let walks = line.contains("Seq Scan")
                || (line.contains("Index Scan") || line.contains("Index Only Scan"))
                    && !lines.peek().is_some_and(|next| next.contains("Index Cond"));
            assert!(!walks, "{text}\n{}", plan.join("\n"));
        }
    }
    prepared.len()
}
