//! `seed`: demo users to log in as, and as much demo talk as is asked for. Refused in production: the password is public.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use confab_shared::auth::hash_password;
use confab_shared::config::Environment;
use confab_shared::id::UserId;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::seed::{self, Talk};
use sqlx::PgPool;
use uuid::Uuid;

use super::progress::Progress;

/// The password of every demo user.
const DEMO_PASSWORD: &str = "confab-demo";
/// How many users, or conversations with at most so many messages, are added at once.
const BATCH: usize = 5_000;
const MESSAGES_PER_BATCH: u64 = 50_000;
/// Conversations have this many members, if there are as many users.
const MEMBERS: usize = 5;

/// How much is added beside the three users to log in as.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Amount {
    /// Users.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub users: u32,
    /// Conversations among them, of five members each.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub conversations: u32,
    /// Messages, spread over the conversations.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000_000))]
    pub messages: u32,
}

impl Amount {
    fn check(self) -> anyhow::Result<()> {
        ensure!(
            self.conversations == 0 || self.users >= 2,
            "conversations need at least two --users"
        );
        ensure!(
            self.messages == 0 || self.conversations > 0,
            "messages need --conversations"
        );
        Ok(())
    }
}

/// Adds demo data, in batches. What was added stays if it is interrupted.
pub async fn run(
    pool: &PgPool,
    environment: Environment,
    amount: Amount,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    ensure!(
        environment != Environment::Production,
        "demo users have a public password and are refused where environment is production"
    );
    amount.check()?;
    let hash = hash_password(DEMO_PASSWORD).context("cannot hash the demo password")?;
    for (username, name) in [("alice", "Alice"), ("bob", "Bob"), ("carol", "Carol")] {
        let email = format!("{username}@example.com");
        let added = seed::add_user(pool, &email, username, name, &hash)
            .await
            .context("cannot add demo users")?;
        let note = if added { "" } else { " (was there)" };
        writeln!(out, "{email} {DEMO_PASSWORD}{note}")?;
    }
    if amount.users > 0 {
        let users = add_users(pool, amount.users, &hash).await?;
        add_talks(pool, &users, amount).await?;
    }
    Ok(())
}

async fn add_users(pool: &PgPool, count: u32, hash: &str) -> anyhow::Result<Vec<UserId>> {
    // Every run's users have names of their own, so that a second one adds more.
    let run = Uuid::new_v4().simple().to_string();
    let names: Vec<String> = (1..=count)
        .map(|number| format!("demo-{}-{number}", &run[..8]))
        .collect();
    let mut progress = Progress::new("users", u64::from(count));
    let mut users = Vec::with_capacity(names.len());
    for names in names.chunks(BATCH) {
        let added = seed::add_users(pool, names, hash)
            .await
            .context("cannot add users")?;
        users.extend(added);
        progress.add(u64::try_from(names.len()).unwrap_or(u64::MAX));
    }
    progress.finish();
    Ok(users)
}

async fn add_talks(pool: &PgPool, users: &[UserId], amount: Amount) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut conversations = Progress::new("conversations", u64::from(amount.conversations));
    let mut messages = Progress::new("messages", u64::from(amount.messages));
    let mut batch: Vec<Talk> = Vec::new();
    let mut held = 0;
    for number in 0..amount.conversations {
        let talk = talk(number, users, amount, now);
        held += u64::from(talk.messages);
        batch.push(talk);
        let full = batch.len() == BATCH || held >= MESSAGES_PER_BATCH;
        if full || number + 1 == amount.conversations {
            seed::add_talks(pool, &batch, |said| messages.add(said))
                .await
                .context("cannot add conversations")?;
            conversations.add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
            batch.clear();
            held = 0;
        }
    }
    conversations.finish();
    messages.finish();
    Ok(())
}

/// The n-th conversation. The messages are shared out evenly, the first ones getting what is left over.
fn talk(number: u32, users: &[UserId], amount: Amount, now: Timestamp) -> Talk {
    let share = amount.messages / amount.conversations.max(1);
    let left_over = amount.messages % amount.conversations.max(1);
    let first = usize::try_from(number).unwrap_or(usize::MAX) % users.len().max(1);
    Talk {
        name: format!("Demo conversation {}", number + 1),
        members: users
            .iter()
            .cycle()
            .skip(first)
            .take(MEMBERS.min(users.len()))
            .copied()
            .collect(),
        messages: share + u32::from(number < left_over),
        // The last words were a minute apart, conversation by conversation.
        last_at: now.minus(Duration::from_secs(60).saturating_mul(number)),
        pace: Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_shared_out() {
        let users: Vec<UserId> = (0..3).map(|_| UserId::generate()).collect();
        let amount = Amount {
            users: 3,
            conversations: 4,
            messages: 10,
        };
        let talks: Vec<Talk> = (0..4)
            .map(|number| talk(number, &users, amount, Timestamp::now()))
            .collect();
        assert_eq!(talks.iter().map(|talk| talk.messages).sum::<u32>(), 10);
        assert!(talks.iter().all(|talk| talk.members.len() == 3));
        assert!(
            talks
                .windows(2)
                .all(|pair| pair[0].last_at > pair[1].last_at)
        );
    }

    #[test]
    fn talk_needs_people_and_places() {
        let amount = |users, conversations, messages| Amount {
            users,
            conversations,
            messages,
        };
        assert!(amount(1, 1, 0).check().is_err());
        assert!(amount(2, 0, 5).check().is_err());
        assert!(amount(2, 1, 5).check().is_ok());
        assert!(Amount::default().check().is_ok());
    }
}
