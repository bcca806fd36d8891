//! Demo data, for trying a deployment out: a few users to log in as, and any amount of talk.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::id::{ConversationId, UserId};
use crate::model::timestamp::Timestamp;

/// Adds an account unless its address or name is taken. Answers whether it was added.
pub async fn add_user(
    pool: &PgPool,
    email: &str,
    username: &str,
    name: &str,
    password_hash: &str,
) -> Result<bool, sqlx::Error> {
    let added = sqlx::query(
        "INSERT INTO users (id, email, username, name, password_hash) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(UserId::generate())
    .bind(email)
    .bind(username)
    .bind(name)
    .bind(password_hash)
    .execute(pool)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Adds accounts of these usernames, which nobody has yet, all with one password.
pub async fn add_users(
    pool: &PgPool,
    usernames: &[String],
    password_hash: &str,
) -> Result<Vec<UserId>, sqlx::Error> {
    let ids: Vec<UserId> = usernames.iter().map(|_| UserId::generate()).collect();
    sqlx::query(
        "INSERT INTO users (id, email, username, name, password_hash)
         SELECT n.id, n.username || '@example.com', n.username, n.username, $3
         FROM unnest($1::uuid[], $2::text[]) AS n (id, username)",
    )
    .bind(&ids)
    .bind(usernames)
    .bind(password_hash)
    .execute(pool)
    .await?;
    Ok(ids)
}

/// A group as it would be after a while.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Its name.
    pub name: String,
    /// Its members, who speak in turn; the first one owns it.
    pub members: Vec<UserId>,
    /// How many messages were said in it.
    pub messages: u32,
    /// When the last of them was.
    pub last_at: Timestamp,
    /// From one message to the next.
    pub pace: Duration,
}

/// How many messages one statement adds.
const MESSAGES_AT_ONCE: u32 = 10_000;

/// Adds groups with what was said in them, wholly or not at all. `told` is called with the number of messages as they are added.
pub async fn add_talks(
    pool: &PgPool,
    talks: &[Talk],
    mut told: impl FnMut(u64),
) -> Result<(), sqlx::Error> {
    let talks: Vec<(ConversationId, &Talk)> = talks
        .iter()
        .map(|talk| (ConversationId::generate(), talk))
        .collect();
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "INSERT INTO conversations (id, kind, name, created_by, last_seq, message_count, created_at, updated_at, listed_at, changed_at)
         SELECT n.id, 'group', n.name, n.owner, n.messages + 1, n.messages, n.first_at, n.last_at, n.last_at, n.last_at
         FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
             AS n (id, name, owner, messages, first_at, last_at)",
    )
    .bind(column(&talks, |id, _| id))
    .bind(column(&talks, |_, talk| talk.name.as_str()))
    .bind(column(&talks, |_, talk| talk.members.first().copied()))
    .bind(column(&talks, |_, talk| i64::from(talk.messages)))
    .bind(column(&talks, |_, talk| said_at(talk, 1)))
    .bind(column(&talks, |_, talk| talk.last_at))
    .execute(&mut *transaction)
    .await?;
    let members: Vec<(ConversationId, UserId, bool, &Talk)> = talks
        .iter()
        .flat_map(|(id, talk)| {
            let rank = talk.members.iter().enumerate();
            rank.map(move |(rank, user)| (*id, *user, rank == 0, *talk))
        })
        .collect();
    // The owner has read everything, the others half.
    sqlx::query(
        "INSERT INTO memberships (conversation_id, user_id, role, read_count, change_seq, joined_seq, joined_at, listed_at)
         SELECT n.id, n.user_id, CASE WHEN n.owns THEN 'owner' ELSE 'member' END, CASE WHEN n.owns THEN n.messages ELSE n.messages / 2 END,
                1, 1, n.first_at, n.last_at
         FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
             AS n (id, user_id, owns, messages, first_at, last_at)",
    )
    .bind(members.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(members.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(members.iter().map(|row| row.2).collect::<Vec<_>>())
    .bind(members.iter().map(|row| i64::from(row.3.messages)).collect::<Vec<_>>())
    .bind(members.iter().map(|row| said_at(row.3, 1)).collect::<Vec<_>>())
    .bind(members.iter().map(|row| row.3.last_at).collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    for (id, talk) in &talks {
        let mut said = 0;
        while said < talk.messages {
            let until = talk.messages.min(said.saturating_add(MESSAGES_AT_ONCE));
            let ordinals: Vec<u32> = (said + 1..=until).collect();
            add_messages(&mut transaction, *id, talk, &ordinals).await?;
            told(u64::from(until - said));
            said = until;
        }
    }
    transaction.commit().await
}

async fn add_messages(
    connection: &mut sqlx::PgConnection,
    conversation: ConversationId,
    talk: &Talk,
    ordinals: &[u32],
) -> Result<(), sqlx::Error> {
    let speaker = |ordinal: u32| {
        let turn = usize::try_from(ordinal).unwrap_or(usize::MAX) % talk.members.len().max(1);
        talk.members.get(turn).copied()
    };
    sqlx::query(
        "INSERT INTO messages (conversation_id, seq, change_seq, ordinal, sender_id, type, content, command_id, created_at)
         SELECT $1, n.ordinal + 1, n.ordinal + 1, n.ordinal, n.sender, 'text', 'Demo message ' || n.ordinal, n.command, n.said_at
         FROM unnest($2::bigint[], $3::uuid[], $4::uuid[], $5::timestamptz[]) AS n (ordinal, sender, command, said_at)
         ORDER BY n.ordinal",
    )
    .bind(conversation)
    .bind(ordinals.iter().copied().map(i64::from).collect::<Vec<_>>())
    .bind(ordinals.iter().copied().map(speaker).collect::<Vec<_>>())
    .bind(ordinals.iter().map(|_| Uuid::new_v4()).collect::<Vec<_>>())
    .bind(ordinals.iter().map(|ordinal| said_at(talk, *ordinal)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// When a group's message of this rank was said.
fn said_at(talk: &Talk, ordinal: u32) -> Timestamp {
    talk.last_at.minus(
        talk.pace
            .saturating_mul(talk.messages.saturating_sub(ordinal)),
    )
}

fn column<'a, T>(
    talks: &[(ConversationId, &'a Talk)],
    value: impl Fn(ConversationId, &'a Talk) -> T,
) -> Vec<T> {
    talks.iter().map(|(id, talk)| value(*id, talk)).collect()
}
