//! A fresh, migrated database per test, and rows to put into it as a worker would.

use std::future::Future;

use confab_shared::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use confab_shared::model::content::Slug;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::users::{self, NewUser};
use confab_shared::postgres::{self, rooms};
use confab_shared::testing::on_fresh_database;
use sqlx::PgPool;

/// Runs a test on a database that is made for it and dropped after it, whether it passed or not.
pub(crate) fn with_database<F: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Db) -> F + Send + 'static,
) {
    on_fresh_database(postgres::pool, |pool| async move {
        test(Db { pool }).await;
    });
}

/// A test's database.
pub(crate) struct Db {
    pub(crate) pool: PgPool,
}

impl Db {
    /// An account.
    pub(crate) async fn user(&self, name: &str) -> UserId {
        let user = NewUser {
            email: format!("{name}@example.com"),
            username: name.to_owned(),
            name: format!("The {name}"),
            avatar: None,
            password_hash: "hash".to_owned(),
        };
        users::create(&self.pool, user).await.unwrap().id
    }

    /// A conversation at seq 1; the first of the members owns it.
    pub(crate) async fn group(&self, members: &[UserId]) -> ConversationId {
        let (id, now) = (ConversationId::generate(), Timestamp::now());
        sqlx::query(
            "INSERT INTO conversations (id, kind, created_by, last_seq, created_at, updated_at, changed_at)
             VALUES ($1, 'group', $2, 1, $3, $3, $3)",
        )
        .bind(id)
        .bind(members[0])
        .bind(now)
        .execute(&self.pool)
        .await
        .unwrap();
        for (index, user) in members.iter().enumerate() {
            self.member(
                id,
                *user,
                Seq(1),
                if index == 0 { "owner" } else { "member" },
            )
            .await;
        }
        id
    }

    /// A public room at seq 1, with its slug.
    pub(crate) async fn room(&self, slug: &str, by: UserId) -> ConversationId {
        let (id, now) = (ConversationId::generate(), Timestamp::now());
        let slug = Slug::parse(slug).unwrap();
        let taken = rooms::take_slug(&self.pool, &slug, id).await.unwrap();
        assert_eq!(taken, id);
        sqlx::query(
            "INSERT INTO conversations (id, kind, name, created_by, last_seq, created_at, updated_at, changed_at)
             VALUES ($1, 'room', $2, $3, 1, $4, $4, $4)",
        )
        .bind(id)
        .bind(slug.as_str())
        .bind(by)
        .bind(now)
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// A membership that begins, or begins again, with a change.
    pub(crate) async fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
        seq: Seq,
        role: &str,
    ) {
        sqlx::query(
            "INSERT INTO memberships (conversation_id, user_id, role, read_count, change_seq, joined_seq, joined_at)
             SELECT id, $2, $4, message_count, $3, $3, $5 FROM conversations WHERE id = $1
             ON CONFLICT (conversation_id, user_id) DO UPDATE SET role = excluded.role, read_count = excluded.read_count,
                 change_seq = excluded.change_seq, joined_seq = excluded.joined_seq, joined_at = excluded.joined_at,
                 left_at = NULL, removed_by = NULL",
        )
        .bind(conversation)
        .bind(user)
        .bind(seq)
        .bind(role)
        .bind(Timestamp::now())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The conversation's next seq.
    pub(crate) async fn advance(&self, conversation: ConversationId) -> Seq {
        sqlx::query_scalar(
            "UPDATE conversations SET last_seq = last_seq + 1, updated_at = $2 WHERE id = $1 RETURNING last_seq",
        )
        .bind(conversation)
        .bind(Timestamp::now())
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Adds members by one change.
    pub(crate) async fn add(&self, conversation: ConversationId, users: &[UserId]) -> Seq {
        let seq = self.advance(conversation).await;
        for user in users {
            self.member(conversation, *user, seq, "member").await;
        }
        seq
    }

    /// Ends a membership; an heir, if there is one, becomes the owner by the same change.
    pub(crate) async fn remove(
        &self,
        conversation: ConversationId,
        user: UserId,
        by: UserId,
        heir: Option<UserId>,
    ) -> Seq {
        let seq = self.advance(conversation).await;
        sqlx::query(
            "UPDATE memberships SET change_seq = $3, left_at = $4, removed_by = $5
             WHERE conversation_id = $1 AND user_id = $2",
        )
        .bind(conversation)
        .bind(user)
        .bind(seq)
        .bind(Timestamp::now())
        .bind(by)
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "UPDATE memberships SET change_seq = $3, role = 'owner' WHERE conversation_id = $1 AND user_id = $2",
        )
        .bind(conversation)
        .bind(heir)
        .bind(seq)
        .execute(&self.pool)
        .await
        .unwrap();
        seq
    }

    /// Stores a message, which is read for its sender.
    pub(crate) async fn say(
        &self,
        conversation: ConversationId,
        sender: UserId,
        content: &str,
    ) -> MessageId {
        let (seq, ordinal): (Seq, i64) = sqlx::query_as(
            "UPDATE conversations SET last_seq = last_seq + 1, message_count = message_count + 1, updated_at = $2
             WHERE id = $1 RETURNING last_seq, message_count",
        )
        .bind(conversation)
        .bind(Timestamp::now())
        .fetch_one(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "UPDATE memberships SET read_count = $3 WHERE conversation_id = $1 AND user_id = $2",
        )
        .bind(conversation)
        .bind(sender)
        .bind(ordinal)
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query("INSERT INTO senders (user_id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(sender)
            .execute(&self.pool)
            .await
            .unwrap();
        sqlx::query_scalar(
            "INSERT INTO messages (conversation_id, seq, change_seq, ordinal, sender_id, type, content, command_id, created_at)
             VALUES ($1, $2, $2, $3, $4, 'text', $5, $6, $7) RETURNING id",
        )
        .bind(conversation)
        .bind(seq)
        .bind(ordinal)
        .bind(sender)
        .bind(content)
        .bind(CommandId::generate())
        .bind(Timestamp::now())
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Replaces a message's text.
    pub(crate) async fn edit(
        &self,
        conversation: ConversationId,
        message: MessageId,
        content: &str,
    ) -> Seq {
        let seq = self.advance(conversation).await;
        sqlx::query(
            "UPDATE messages SET content = $2, change_seq = $3, edited_at = $4 WHERE id = $1",
        )
        .bind(message)
        .bind(content)
        .bind(seq)
        .bind(Timestamp::now())
        .execute(&self.pool)
        .await
        .unwrap();
        seq
    }

    /// Makes a message a tombstone.
    pub(crate) async fn delete(
        &self,
        conversation: ConversationId,
        message: MessageId,
        by: UserId,
    ) -> Seq {
        let seq = self.advance(conversation).await;
        sqlx::query(
            "UPDATE messages SET content = '', change_seq = $2, deleted_at = $3, deleted_by = $4 WHERE id = $1",
        )
        .bind(message)
        .bind(seq)
        .bind(Timestamp::now())
        .bind(by)
        .execute(&self.pool)
        .await
        .unwrap();
        seq
    }

    /// Raises a member's read marker to a message.
    pub(crate) async fn read(
        &self,
        conversation: ConversationId,
        user: UserId,
        message: MessageId,
    ) -> Seq {
        let seq = self.advance(conversation).await;
        sqlx::query(
            "UPDATE memberships SET read_seq = $3, read_message_id = $4, read_at = $5,
                    read_count = (SELECT ordinal FROM messages WHERE id = $4)
             WHERE conversation_id = $1 AND user_id = $2",
        )
        .bind(conversation)
        .bind(user)
        .bind(seq)
        .bind(message)
        .bind(Timestamp::now())
        .execute(&self.pool)
        .await
        .unwrap();
        seq
    }
}
