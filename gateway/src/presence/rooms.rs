//! Who is in which public room, for those who ask and those who come and go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::Profile;
use fred::interfaces::{HashesInterface, SetsInterface};
use tokio::sync::{mpsc, oneshot};

use super::Presence;
use super::task::Command;

/// Why somebody is not in a room.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// As many as may be present are.
    #[error("the room is full")]
    Full,
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] fred::error::Error),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

/// That a socket was let into a room. Unless it stays, it goes with this: whoever asked may have given up waiting.
#[derive(Debug)]
pub struct Entrance {
    pub(super) commands: mpsc::WeakSender<Command>,
    pub(super) room: ConversationId,
    pub(super) user: UserId,
    pub(super) stays: bool,
}

impl Entrance {
    /// The socket counts; whoever has it says when it goes.
    pub fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let command = Command::Exit {
            room: self.room,
            user: self.user,
            on_purpose: true,
            done: None,
        };
        let sent = self
            .commands
            .upgrade()
            .is_some_and(|commands| commands.try_send(command).is_ok());
        if !sent {
            tracing::debug!("somebody who gave up entering a room counts until the node ends");
        }
    }
}

impl Presence {
    /// One more socket of a user is in a room. `most`: how many may be present; none: any number.
    pub async fn enter(
        &self,
        room: ConversationId,
        user: Arc<Profile>,
        most: Option<i32>,
    ) -> Result<Entrance, PresenceError> {
        let (done, entered) = oneshot::channel();
        let command = Command::Enter {
            room,
            user,
            most,
            done,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| PresenceError::Closed)?;
        entered.await.unwrap_or(Err(PresenceError::Closed))
    }

    /// One socket of a user is in a room no more; it may be back soon if it did not leave on purpose. What is returned ends when that is noted, as
    /// far as Redis answers.
    pub async fn exit(
        &self,
        room: ConversationId,
        user: UserId,
        on_purpose: bool,
    ) -> oneshot::Receiver<()> {
        let (done, noted) = oneshot::channel();
        let command = Command::Exit {
            room,
            user,
            on_purpose,
            done: Some(done),
        };
        if self.commands.send(command).await.is_err() {
            tracing::debug!("the node is shutting down; others will note who left");
        }
        noted
    }

    /// How many are present in a room.
    pub async fn count(&self, room: ConversationId) -> Result<u64, fred::error::Error> {
        self.redis.hlen(self.keyspace.present(room)).await
    }

    /// How many are present in each of these rooms.
    pub async fn counts(&self, rooms: &[ConversationId]) -> Result<Vec<u64>, fred::error::Error> {
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let pipeline = self.redis.pipeline();
        for room in rooms {
            let () = pipeline.hlen(self.keyspace.present(*room)).await?;
        }
        pipeline.all().await
    }

    /// In how many rooms somebody is.
    pub async fn active_rooms(&self) -> Result<u64, fred::error::Error> {
        let stays = self.online.stays().await?;
        if stays.is_empty() {
            return Ok(0);
        }
        // One by one, for each may be on a slot of its own.
        let pipeline = self.redis.pipeline();
        for stay in stays {
            let () = pipeline.smembers(self.keyspace.stay_rooms(stay)).await?;
        }
        let sets: Vec<Vec<String>> = pipeline.all().await?;
        let rooms: HashSet<ConversationId> = sets
            .iter()
            .flatten()
            .filter_map(|room| room.parse().ok())
            .collect();
        let rooms: Vec<ConversationId> = rooms.into_iter().collect();
        let counts = self.counts(&rooms).await?;
        let active = counts.iter().filter(|count| **count > 0).count();
        Ok(u64::try_from(active).unwrap_or(u64::MAX))
    }

    /// Who is present in a room, by name.
    pub async fn present(&self, room: ConversationId) -> Result<Vec<Profile>, fred::error::Error> {
        let entries: Vec<String> = self.redis.hvals(self.keyspace.present(room)).await?;
        Ok(by_name(&entries))
    }

    /// So many of those who are present in a room at the most, by name, however many there are; which of them is left to chance.
    pub async fn some_present(
        &self,
        room: ConversationId,
        most: u16,
    ) -> Result<Vec<Profile>, fred::error::Error> {
        let (key, some) = (self.keyspace.present(room), Some((i64::from(most), true)));
        let entries: HashMap<String, String> = self.redis.hrandfield(key, some).await?;
        let entries: Vec<String> = entries.into_values().collect();
        Ok(by_name(&entries))
    }
}

fn by_name(entries: &[String]) -> Vec<Profile> {
    let mut present: Vec<Profile> = entries
        .iter()
        .filter_map(|entry| {
            let (_, profile) = entry.split_once(' ')?;
            serde_json::from_str(profile).ok()
        })
        .collect();
    present.sort_by(|one, other| (&one.username, one.id).cmp(&(&other.username, other.id)));
    present
}
