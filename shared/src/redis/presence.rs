//! Who is connected, as Redis knows it.
//!
//! Owns what stands in those keys and how it is read and changed, in batches. When anything is to be changed, and who is told, is for
//! the gateways to know. See [`UserSlot`] for how users are divided.

mod found;
mod stay;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{HashesInterface, SortedSetsInterface};
use fred::types::SetOptions;
use fred::types::scripts::Script;
use fred::types::sorted_sets::ZRange;
use futures_util::future::try_join_all;

use super::keyspace::{Keyspace, UserSlot};
use super::scripts;
use crate::id::{NodeId, UserId};
pub use found::{Look, Owed};
pub use stay::Stay;

/// The most users that one call of a script is about: while it runs, Redis does nothing else.
const BATCH: usize = 500;
/// The most lapsed stays that one beat answers.
const LAPSED: usize = 64;

/// What a beat finds.
#[derive(Debug)]
pub struct Beat {
    /// Whether the lease was renewed; else the stay is over.
    pub is_good: bool,
    /// Stays that are over.
    pub lapsed: Vec<Stay>,
}

/// Who is connected. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Online {
    redis: Client,
    keyspace: Keyspace,
    scripts: Arc<Scripts>,
}

#[derive(Debug)]
struct Scripts {
    beat: Script,
    put: Script,
    take: Script,
    reap: Script,
    read: Script,
    said: Script,
    owed: Script,
    appear: Script,
    look: Script,
}

impl Online {
    /// As this Redis knows it.
    pub fn new(redis: Client, keyspace: Keyspace) -> Self {
        let scripts = Arc::new(Scripts {
            beat: scripts::presence_beat(),
            put: scripts::presence_put(),
            take: scripts::presence_take(),
            reap: scripts::presence_reap(),
            read: scripts::presence_read(),
            said: scripts::presence_said(),
            owed: scripts::presence_owed(),
            appear: scripts::presence_appear(),
            look: scripts::presence_look(),
        });
        Self {
            redis,
            keyspace,
            scripts,
        }
    }

    /// The names of what stands there.
    pub fn keyspace(&self) -> Keyspace {
        self.keyspace
    }

    /// Renews the lease of a stay, or begins it.
    pub async fn beat(&self, stay: Stay, term: Duration, begins: bool) -> Result<Beat, Error> {
        let arguments = vec![
            stay.to_string(),
            term.as_millis().to_string(),
            if begins { "new" } else { "" }.to_owned(),
            LAPSED.to_string(),
        ];
        let answer: Vec<String> = scripts::run(
            &self.scripts.beat,
            &self.redis,
            Keyspace::stays(),
            arguments,
        )
        .await?;
        let (first, lapsed) = answer.split_first().ok_or_else(unexpected)?;
        Ok(Beat {
            is_good: first == "good",
            lapsed: lapsed.iter().filter_map(|stay| stay.parse().ok()).collect(),
        })
    }

    /// Sees to it that whatever this stay notes from now on is taken out some day. To be called before. True if nobody would have.
    pub async fn register(&self, stay: Stay) -> Result<bool, Error> {
        let (absent, lapsed) = (Some(SetOptions::NX), (0.0, stay.to_string()));
        let added: i64 = self
            .redis
            .zadd(Keyspace::stays(), absent, None, false, false, lapsed)
            .await?;
        Ok(added > 0)
    }

    /// Nothing is left of a stay that is over.
    pub async fn forget(&self, stay: Stay) -> Result<(), Error> {
        self.redis.zrem(Keyspace::stays(), stay.to_string()).await
    }

    /// All stays of which something may be left.
    pub async fn stays(&self) -> Result<Vec<Stay>, Error> {
        let (first, last): (ZRange, ZRange) = (0.into(), (-1).into());
        let stays: Vec<String> = self
            .redis
            .zrange(Keyspace::stays(), first, last, None, false, None, false)
            .await?;
        Ok(stays.iter().filter_map(|stay| stay.parse().ok()).collect())
    }

    /// Notes that users are connected. Those whose contacts are to be told, unless it is earlier than `quiet_until` (in microseconds of
    /// Redis's clock).
    pub async fn put(
        &self,
        stay: Stay,
        users: &[UserId],
        quiet_until: u64,
    ) -> Result<Vec<UserId>, Error> {
        let fixed = [stay.to_string(), quiet_until.to_string()];
        self.change(&self.scripts.put, stay, users, &fixed).await
    }

    /// Notes that users are connected no more. Those whose contacts are to be told.
    pub async fn take(&self, stay: Stay, users: &[UserId]) -> Result<Vec<UserId>, Error> {
        let fixed = [stay.to_string()];
        self.change(&self.scripts.take, stay, users, &fixed).await
    }

    async fn change(
        &self,
        script: &Script,
        stay: Stay,
        users: &[UserId],
        fixed: &[String],
    ) -> Result<Vec<UserId>, Error> {
        let calls = batches(users).map(|(slot, users)| async move {
            let keys = self.of_stay(slot, stay);
            let arguments: Vec<String> = fixed.iter().cloned().chain(texts(&users)).collect();
            scripts::run::<Vec<String>, _, _>(script, &self.redis, keys, arguments).await
        });
        let told = try_join_all(calls).await?;
        Ok(told
            .iter()
            .flatten()
            .filter_map(|user| user.parse().ok())
            .collect())
    }

    /// Takes out some of the users of a stay that is over, of every slot. How many, and those whose contacts are to be told.
    pub async fn reap(&self, stay: Stay) -> Result<(usize, Vec<UserId>), Error> {
        let script = &self.scripts.reap;
        let calls = UserSlot::all().map(|slot| async move {
            let arguments = vec![stay.to_string(), BATCH.to_string()];
            scripts::run::<Vec<String>, _, _>(
                script,
                &self.redis,
                self.of_stay(slot, stay),
                arguments,
            )
            .await
        });
        let (mut taken, mut told) = (0, Vec::new());
        for answer in try_join_all(calls).await? {
            let (count, users) = answer.split_first().ok_or_else(unexpected)?;
            taken += count.parse::<usize>().unwrap_or(0);
            told.extend(users.iter().filter_map(|user| user.parse::<UserId>().ok()));
        }
        Ok((taken, told))
    }

    /// What is to be said of users. Those of whom there is nothing to be said are left out.
    pub async fn owed(&self, users: &[UserId]) -> Result<Vec<Owed>, Error> {
        let script = &self.scripts.read;
        let calls = batches(users).map(|(slot, users)| async move {
            let keys = vec![self.keyspace.online(slot), self.keyspace.unsaid(slot)];
            let arguments: Vec<String> = texts(&users).collect();
            let answer: Vec<String> = scripts::run(script, &self.redis, keys, arguments).await?;
            let (position, read) = answer.split_first().ok_or_else(unexpected)?;
            let position = position.parse().map_err(|_| unexpected())?;
            let read = users.iter().zip(read.chunks_exact(2));
            Ok::<_, Error>(
                read.filter_map(|(user, read)| {
                    Owed::read(*user, position, read[0] == "1", &read[1])
                })
                .collect::<Vec<_>>(),
            )
        });
        Ok(try_join_all(calls).await?.into_iter().flatten().collect())
    }

    /// It was said. What has changed since is still to be said.
    pub async fn said(&self, said: &[Owed]) -> Result<(), Error> {
        let entries: HashMap<UserId, &str> = said
            .iter()
            .map(|owed| (owed.user, owed.entry.as_str()))
            .collect();
        let (script, entries) = (&self.scripts.said, &entries);
        let users: Vec<UserId> = entries.keys().copied().collect();
        let calls = batches(&users).map(|(slot, users)| async move {
            let arguments: Vec<String> = users
                .iter()
                .filter_map(|user| Some([user.to_string(), (*entries.get(user)?).to_owned()]))
                .flatten()
                .collect();
            scripts::run::<i64, _, _>(script, &self.redis, self.keyspace.unsaid(slot), arguments)
                .await
        });
        try_join_all(calls).await.map(|_| ())
    }

    /// Takes over what others should have said this long ago, or some of it.
    pub async fn overdue(&self, age: Duration) -> Result<Vec<UserId>, Error> {
        let script = &self.scripts.owed;
        let calls = UserSlot::all().map(|slot| async move {
            let arguments = vec![age.as_micros().to_string(), BATCH.to_string()];
            scripts::run::<Vec<String>, _, _>(
                script,
                &self.redis,
                self.keyspace.unsaid(slot),
                arguments,
            )
            .await
        });
        let users = try_join_all(calls).await?;
        Ok(users
            .iter()
            .flatten()
            .filter_map(|user| user.parse().ok())
            .collect())
    }

    /// A user wants to be seen otherwise than before. Whether there is anything to be said: the user is connected, or it is still to be said that
    /// it is not.
    pub async fn appear(&self, user: UserId) -> Result<bool, Error> {
        let slot = UserSlot::of(user);
        let keys = vec![self.keyspace.online(slot), self.keyspace.unsaid(slot)];
        let owed: i64 = scripts::run(
            &self.scripts.appear,
            &self.redis,
            keys,
            vec![user.to_string()],
        )
        .await?;
        Ok(owed > 0)
    }

    /// By which nodes these users are connected.
    pub async fn look(&self, users: &[UserId]) -> Result<Look, Error> {
        let script = &self.scripts.look;
        let calls = batches(users).map(|(slot, users)| async move {
            let arguments: Vec<String> = texts(&users).collect();
            let answer: Vec<Option<String>> =
                scripts::run(script, &self.redis, self.keyspace.online(slot), arguments).await?;
            Ok::<_, Error>((users, answer))
        });
        let mut look = Look::default();
        for (users, answer) in try_join_all(calls).await? {
            let (at, stays) = answer.split_first().ok_or_else(unexpected)?;
            let at: u64 = at
                .as_deref()
                .and_then(|at| at.parse().ok())
                .ok_or_else(unexpected)?;
            for (user, stays) in users.into_iter().zip(stays) {
                look.note(user, at, stays.as_deref().map(nodes).unwrap_or_default());
            }
        }
        Ok(look)
    }

    /// What the scripts touch that note who is connected by a stay.
    fn of_stay(&self, slot: UserSlot, stay: Stay) -> Vec<String> {
        vec![
            self.keyspace.online(slot),
            self.keyspace.unsaid(slot),
            self.keyspace.stay_users(slot, stay),
        ]
    }

    /// How many users are connected.
    pub async fn count(&self) -> Result<u64, Error> {
        let pipeline = self.redis.pipeline();
        for slot in UserSlot::all() {
            let () = pipeline.hlen(self.keyspace.online(slot)).await?;
        }
        let counts: Vec<u64> = pipeline.all().await?;
        Ok(counts.iter().sum())
    }
}

/// The users by slot, each once, and no more at a time than a script may be about.
fn batches(users: &[UserId]) -> impl Iterator<Item = (UserSlot, Vec<UserId>)> + use<> {
    let mut slots: Vec<Vec<UserId>> = UserSlot::all().map(|_| Vec::new()).collect();
    let mut seen = HashSet::with_capacity(users.len());
    for user in users {
        if seen.insert(*user) {
            slots[UserSlot::of(*user).index()].push(*user);
        }
    }
    UserSlot::all().zip(slots).flat_map(|(slot, users)| {
        let batches: Vec<_> = users
            .chunks(BATCH)
            .map(|some| (slot, some.to_vec()))
            .collect();
        batches
    })
}

fn texts(users: &[UserId]) -> impl Iterator<Item = String> {
    users.iter().map(UserId::to_string)
}

fn nodes(stays: &str) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    for stay in stays
        .split(',')
        .filter_map(|stay| stay.parse::<Stay>().ok())
    {
        if !nodes.contains(&stay.node) {
            nodes.push(stay.node);
        }
    }
    nodes
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "a script answered what it never does")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stays_of_a_node_are_one_node() {
        let (one, other) = (NodeId::generate(), NodeId::generate());
        let (first, second) = (Stay::first(one), Stay::first(one).next());
        let text = format!("{first},{},{second}", Stay::first(other));
        assert_eq!(nodes(&text), [one, other]);
    }

    #[test]
    fn a_batch_is_of_one_slot_and_bounded() {
        let users: Vec<UserId> = (0..9_000).map(|_| UserId::generate()).collect();
        let twice: Vec<UserId> = users.iter().chain(&users).copied().collect();
        let mut seen = HashSet::new();
        for (slot, users) in batches(&twice) {
            assert!(!users.is_empty() && users.len() <= BATCH);
            for user in users {
                assert_eq!(UserSlot::of(user), slot);
                assert!(seen.insert(user));
            }
        }
        assert_eq!(seen.len(), users.len());
    }
}
