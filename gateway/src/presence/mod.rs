//! Who is present: who is connected at all, and who is in which public room, across all nodes.
//!
//! Each node counts its own sockets; Redis knows by which nodes' stays somebody is connected, or in a room, so that coming is said once, with the
//! first socket anywhere, and going with the last. What a node put there is taken out by the others when the lease of its stay lapses
//! ([`lease`]); what Redis forgot the nodes put there again. Who comes to a room and goes is said in the room ([`task`]); who connects and is gone
//! is told to those who share a conversation ([`keeper`] → [`announcer`] → [`viewer`]). Owns those keys and announcements; must never know
//! how they are worded.

mod announcer;
mod contacts;
mod keeper;
mod lease;
mod ledger;
mod noted;
mod pending;
mod pieces;
mod plan;
mod rooms;
mod screen;
mod task;
mod timing;
mod viewer;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{NodeId, UserId};
use confab_shared::lifecycle::spawn_vital;
use confab_shared::model::conversation::Participant;
use confab_shared::postgres::users::{self, Account};
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::presence::{Online, Stay};
use confab_shared::seen;
use fred::clients::Client;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::backplane::{Backplane, OnlineInbox};
use crate::hub::Hub;
use crate::hub::socket::SocketRef;
use crate::metrics::Metrics;
use announcer::{Announcer, Means};
use contacts::Finder;
use keeper::{Arrivals, Keeper};
use lease::Lease;
use pending::Pending;
pub use rooms::{Entrance, PresenceError};
use task::{Command, Task};
pub use timing::Timing;
use viewer::Viewer;

/// How often it is tried to announce how somebody wants to be seen, while Redis does not answer, or has not been told that somebody has come.
const WISH_ATTEMPTS: u32 = 240;
/// How long it is waited between two of those.
const WISH_PAUSE: Duration = Duration::from_millis(250);
/// How many changes of the stay may wait.
const RENEWALS: usize = 8;
/// How many wishes may wait. Those who have more wait with them.
const WAITING: usize = 16_384;

/// What it takes to know who is present.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// The names of keys and channels.
    pub keyspace: Keyspace,
    /// A connection for commands.
    pub redis: Client,
    /// The truth.
    pub database: PgPool,
    /// How long to wait for PostgreSQL's answer.
    pub patience: Duration,
    /// Who is connected to this node.
    pub hub: Hub,
    /// The way to other gateways,
    pub backplane: Backplane,
    /// and what they say.
    pub inbox: OnlineInbox,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long things take.
    pub timing: Timing,
    /// The most members of a group that are contacts of each other.
    pub largest_group: u32,
    /// Of how many conversations of a user its contacts are.
    pub most_conversations: usize,
}

/// Who is present. Cheap to clone.
#[derive(Clone)]
pub struct Presence {
    commands: mpsc::Sender<Command>,
    leaving: mpsc::Sender<oneshot::Sender<()>>,
    hub: Hub,
    redis: Client,
    keyspace: Keyspace,
    online: Online,
    database: PgPool,
    touched: Arc<Pending>,
    arrivals: Arc<Arrivals>,
    announcer: Announcer,
    viewer: Viewer,
}

impl Presence {
    /// Starts the tasks that keep this node's part, and show the others'.
    pub fn start(parts: Parts, stop: &CancellationToken) -> Self {
        let (timing, stay) = (parts.timing, Stay::first(parts.node));
        let online = Online::new(parts.redis.clone(), parts.keyspace);
        let (announcer, viewer) = (Announcer::default(), Viewer::default());
        let (touched, arrivals) = (Arc::<Pending>::default(), Arc::<Arrivals>::default());

        let (commands, waiting) = mpsc::channel(WAITING);
        let rooms = commands.downgrade();
        let (redis, linger) = (parts.redis.clone(), timing.room_linger);
        let task = Task::new(redis, parts.keyspace, stay, linger, rooms.clone());
        spawn_vital("presence in rooms", stop, task.run(waiting));

        let keeper = Keeper {
            hub: parts.hub.clone(),
            online: online.clone(),
            stay,
            touched: touched.clone(),
            arrivals: arrivals.clone(),
            announcer: announcer.clone(),
            viewer: viewer.clone(),
            metrics: parts.metrics.clone(),
            tick: timing.tick,
        };
        let (users, renewals) = mpsc::channel(RENEWALS);
        let running = keeper::run(keeper, timing.linger, renewals);
        spawn_vital("who is connected", stop, running);

        let lease = Lease {
            redis: parts.redis.clone(),
            online: online.clone(),
            stay,
            term: timing.term,
            every: timing.beat,
            farewell: timing.linger + timing.beat,
            settling: timing.settling,
            rooms,
            users,
            announcer: announcer.clone(),
            viewer: viewer.clone(),
            metrics: parts.metrics.clone(),
            reaping: Arc::default(),
        };
        let (leaving, asked_to_leave) = mpsc::channel(1);
        let running = lease::run(lease, parts.inbox.memory.clone(), asked_to_leave);
        spawn_vital("lease of presence", stop, running);

        let finder = Finder {
            redis: parts.redis.clone(),
            online: online.clone(),
            database: parts.database.clone(),
            metrics: parts.metrics.clone(),
            patience: parts.patience,
            largest_group: parts.largest_group,
            most_conversations: parts.most_conversations,
            settling: timing.settling,
        };
        let means = Means {
            finder: finder.clone(),
            backplane: parts.backplane,
            metrics: parts.metrics.clone(),
            overdue: timing.overdue,
            round: timing.round,
        };
        spawn_vital("announcing", stop, announcer.clone().run(means));
        let hub = parts.hub.clone();
        let running = viewer
            .clone()
            .run(finder, parts.hub, parts.metrics, parts.inbox);
        spawn_vital("contacts", stop, running);
        Self {
            commands,
            leaving,
            hub,
            redis: parts.redis,
            keyspace: parts.keyspace,
            online,
            database: parts.database,
            touched,
            arrivals,
            announcer,
            viewer,
        }
    }

    /// A user has come, or is gone: the hub knows which. Nobody waits for what becomes of it.
    pub fn touch(&self, user: UserId) {
        self.touched.add([user]);
    }

    /// A socket is to be shown who of its user's contacts is online, if its dialect does, as soon as those can see that the user is. If its client
    /// `has_come_back` to where it was, also who is not, where that is not the same.
    pub fn welcome(&self, socket: &SocketRef, has_come_back: bool) {
        if viewer::is_shown(socket) {
            self.touch(socket.user());
            self.arrivals.add(socket, has_come_back);
            // That may have been seen to before the socket was there to be shown anything.
            self.touch(socket.user());
        }
    }

    /// Who of a user's contacts is online. None if it cannot be found out, or the node is shutting down.
    pub async fn online_contacts(&self, user: UserId) -> Option<Vec<UserId>> {
        self.viewer.ask(user).await
    }

    /// A user wants to be seen as online, or as offline whatever they do. None if there is no such account. What is stored is announced, whatever
    /// becomes of whoever asked; and so is a wish that was stored before, which perhaps nobody was told of.
    pub async fn wish(&self, user: UserId, online: bool) -> Result<Option<Account>, sqlx::Error> {
        let presence = self.clone();
        let wish = tokio::spawn(async move {
            let account = users::set_appears_offline(&presence.database, user, !online).await?;
            if account.is_some() {
                presence.appears(user).await;
            }
            Ok(account)
        });
        wish.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }

    /// How a user wants to be seen stands in PostgreSQL already: its contacts are told, now or as soon as Redis answers.
    pub async fn appears(&self, user: UserId) {
        if self.announce_wish(user).await {
            return;
        }
        let presence = self.clone();
        tokio::spawn(async move {
            for _ in 0..WISH_ATTEMPTS {
                tokio::time::sleep(WISH_PAUSE).await;
                if presence.announce_wish(user).await {
                    return;
                }
            }
            tracing::warn!("how a user wants to be seen was not announced");
        });
    }

    /// Whether that was done, or nobody needs to be told; otherwise it is to be tried again.
    async fn announce_wish(&self, user: UserId) -> bool {
        match self.online.appear(user).await {
            Ok(true) => {
                self.announcer.owe([user]);
                true
            }
            // Redis may not have been told yet who has only just come.
            Ok(false) => !self.hub.users().is_connected(user),
            Err(error) => {
                tracing::debug!(%error, "how a user wants to be seen is not announced; trying again");
                false
            }
        }
    }

    /// Which of these users are connected. None of them if Redis does not say so in time.
    pub async fn connected(&self, users: &[UserId]) -> HashSet<UserId> {
        seen::connected(&self.online, users).await
    }

    /// Notes of these people whether they are online. Nobody is if it cannot be found out in time.
    pub async fn note_online<'a>(&self, people: impl IntoIterator<Item = &'a mut Participant>) {
        seen::note_online(&self.online, &self.database, people).await;
    }

    /// How many users are connected, anywhere.
    pub async fn online_count(&self) -> Result<u64, fred::error::Error> {
        self.online.count().await
    }

    /// The node leaves in order: what it noted stays for as long as its clients may take to come back elsewhere.
    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.leaving.send(done).await.is_ok() && left.await.is_err() {
            tracing::debug!("the node ended before it had left");
        }
    }
}
