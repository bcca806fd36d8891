//! A node's stay among those by which somebody may be present: its lease, and the end of others'.
//!
//! One beat a second serves everything that stands under the lease: who is in which public room, and who is connected at all. What a stay that has
//! lapsed left behind is taken out by whoever notices; its holder, if it lives, notes everything anew by another stay, so that neither can take
//! away what the other puts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use confab_shared::redis::presence::{Online, Stay};
use fred::clients::Client;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::announcer::Announcer;
use super::contacts::settled_at;
use super::keeper::Renewal;
use super::task::Command;
use super::viewer::Viewer;
use crate::backplane::memory_name;
use crate::metrics::Metrics;

/// A node's lease on what it notes of those who are present.
pub(super) struct Lease {
    pub(super) redis: Client,
    pub(super) online: Online,
    pub(super) stay: Stay,
    /// How long it is good for without being renewed.
    pub(super) term: Duration,
    /// How often it is renewed.
    pub(super) every: Duration,
    /// How long what is noted outlasts a node that leaves in order: its clients come back elsewhere within that.
    pub(super) farewell: Duration,
    /// How long nodes may take to tell a Redis that lost its memory who is connected.
    pub(super) settling: Duration,
    /// Whoever notes who is in which room,
    pub(super) rooms: mpsc::WeakSender<Command>,
    /// and who is connected.
    pub(super) users: mpsc::Sender<Renewal>,
    pub(super) announcer: Announcer,
    pub(super) viewer: Viewer,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reaping: Arc<Mutex<HashSet<Stay>>>,
}

/// Runs until told to stop. Inputs: a clock; another memory of Redis's; that the node leaves, after which the lease is not renewed.
pub(super) async fn run(
    mut lease: Lease,
    mut memory: watch::Receiver<Option<Arc<str>>>,
    mut leaving: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut beats = tokio::time::interval(lease.every);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut begins, mut lapsed) = (true, HashSet::new());
    let mut known = memory.borrow_and_update().clone();
    loop {
        tokio::select! {
            _ = beats.tick() => {
                let beat = lease.online.beat(lease.stay, lease.term, begins);
                match tokio::time::timeout(lease.term, beat).await {
                    Ok(Ok(beat)) if beat.is_good => {
                        begins = false;
                        lapsed = lease.reap(beat.lapsed, &lapsed);
                    }
                    Ok(Ok(_)) => match memory_name(&lease.redis, lease.online.keyspace()).await {
                        Ok(name) => {
                            tracing::warn!("taken for gone; noting anew who is present here");
                            lease.begin_anew(&name).await;
                            known = Some(name.as_str().into());
                            begins = true;
                            beats.reset_immediately();
                        }
                        Err(error) => tracing::warn!(%error, "lease on who is present not renewed"),
                    },
                    Ok(Err(error)) => tracing::warn!(%error, "lease on who is present not renewed"),
                    Err(_) => tracing::warn!("lease on who is present not renewed in time"),
                }
            }
            Ok(()) = memory.changed() => {
                let name = memory.borrow_and_update().clone();
                let former = std::mem::replace(&mut known, name.clone());
                if let (Some(name), Some(former)) = (name, former)
                    && name != former
                {
                    lease.begin_anew(&name).await;
                    begins = true;
                    beats.reset_immediately();
                }
            }
            Some(done) = leaving.recv() => {
                lease.leave().await;
                // Whoever asked may have given up.
                let _ = done.send(());
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Lease {
    /// Begins another stay, and has everybody noted by it. While Redis's memory is young, that is no news to anybody. Until then nobody else found
    /// those who are here to tell them anything, so they are shown everything again.
    async fn begin_anew(&mut self, memory: &str) {
        let quiet_until = settled_at(memory, self.settling);
        let former = self.stay;
        self.stay = former.next();
        let stay = self.stay;
        let (rooms_done, rooms) = oneshot::channel();
        let (users_done, users) = oneshot::channel();
        if let Some(commands) = self.rooms.upgrade() {
            let done = rooms_done;
            // The node is shutting down if nobody takes it.
            let renewal = Command::Renew {
                stay,
                quiet_until,
                done,
            };
            let _ = commands.send(renewal).await;
        }
        let renewal = Renewal {
            stay,
            quiet_until,
            done: users_done,
        };
        let _ = self.users.send(renewal).await;
        let (online, viewer) = (self.online.clone(), self.viewer.clone());
        let users = async move {
            users.await?;
            viewer.show_everything();
            Ok(())
        };
        tokio::spawn(async move {
            if tokio::try_join!(rooms, users).is_err() {
                return;
            }
            // Something may have been noted by the former stay when nobody looked for it any more.
            if let Err(error) = online.register(former).await {
                tracing::debug!(%error, "a former stay is not tidied up after");
            }
        });
    }

    async fn leave(&self) {
        let beat = self.online.beat(self.stay, self.farewell, false);
        match tokio::time::timeout(self.term, beat).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "who was present here will be taken out soon"),
            Err(_) => tracing::warn!("who was present here will be taken out soon"),
        }
    }

    /// Tidies up after those that were over already when they were looked at last: a Redis that lost its memory may know that somebody is present
    /// before it knows the lease again. Those that were found now.
    fn reap(&self, found: Vec<Stay>, lapsed: &HashSet<Stay>) -> HashSet<Stay> {
        for stay in &found {
            if *stay == self.stay || !lapsed.contains(stay) || !self.reaping.lock().insert(*stay) {
                continue;
            }
            let reaper = Reaper {
                stay: *stay,
                online: self.online.clone(),
                rooms: self.rooms.clone(),
                announcer: self.announcer.clone(),
                metrics: self.metrics.clone(),
            };
            let (stay, reaping) = (*stay, self.reaping.clone());
            tokio::spawn(async move {
                if let Err(error) = reaper.reap().await {
                    tracing::debug!(%error, %stay, "not tidied up after a node; trying again");
                }
                reaping.lock().remove(&stay);
            });
        }
        found.into_iter().collect()
    }
}

/// Takes out what a stay left.
struct Reaper {
    stay: Stay,
    online: Online,
    rooms: mpsc::WeakSender<Command>,
    announcer: Announcer,
    metrics: Arc<Metrics>,
}

impl Reaper {
    async fn reap(&self) -> Result<(), fred::error::Error> {
        let mut count = self.take_out_users().await?;
        if let Some(commands) = self.rooms.upgrade() {
            let (stay, (done, reaped)) = (self.stay, oneshot::channel());
            let asked = commands.send(Command::Reap { stay, done }).await;
            if asked.is_err() || !reaped.await.unwrap_or(false) {
                return Ok(());
            }
        }
        self.online.forget(self.stay).await?;
        // What its node noted between these two, if it was about to.
        count += self.take_out_users().await?;
        // It may have been about to announce something.
        self.announcer.look_round();
        if count > 0 {
            tracing::info!(stay = %self.stay, count, "took out who was connected to a node that is gone");
        }
        Ok(())
    }

    async fn take_out_users(&self) -> Result<u64, fred::error::Error> {
        let mut count = 0;
        loop {
            let (taken, told) = self.online.reap(self.stay).await?;
            self.announcer.owe(told);
            let taken = u64::try_from(taken).unwrap_or(u64::MAX);
            self.metrics.online.reaped_total.inc_by(taken);
            count += taken;
            if taken == 0 {
                return Ok(count);
            }
        }
    }
}
