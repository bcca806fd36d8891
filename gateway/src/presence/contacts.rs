//! Finds out who of users' contacts is online.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::UserId;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::contacts::{self, Appearance, Bounds, Circle};
use confab_shared::redis::presence::{Look, Online};
use fred::clients::Client;
use sqlx::PgPool;

use crate::backplane::memory_name;
use crate::metrics::Metrics;

/// How long Redis is left alone after it failed, or while it is being told again who is connected.
const PAUSE: Duration = Duration::from_millis(250);

/// Whose contacts are asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) users: Vec<UserId>,
    /// Also those who are not online.
    pub(super) with_absent: bool,
}

/// PostgreSQL gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the database does not answer")]
    Silent,
}

/// What it takes to find out.
#[derive(Clone)]
pub(super) struct Finder {
    pub(super) redis: Client,
    pub(super) online: Online,
    pub(super) database: PgPool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) patience: Duration,
    pub(super) largest_group: u32,
    /// Of how many conversations of a user its contacts are.
    pub(super) most_conversations: usize,
    /// How long nodes may take to tell a Redis that lost its memory who is connected.
    pub(super) settling: Duration,
}

impl Finder {
    /// Finds out, however long Redis takes to come back.
    pub(super) async fn find(&self, asked: Asked) -> Result<Found, Unanswered> {
        let circles = self.answered(self.circles(&asked.users)).await?;
        let members: BTreeSet<UserId> = circles
            .iter()
            .flat_map(|circle| &circle.members)
            .copied()
            .collect();
        let members: Vec<UserId> = members.into_iter().collect();
        let look = loop {
            match self.look(&members).await {
                Ok(Some(look)) => break look,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "who is online is not known; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let concerned: Vec<UserId> = if asked.with_absent {
            members
        } else {
            look.connected().collect()
        };
        let read = contacts::appearances(&self.database, &concerned);
        let appearances = self.answered(read).await?;
        Ok(Found::new(circles, look, appearances))
    }

    /// The people whom these share conversations with.
    pub(super) async fn circles(&self, users: &[UserId]) -> Result<Vec<Circle>, sqlx::Error> {
        let bounds = Bounds {
            largest: self.largest_group,
            most: self.most_conversations,
        };
        contacts::circles(&self.database, users, bounds).await
    }

    /// PostgreSQL's answer, if it comes in time.
    pub(super) async fn answered<T>(
        &self,
        question: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Unanswered> {
        let question = self.metrics.postgres.time("contacts", question);
        let answer = tokio::time::timeout(self.patience, question).await;
        Ok(answer.map_err(|_| Unanswered::Silent)??)
    }

    /// Looks who of these is connected.
    pub(super) async fn look_up(&self, members: &[UserId]) -> Result<Look, fred::error::Error> {
        let look = self.online.look(members);
        self.metrics.redis.time("look_up", look).await
    }

    /// Looks who of these is connected. None while Redis is being told again.
    async fn look(&self, members: &[UserId]) -> Result<Option<Look>, fred::error::Error> {
        let look = self.look_up(members).await?;
        let is_settled = self.is_settled(look.earliest()).await?;
        Ok(is_settled.then_some(look))
    }

    /// Whether everybody who was connected was noted at this moment, should Redis have lost its memory.
    pub(super) async fn is_settled(&self, moment: u64) -> Result<bool, fred::error::Error> {
        let memory = memory_name(&self.redis, self.online.keyspace()).await?;
        Ok(moment >= settled_at(&memory, self.settling))
    }
}

/// When everybody who was connected then is noted in this memory, in microseconds of Redis's clock. Its name says when it began.
pub(super) fn settled_at(memory: &str, settling: Duration) -> u64 {
    let began = memory.split(':').next().unwrap_or_default();
    let began: u64 = began.parse().unwrap_or(0);
    began.saturating_add(u64::try_from(settling.as_micros()).unwrap_or(u64::MAX))
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    circles: Vec<Circle>,
    /// Those who are seen as online.
    online: HashSet<UserId>,
    look: Look,
    appearances: HashMap<UserId, Appearance>,
}

impl Found {
    fn new(circles: Vec<Circle>, look: Look, appearances: Vec<Appearance>) -> Self {
        let appearances: HashMap<UserId, Appearance> = appearances
            .into_iter()
            .map(|appearance| (appearance.id, appearance))
            .collect();
        let is_seen = |user: &UserId| {
            let appearance = appearances.get(user);
            appearance.is_some_and(|appearance| !appearance.appears_offline)
        };
        Self {
            online: look.connected().filter(is_seen).collect(),
            circles,
            look,
            appearances,
        }
    }

    /// A user was announced to be online, or not to be. It counts if it is later than what was found.
    pub(super) fn correct(&mut self, user: UserId, position: u64, is_online: bool) {
        if position < self.look.at(user) {
            return;
        }
        if is_online {
            self.online.insert(user);
        } else {
            self.online.remove(&user);
        }
    }

    /// The moment that nothing of this is older than, in microseconds of Redis's clock. If nobody had contacts, whatever is said is news.
    pub(super) fn as_of(&self) -> u64 {
        if self.circles.is_empty() {
            return 0;
        }
        self.look.earliest()
    }

    /// The same, for whoever asks for single users.
    pub(super) fn sorted(self) -> Sorted {
        let mut circles_of: HashMap<UserId, Vec<usize>> = HashMap::new();
        let mut online = Vec::with_capacity(self.circles.len());
        for (index, circle) in self.circles.iter().enumerate() {
            for user in &circle.asked {
                circles_of.entry(*user).or_default().push(index);
            }
            let members = circle.members.iter().copied();
            let members = members.filter(|member| self.online.contains(member));
            online.push(members.collect());
        }
        Sorted {
            found: self,
            circles_of,
            online,
        }
    }
}

/// What was found, for each user.
#[derive(Debug)]
pub(super) struct Sorted {
    found: Found,
    circles_of: HashMap<UserId, Vec<usize>>,
    /// Those of each circle who are online.
    online: Vec<Vec<UserId>>,
}

impl Sorted {
    /// Who of a user's contacts is online.
    pub(super) fn online(&self, user: UserId) -> Vec<UserId> {
        let circles = self.circles_of.get(&user).into_iter().flatten();
        let members = circles.flat_map(|index| &self.online[*index]);
        distinct(user, members)
    }

    /// Who is not, and since when.
    pub(super) fn absent(&self, user: UserId) -> Vec<(UserId, Timestamp)> {
        let circles = self.circles_of.get(&user).into_iter().flatten();
        let members = circles.flat_map(|index| &self.found.circles[*index].members);
        let absent = members.filter(|member| !self.found.online.contains(member));
        distinct(user, absent)
            .into_iter()
            .filter_map(|one| Some((one, self.found.appearances.get(&one)?.last_seen_at)))
            .collect()
    }
}

fn distinct<'a>(user: UserId, contacts: impl Iterator<Item = &'a UserId>) -> Vec<UserId> {
    let mut contacts: Vec<UserId> = contacts.filter(|one| **one != user).copied().collect();
    contacts.sort_unstable();
    contacts.dedup();
    contacts
}

#[cfg(test)]
mod tests {
    use confab_shared::id::NodeId;

    use super::*;

    #[test]
    fn what_was_announced_since_corrects_what_was_found() {
        let [ann, ben, cat, dan] = std::array::from_fn(|_| UserId::generate());
        let circles = vec![Circle {
            asked: vec![ann],
            members: vec![ann, ben, cat, dan],
        }];
        let find = || {
            let mut look = Look::default();
            for user in [ann, ben, dan] {
                look.note(user, 20, vec![NodeId::generate()]);
            }
            look.note(cat, 20, Vec::new());
            let appearances = [ann, ben, cat, dan].map(|id| Appearance {
                id,
                appears_offline: id == dan,
                last_seen_at: Timestamp::from_micros(3_000_000),
            });
            Found::new(circles.clone(), look, appearances.to_vec())
        };
        let found = find().sorted();
        assert_eq!(
            found.online(ann),
            [ben],
            "neither herself nor who is hidden"
        );
        let mut absent = [
            (cat, Timestamp::from_micros(3_000_000)),
            (dan, Timestamp::from_micros(3_000_000)),
        ];
        absent.sort_unstable();
        assert_eq!(found.absent(ann), absent);
        let mut found = find();
        for (user, position, is_online) in [(ben, 19, false), (cat, 21, true), (dan, 19, true)] {
            found.correct(user, position, is_online);
        }
        let found = found.sorted();
        let mut both = [ben, cat];
        both.sort_unstable();
        assert_eq!(found.online(ann), both);
        assert!(found.online(ben).is_empty(), "nobody asked for him");
    }

    #[test]
    fn a_memory_is_settled_a_while_after_it_began() {
        let settling = Duration::from_secs(3);
        assert_eq!(
            settled_at("1700000000000000:name:run", settling),
            1_700_000_003_000_000
        );
        assert_eq!(settled_at("no memory", settling), 3_000_000);
    }
}
