//! Who is seen as online: connected, as Redis knows, and willing to be seen, as PostgreSQL does.
//!
//! For what is shown anyway and merely mentions it: if it cannot be found out in time, nobody is.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;

use crate::id::UserId;
use crate::model::conversation::Participant;
use crate::postgres::contacts::appearances;
use crate::redis::presence::Online;

/// How long each of the two may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which of these users are connected, whether they want to be seen or not.
pub async fn connected(online: &Online, users: &[UserId]) -> HashSet<UserId> {
    if users.is_empty() {
        return HashSet::new();
    }
    match timeout(PATIENCE, online.look(users)).await {
        Ok(Ok(look)) => look.connected().collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "who is online is not known");
            HashSet::new()
        }
        Err(_) => HashSet::new(),
    }
}

/// Notes of these people whether they are online.
pub async fn note_online<'a>(
    online: &Online,
    pool: &PgPool,
    people: impl IntoIterator<Item = &'a mut Participant>,
) {
    let people: Vec<&mut Participant> = people.into_iter().collect();
    let ids: Vec<UserId> = people.iter().map(|one| one.profile.id).collect();
    let connected: Vec<UserId> = connected(online, &ids).await.into_iter().collect();
    let seen: HashSet<UserId> = match timeout(PATIENCE, appearances(pool, &connected)).await {
        Ok(Ok(seen)) => seen
            .iter()
            .filter(|one| !one.appears_offline)
            .map(|one| one.id)
            .collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "who wants to be seen is not known");
            HashSet::new()
        }
        Err(_) => HashSet::new(),
    };
    for one in people {
        one.is_online = seen.contains(&one.profile.id);
    }
}
