//! A fresh, migrated database per test, and batches run on it as a lane does.

use std::future::Future;

use confab_shared::id::{CommandId, ConversationId, NodeId, Partition, UserId, WorkerId};
use confab_shared::model::command::{Command, CommandEnvelope};
use confab_shared::model::content::Content;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{Stored, load, load_details, store};
use confab_shared::postgres::{self, partitions};
use confab_shared::testing::on_fresh_database;
use confab_worker::handler::{Announcements, Bounds, Decided, Request, decide, details, wanted};
use sqlx::PgPool;

/// The partition of every test's conversations, as far as the fence is concerned.
pub(crate) const PARTITION: Partition = Partition(3);

const BOUNDS: Bounds = Bounds { max_members: 1_000 };

/// Runs a test on a database that is made for it and dropped after it, whether it passed or not.
pub(crate) fn with_database<F: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Db) -> F + Send + 'static,
) {
    on_fresh_database(postgres::pool_by_key, |pool| async move {
        partitions::prepare(&pool, 16).await.unwrap();
        test(Db { pool }).await;
    });
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
        self.decide_at(Timestamp::now(), batch).await
    }

    async fn decide_at(&self, at: Timestamp, batch: &[CommandEnvelope]) -> Decided {
        let requests: Vec<Request<'_>> = batch
            .iter()
            .map(|envelope| Request {
                envelope,
                redelivered: false,
            })
            .collect();
        let mut connection = self.pool.acquire().await.unwrap();
        let found = load(&mut connection, &wanted(&requests)).await.unwrap();
        let more = load_details(&mut connection, &details(BOUNDS, &requests, &found))
            .await
            .unwrap();
        decide(at, BOUNDS, &requests, found, more)
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
        self.run_at(Timestamp::now(), epoch, batch).await
    }

    /// The same at another moment than the present.
    pub(crate) async fn run_at(
        &self,
        at: Timestamp,
        epoch: i64,
        batch: &[CommandEnvelope],
    ) -> Announcements {
        let decided = self.decide_at(at, batch).await;
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
        trace: None,
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
