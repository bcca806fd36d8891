//! A fresh, migrated database per test, and batches run on it as a lane does.

use std::env;
use std::fs;
use std::future::Future;

use confab_shared::id::{CommandId, ConversationId, NodeId, Partition, UserId, WorkerId};
use confab_shared::model::command::{Command, CommandEnvelope};
use confab_shared::model::content::Content;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{Stored, load, load_details, store};
use confab_shared::postgres::{self, partitions};
use confab_worker::handler::{Announcements, Decided, Request, decide, details, wanted};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

/// The partition of every test's conversations, as far as the fence is concerned.
pub(crate) const PARTITION: Partition = Partition(3);

/// Runs a test on a database that is made for it and dropped after it, whether it passed or not.
pub(crate) fn with_database<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Db) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = server_url();
        let name = format!("confab_it_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut admin)
            .await
            .unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let config = postgres::DatabaseConfig {
            url: format!("{base}/{name}"),
            max_connections: 6,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 5_000,
            idle_in_transaction_timeout_ms: 5_000,
        };
        let pool = postgres::pool_by_key(&config, "confab-it").unwrap();
        postgres::migrate(&pool).await.unwrap();
        partitions::prepare(&pool, 16).await.unwrap();
        let outcome = tokio::spawn(test(Db { pool: pool.clone() })).await;
        pool.close().await;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
            .execute(&mut admin)
            .await
            .unwrap();
        if let Err(failed) = outcome {
            std::panic::resume_unwind(failed.into_panic());
        }
    });
}

fn server_url() -> String {
    let path = env::var("CONFAB_TEST_STATE")
        .expect("CONFAB_TEST_STATE names the state file of a running cluster");
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    state["postgres"]["url"]
        .as_str()
        .expect("postgres.url in the state file")
        .to_owned()
}

/// A test's database.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) pool: PgPool,
}

impl Db {
    /// Some accounts.
    pub(crate) async fn users<const N: usize>(&self) -> [UserId; N] {
        let users = std::array::from_fn(|_| UserId::generate());
        for (index, user) in users.iter().enumerate() {
            sqlx::query("INSERT INTO users (id, email, username, name, password_hash) VALUES ($1, $2, $3, $3, 'hash')")
                .bind(user)
                .bind(format!("user{index}@example.com"))
                .bind(format!("user{index}"))
                .execute(&self.pool)
                .await
                .unwrap();
        }
        users
    }

    /// The epoch of a new owner of [`PARTITION`].
    pub(crate) async fn take_over(&self) -> i64 {
        let worker = WorkerId::generate();
        partitions::take_over(&self.pool, PARTITION, worker)
            .await
            .unwrap()
    }

    /// Loads and decides a batch, and stores nothing yet.
    pub(crate) async fn decide(&self, batch: &[CommandEnvelope]) -> Decided {
        let requests: Vec<Request<'_>> = batch
            .iter()
            .map(|envelope| Request {
                envelope,
                redelivered: false,
            })
            .collect();
        let mut connection = self.pool.acquire().await.unwrap();
        let found = load(&mut connection, &wanted(&requests)).await.unwrap();
        let more = load_details(&mut connection, &details(&requests, &found))
            .await
            .unwrap();
        decide(Timestamp::now(), &requests, found, more)
    }

    /// Stores a decided batch under an epoch.
    pub(crate) async fn store(&self, epoch: i64, decided: &Decided) -> Stored {
        let mut connection = self.pool.acquire().await.unwrap();
        store(&mut connection, &[(PARTITION, epoch)], &decided.changes)
            .await
            .unwrap()
    }

    /// Sees a batch through, as its undisturbed owner.
    pub(crate) async fn run(&self, epoch: i64, batch: &[CommandEnvelope]) -> Announcements {
        let decided = self.decide(batch).await;
        match self.store(epoch, &decided).await {
            Stored::Committed(ids) => decided.announce(&ids),
            other => panic!("not stored: {other:?}"),
        }
    }

    /// A number out of the database.
    pub(crate) async fn count(&self, sql: &'static str, conversation: ConversationId) -> i64 {
        sqlx::query_scalar(sql)
            .bind(conversation)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

pub(crate) fn envelope(
    conversation: ConversationId,
    actor: UserId,
    command: Command,
) -> CommandEnvelope {
    CommandEnvelope {
        id: CommandId::generate(),
        node: NodeId::generate(),
        conversation,
        actor,
        command,
    }
}

pub(crate) fn group(participants: &[UserId]) -> Command {
    let name = Some("team".to_owned());
    Command::CreateConversation {
        kind: ConversationKind::Group,
        name,
        participants: participants.to_vec(),
    }
}

pub(crate) fn say(text: &str) -> Command {
    let content = Content::parse(text).unwrap();
    Command::SendMessage {
        content,
        message_type: "text".into(),
        reply_to: None,
        temp_id: None,
    }
}
