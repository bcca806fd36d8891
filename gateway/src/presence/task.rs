//! The task that keeps a node's part of who is present.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::presence::Stay;
use fred::clients::Client;
use tokio::sync::{mpsc, oneshot};

use super::noted::{Entering, Noted};
use super::rooms::{Entrance, PresenceError};

/// How often those who linger are looked at.
const TICK: Duration = Duration::from_millis(500);

/// What the task is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// One more socket of a user is in a room.
    Enter {
        room: ConversationId,
        user: Arc<Profile>,
        most: Option<i32>,
        done: oneshot::Sender<Result<Entrance, PresenceError>>,
    },
    /// One less.
    Exit {
        room: ConversationId,
        user: UserId,
        on_purpose: bool,
        /// Dropped when it is done, if anybody wants to know.
        done: Option<oneshot::Sender<()>>,
    },
    /// From now on everything is noted by another stay.
    Renew {
        stay: Stay,
        /// Until when nobody is told who is there, in microseconds of Redis's clock.
        quiet_until: u64,
        /// To be said when everybody is.
        done: oneshot::Sender<()>,
    },
    /// Take out everybody whom a stay left that is over.
    Reap {
        stay: Stay,
        /// Whether it is done.
        done: oneshot::Sender<bool>,
    },
}

/// A user of this node in a room.
struct Here {
    profile: Arc<Profile>,
    sockets: usize,
    /// Whether Redis knows: if it gave no answer, nobody can tell.
    is_noted: bool,
}

/// A node's part.
pub(super) struct Task {
    commands: mpsc::WeakSender<Command>,
    noted: Noted,
    stay: Stay,
    linger: Duration,
    rooms: HashMap<ConversationId, HashMap<UserId, Here>>,
    /// Stays by which somebody here may still be noted.
    former: Vec<Stay>,
    quiet_until: u64,
    /// Who wants to know when everybody is noted by the present stay, if not everybody is.
    renewed: Vec<oneshot::Sender<()>>,
    /// Those whose last socket is gone, until when they count as present all the same.
    leaving: Vec<(Instant, ConversationId, UserId)>,
}

impl Task {
    /// A node's part, empty. `commands` is the way to itself.
    pub(super) fn new(
        redis: Client,
        keyspace: Keyspace,
        stay: Stay,
        linger: Duration,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        Self {
            commands,
            noted: Noted::new(redis, keyspace),
            stay,
            linger,
            rooms: HashMap::new(),
            former: Vec::new(),
            quiet_until: 0,
            renewed: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Serves until everybody who may ask is gone. Inputs: commands; a tick for those who linger, and for what Redis did not take.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.serve(command).await,
                    None => return,
                },
                _ = tick.tick() => {
                    self.renew().await;
                    self.let_go(Instant::now()).await;
                }
            }
        }
    }

    async fn serve(&mut self, command: Command) {
        match command {
            Command::Enter {
                room,
                user,
                most,
                done,
            } => {
                let id = user.id;
                let entered = self.enter(room, user, most).await.map(|()| Entrance {
                    commands: self.commands.clone(),
                    room,
                    user: id,
                    stays: false,
                });
                // Whoever asked may have gone; then what it was let into is left again with the answer.
                let _ = done.send(entered);
            }
            Command::Exit {
                room,
                user,
                on_purpose,
                done,
            } => {
                self.exit(room, user, on_purpose).await;
                drop(done);
            }
            Command::Renew {
                stay,
                quiet_until,
                done,
            } => {
                self.former.push(std::mem::replace(&mut self.stay, stay));
                self.quiet_until = quiet_until;
                self.renewed.push(done);
                self.renew().await;
            }
            Command::Reap { stay, done } => {
                let reaped = self.noted.reap(stay).await;
                if let Err(error) = &reaped {
                    tracing::debug!(%error, %stay, "rooms not tidied up after a node");
                }
                // Whoever asked may have gone.
                let _ = done.send(reaped.is_ok());
            }
        }
    }

    async fn enter(
        &mut self,
        room: ConversationId,
        profile: Arc<Profile>,
        most: Option<i32>,
    ) -> Result<(), PresenceError> {
        let user = profile.id;
        if let Some(here) = self.here(room, user)
            && here.is_noted
        {
            here.sockets += 1;
            // Whoever was about to be taken out is not any more.
            self.leaving.retain(|(_, r, u)| (*r, *u) != (room, user));
            return Ok(());
        }
        // In this order: a node that dies in between leaves nothing that nobody knows of.
        self.noted.begin(self.stay, room).await?;
        let entering = Entering {
            profile: &profile,
            stay: self.stay,
            former: &self.former,
            most: most.unwrap_or(0),
            quiet_until: 0,
        };
        let put = self.noted.put(room, entering).await;
        if matches!(put, Ok(false)) {
            return Err(PresenceError::Full);
        }
        let users = self.rooms.entry(room).or_default();
        let here = users.entry(user).or_insert(Here {
            profile,
            sockets: 0,
            is_noted: false,
        });
        if let Err(error) = put {
            // It may have been done all the same: then it is undone.
            self.leaving.push((Instant::now(), room, user));
            return Err(error.into());
        }
        (here.is_noted, here.sockets) = (true, here.sockets + 1);
        self.leaving.retain(|(_, r, u)| (*r, *u) != (room, user));
        Ok(())
    }

    async fn exit(&mut self, room: ConversationId, user: UserId, on_purpose: bool) {
        let Some(here) = self.here(room, user) else {
            return;
        };
        here.sockets = here.sockets.saturating_sub(1);
        if here.sockets > 0 {
            return;
        }
        let linger = if on_purpose {
            Duration::ZERO
        } else {
            self.linger
        };
        self.leaving.push((Instant::now() + linger, room, user));
        if on_purpose {
            self.let_go(Instant::now()).await;
        }
    }

    fn here(&mut self, room: ConversationId, user: UserId) -> Option<&mut Here> {
        self.rooms.get_mut(&room)?.get_mut(&user)
    }

    /// Takes out those who have lingered long enough.
    async fn let_go(&mut self, now: Instant) {
        if !self.renewed.is_empty() {
            // By which stay they are there is not settled.
            return;
        }
        let due: Vec<_> = self
            .leaving
            .extract_if(.., |(until, ..)| *until <= now)
            .collect();
        for (_, room, user) in due {
            let is_back = self.here(room, user).is_none_or(|here| here.sockets > 0);
            if is_back {
                continue;
            }
            if let Err(error) = self.noted.take(self.stay, room, Some(user)).await {
                tracing::debug!(%error, "somebody who left a room is still noted; trying again");
                if let Some(here) = self.here(room, user) {
                    here.is_noted = false;
                }
                self.leaving.push((now + self.linger, room, user));
                continue;
            }
            if let Entry::Occupied(mut users) = self.rooms.entry(room) {
                users.get_mut().remove(&user);
                if users.get().is_empty() {
                    users.remove();
                    self.noted.end(self.stay, room).await;
                }
            }
        }
    }

    /// Notes everybody anew, by another stay, as soon as Redis takes it.
    async fn renew(&mut self) {
        if self.renewed.is_empty() {
            return;
        }
        match self.restore().await {
            Ok(()) => {
                self.former.clear();
                for done in self.renewed.drain(..) {
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
            }
            Err(error) => tracing::debug!(%error, "who is in which room is not noted anew yet"),
        }
    }

    async fn restore(&self) -> Result<(), fred::error::Error> {
        if self.rooms.is_empty() {
            return Ok(());
        }
        tracing::info!("putting back who is present on this node");
        for (room, users) in &self.rooms {
            self.noted.begin(self.stay, *room).await?;
            for here in users.values() {
                // Whoever was not taken out meanwhile was there all the time, which is no news.
                let entering = Entering {
                    profile: &here.profile,
                    stay: self.stay,
                    former: &self.former,
                    most: 0,
                    quiet_until: self.quiet_until,
                };
                self.noted.put(*room, entering).await?;
            }
        }
        Ok(())
    }
}
