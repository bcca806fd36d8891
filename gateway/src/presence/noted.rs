//! Who is in which public room, as Redis knows it.
//!
//! Owns how that is noted and announced, by which stay. Who is there, and when that is to be noted, is for the [task](super::task) to know.

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::presence::{Online, Stay};
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::SetsInterface;
use fred::types::Value;
use fred::types::scripts::Script;

/// How many rooms of a node that is gone are tidied up in one go.
const REAPED: usize = 64;

/// Who is to be noted, and how.
pub(super) struct Entering<'a> {
    pub(super) profile: &'a Profile,
    /// By which stay,
    pub(super) stay: Stay,
    /// and by which it is not any more.
    pub(super) former: &'a [Stay],
    /// How many may be present; 0: any number.
    pub(super) most: i32,
    /// Until when nobody is told, in microseconds of Redis's clock.
    pub(super) quiet_until: u64,
}

/// The way there.
pub(super) struct Noted {
    redis: Client,
    online: Online,
    keyspace: Keyspace,
    enter: Script,
    exit: Script,
}

impl Noted {
    /// By this connection.
    pub(super) fn new(redis: Client, keyspace: Keyspace) -> Self {
        Self {
            online: Online::new(redis.clone(), keyspace),
            redis,
            keyspace,
            enter: scripts::room_enter(),
            exit: scripts::room_exit(),
        }
    }

    /// Somebody of a stay is about to be noted in a room: whatever becomes of its node, somebody tidies up there.
    pub(super) async fn begin(&self, stay: Stay, room: ConversationId) -> Result<(), Error> {
        let key = self.keyspace.stay_rooms(stay);
        self.redis.sadd::<(), _, _>(key, room.to_string()).await?;
        self.online.register(stay).await.map(|_| ())
    }

    /// Nobody of a stay is in a room any more, so nobody has to tidy up there. If that is not noted, others look there in vain.
    pub(super) async fn end(&self, stay: Stay, room: ConversationId) {
        let key = self.keyspace.stay_rooms(stay);
        let ended = self.redis.srem::<(), _, _>(key, room.to_string()).await;
        if let Err(error) = ended {
            tracing::debug!(%error, %room, "a room is still noted in which nobody is");
        }
    }

    /// Somebody is in a room. False if it is full.
    pub(super) async fn put(
        &self,
        room: ConversationId,
        entering: Entering<'_>,
    ) -> Result<bool, Error> {
        let json = serde_json::to_string(entering.profile)
            .map_err(|error| Error::new(ErrorKind::InvalidArgument, error.to_string()))?;
        let former: Vec<String> = entering.former.iter().map(Stay::to_string).collect();
        let arguments = vec![
            entering.profile.id.to_string(),
            entering.stay.to_string(),
            json,
            entering.most.to_string(),
            announcement(room, "entered"),
            entering.quiet_until.to_string(),
            former.join(","),
        ];
        let (answer, _present): (String, Value) =
            scripts::run(&self.enter, &self.redis, self.keys(room), arguments).await?;
        Ok(answer != "full")
    }

    /// Takes a user, or everybody, of a stay out of a room.
    pub(super) async fn take(
        &self,
        stay: Stay,
        room: ConversationId,
        user: Option<UserId>,
    ) -> Result<(), Error> {
        let arguments = vec![
            stay.to_string(),
            announcement(room, "exited"),
            user.map(|user| user.to_string()).unwrap_or_default(),
        ];
        let _present: i64 =
            scripts::run(&self.exit, &self.redis, self.keys(room), arguments).await?;
        Ok(())
    }

    fn keys(&self, room: ConversationId) -> Vec<String> {
        vec![self.keyspace.present(room), self.keyspace.room(room)]
    }

    /// Takes out everybody of a stay that is over. Several nodes may do this at once: each user is announced by whoever takes it out.
    pub(super) async fn reap(&self, stay: Stay) -> Result<(), Error> {
        let key = self.keyspace.stay_rooms(stay);
        loop {
            let rooms: Vec<String> = self.redis.srandmember(&key, Some(REAPED)).await?;
            for room in &rooms {
                // To find those of the stay a whole room is read: not where another node was first.
                if !self.redis.sismember::<bool, _, _>(&key, room).await? {
                    continue;
                }
                if let Ok(id) = room.parse() {
                    self.take(stay, id, None).await?;
                }
                // Last: a room is forgotten when nothing is left to do in it.
                self.redis.srem::<(), _, _>(&key, room).await?;
            }
            if rooms.is_empty() {
                return Ok(());
            }
        }
    }
}

/// How a [`RoomBatch`](confab_shared::model::event::RoomBatch) begins that says who came or went: the scripts add the profile and
/// how many are present then.
fn announcement(room: ConversationId, fact: &str) -> String {
    let at = serde_json::to_string(&Timestamp::now()).unwrap_or_default();
    format!(r#"{{"conversation":"{room}","events":[{{"at":{at},"fact":"{fact}","user":"#)
}

#[cfg(test)]
mod tests {
    use confab_shared::model::account::AccountRole;
    use confab_shared::model::event::{Fact, RoomBatch};

    use super::*;

    #[test]
    fn what_the_scripts_put_together_is_a_batch() {
        let (room, user) = (ConversationId::generate(), UserId::generate());
        let profile = Profile {
            id: user,
            username: "ann".into(),
            name: "Ann \"A\"".into(),
            avatar: None,
            account: AccountRole::Guest,
        };
        let json = serde_json::to_string(&profile).unwrap();
        for (name, entered) in [("entered", true), ("exited", false)] {
            let text = announcement(room, name) + &json + ",\"present\":3}]}";
            let batch: RoomBatch = serde_json::from_str(&text).unwrap();
            assert_eq!((batch.conversation, batch.events[0].seq), (room, None));
            match &batch.events[0].fact {
                Fact::Entered { user, present } => {
                    assert!(entered && **user == profile && *present == 3);
                }
                Fact::Exited { user, present } => {
                    assert!(!entered && **user == profile && *present == 3);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
