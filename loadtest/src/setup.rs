//! Makes the users and conversations of a run.
//!
//! Users go straight into PostgreSQL (a thousand argon2 hashes would take minutes) and get tokens from the cluster's own secret;
//! conversations are made through the real API.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use confab_shared::auth::{InvalidToken, TokenAuthority, WeakSecret};
use confab_shared::config::Environment;
use confab_shared::id::{ConversationId, UserId};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::cluster::{Cluster, ClusterError};
use crate::http::Endpoint;

/// How many conversations are made at once.
const PARALLEL: usize = 8;
/// Longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_hours(6);

/// The users and conversations of a run. Both are named by their index.
#[derive(Debug)]
pub struct Population {
    /// The users; each has one client.
    pub users: Vec<Person>,
    /// The conversations.
    pub rooms: Vec<Room>,
    by_id: HashMap<[u8; 36], u32>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct Person {
    /// Its id.
    pub id: UserId,
    /// What it connects with.
    pub token: String,
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its id.
    pub id: ConversationId,
    /// Its members. The first owns it.
    pub members: Vec<u32>,
}

/// Why a population could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The cluster's description lacks something.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Tokens cannot be signed with the secret.
    #[error("tokens: {0}")]
    Secret(#[from] WeakSecret),
    /// A token was not signed.
    #[error("tokens: {0}")]
    Token(#[from] InvalidToken),
    /// The users could not be inserted.
    #[error("inserting users: {0}")]
    Database(#[from] sqlx::Error),
    /// A conversation could not be made.
    #[error("making conversations: {0}")]
    Api(#[from] io::Error),
}

impl Population {
    /// A population of given users and conversations.
    pub fn new(users: Vec<Person>, rooms: Vec<Room>) -> Self {
        let index = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let by_id = users
            .iter()
            .enumerate()
            .map(|(number, user)| (spelled(user.id.0), index(number)))
            .collect();
        Self {
            users,
            rooms,
            by_id,
        }
    }

    /// Makes `users` users and a group for each list of members.
    pub async fn create(
        cluster: &Cluster,
        database: &PgPool,
        users: u32,
        rooms: Vec<Vec<u32>>,
    ) -> Result<Self, SetupError> {
        let people = insert_users(cluster, database, users).await?;
        let rooms = create_rooms(&cluster.endpoints(), &people, rooms).await?;
        Ok(Self::new(people, rooms))
    }

    /// The client of the user with this id, as it is written in events.
    pub fn client_of(&self, id: &[u8]) -> Option<u32> {
        self.by_id.get(<&[u8; 36]>::try_from(id).ok()?).copied()
    }

    /// The conversations that a client is a member of.
    pub fn rooms_of(&self, client: u32) -> impl Iterator<Item = u32> + '_ {
        (0..)
            .zip(&self.rooms)
            .filter(move |(_, room)| room.members.contains(&client))
            .map(|(index, _)| index)
    }
}

/// An id as it is written in JSON.
pub(crate) fn spelled(id: Uuid) -> [u8; 36] {
    let mut text = [0; 36];
    id.hyphenated().encode_lower(&mut text);
    text
}

async fn insert_users(
    cluster: &Cluster,
    database: &PgPool,
    count: u32,
) -> Result<Vec<Person>, SetupError> {
    let authority =
        TokenAuthority::new(&cluster.secret()?, TOKEN_LIFETIME, Environment::Development)?;
    let run = Uuid::new_v4().simple().to_string();
    let run = &run[..8];
    let ids: Vec<UserId> = (0..count).map(|_| UserId::generate()).collect();
    // Names of one length: events of all senders are laid out alike then, see `client::scan`.
    let names: Vec<String> = (0..count)
        .map(|number| format!("load_{run}_{number:06}"))
        .collect();
    // The hash matches no password: nobody logs in as one of these.
    sqlx::query(
        "INSERT INTO users (id, email, username, name, password_hash)
         SELECT id, username || '@load.invalid', username, username, '!'
         FROM unnest($1::uuid[], $2::text[]) AS new (id, username)",
    )
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(&names)
    .execute(database)
    .await?;
    ids.into_iter()
        .map(|id| {
            Ok(Person {
                id,
                token: authority.issue(id, 0)?,
            })
        })
        .collect()
}

#[derive(Deserialize)]
struct Made {
    #[serde(alias = "_id")]
    id: ConversationId,
}

async fn create_rooms(
    endpoints: &[Endpoint],
    people: &[Person],
    rooms: Vec<Vec<u32>>,
) -> Result<Vec<Room>, SetupError> {
    let endpoints: Arc<[Endpoint]> = endpoints.into();
    let mut made: Vec<Option<Room>> = vec![None; rooms.len()];
    let mut tasks = JoinSet::new();
    let mut waiting = rooms.into_iter().enumerate();
    loop {
        while tasks.len() < PARALLEL {
            let Some((index, members)) = waiting.next() else {
                break;
            };
            let person = |client: &u32| people.get(usize::try_from(*client).unwrap_or(usize::MAX));
            let everybody: Vec<&Person> = members.iter().filter_map(person).collect();
            let Some((owner, others)) = everybody.split_first() else {
                continue;
            };
            let body = json!({
                "participantIds": others.iter().map(|other| other.id).collect::<Vec<_>>(),
                "type": "group",
                "name": format!("load {index}"),
            });
            let (token, endpoints) = (owner.token.clone(), Arc::clone(&endpoints));
            tasks.spawn(async move {
                let endpoint = &endpoints[index % endpoints.len()];
                let answer = endpoint
                    .call("POST", "/conversations", Some(&token), Some(&body))
                    .await?;
                let id = answer.json::<Made>()?.id;
                Ok::<_, io::Error>((index, Room { id, members }))
            });
        }
        let Some(done) = tasks.join_next().await else {
            break;
        };
        let (index, room) = done.map_err(io::Error::other)??;
        made[index] = Some(room);
    }
    Ok(made.into_iter().flatten().collect())
}
