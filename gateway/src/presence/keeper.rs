//! The task that tells Redis who is connected to this node.
//!
//! The hub knows who is; here it is only said that somebody may have come or gone. What gathers within a moment is told together, and nobody
//! who connects waits for it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use confab_shared::id::UserId;
use confab_shared::redis::presence::{Online, Stay};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::announcer::Announcer;
use super::ledger::Ledger;
use super::pending::Pending;
use super::viewer::Viewer;
use crate::hub::Hub;
use crate::hub::socket::{Socket, SocketRef};
use crate::metrics::Metrics;

/// The most users of one flush.
const BATCH: usize = 4_096;
/// How long Redis is left alone after it failed.
const PAUSE: Duration = Duration::from_millis(500);

/// From now on everything is noted by another stay.
#[derive(Debug)]
pub(super) struct Renewal {
    /// Which.
    pub(super) stay: Stay,
    /// Until when nobody is told who is connected, in microseconds of Redis's clock.
    pub(super) quiet_until: u64,
    /// To be said when everybody who is here is noted by it.
    pub(super) done: oneshot::Sender<()>,
}

/// Sockets that are to be shown who is online as soon as others can find them. Those that end meanwhile are not kept for it.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Vec<Arrival>>);

/// One of them.
#[derive(Debug)]
struct Arrival {
    socket: Weak<Socket>,
    /// Whether its client has come back, and may take somebody for online who went meanwhile.
    again: bool,
}

impl Arrivals {
    /// One more.
    pub(super) fn add(&self, socket: &SocketRef, again: bool) {
        let socket = Arc::downgrade(socket);
        self.0.lock().push(Arrival { socket, again });
    }

    fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// What it takes to tell Redis.
pub(super) struct Keeper {
    pub(super) hub: Hub,
    pub(super) online: Online,
    pub(super) stay: Stay,
    pub(super) touched: Arc<Pending>,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) announcer: Announcer,
    pub(super) viewer: Viewer,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tick: Duration,
}

/// Runs until told to stop. Inputs: who may have come or gone; who has lingered long enough; other stays.
pub(super) async fn run(keeper: Keeper, linger: Duration, mut renewals: mpsc::Receiver<Renewal>) {
    let mut state = State {
        ledger: Ledger::new(linger),
        quiet_until: 0,
        waiting: Vec::new(),
        renewed: Vec::new(),
        stay: keeper.stay,
        keeper,
    };
    loop {
        let next_to_go = state.ledger.next_to_go();
        let to_go = async {
            match next_to_go {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = state.keeper.touched.some() => tokio::time::sleep(state.keeper.tick).await,
            () = to_go => {}
            Some(renewal) = renewals.recv() => state.begin_anew(renewal),
        }
        let metrics = state.keeper.metrics.clone();
        while let Err(error) = metrics.redis.time("presence", state.flush()).await {
            tracing::debug!(%error, "who is connected is not noted; trying again");
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                Some(renewal) = renewals.recv() => state.begin_anew(renewal),
            }
        }
    }
}

struct State {
    keeper: Keeper,
    stay: Stay,
    quiet_until: u64,
    ledger: Ledger,
    /// Sockets whose users Redis was not told of yet.
    waiting: Vec<Arrival>,
    /// Who wants to know when everybody is noted.
    renewed: Vec<oneshot::Sender<()>>,
}

impl State {
    fn begin_anew(&mut self, renewal: Renewal) {
        self.stay = renewal.stay;
        self.quiet_until = renewal.quiet_until;
        self.ledger.begin_anew();
        self.renewed.push(renewal.done);
    }

    async fn flush(&mut self) -> Result<(), fred::error::Error> {
        // In this order: whoever is among the sockets is among those who have come.
        self.waiting.append(&mut self.keeper.arrivals.take());
        self.waiting
            .retain(|arrival| arrival.socket.strong_count() > 0);
        let now = Instant::now();
        for user in self.keeper.touched.take(usize::MAX) {
            let is_connected = self.keeper.hub.users().is_connected(user);
            self.ledger.touch(user, is_connected, now);
        }
        loop {
            let coming = self.ledger.coming(BATCH);
            if coming.is_empty() {
                break;
            }
            // Before anything is noted: whatever becomes of this node, somebody takes it out.
            self.keeper.online.register(self.stay).await?;
            let (stay, quiet) = (self.stay, self.quiet_until);
            let put = self.keeper.online.put(stay, &coming, quiet).await;
            self.told(put, &coming)?;
            self.ledger.put(&coming);
        }
        self.show_contacts();
        for done in self.renewed.drain(..) {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        loop {
            let going = self.ledger.going(now, BATCH);
            if going.is_empty() {
                break;
            }
            let taken = self.keeper.online.take(self.stay, &going).await;
            if let Err(error) = self.told(taken, &going) {
                self.ledger.not_taken(&going, now);
                return Err(error);
            }
            self.ledger.taken(&going);
        }
        let here = i64::try_from(self.ledger.len()).unwrap_or(i64::MAX);
        self.keeper.metrics.online.users.set(here);
        Ok(())
    }

    /// Has announced what changed. If no answer came, some of it may have been done: whoever announces finds out.
    fn told(
        &self,
        told: Result<Vec<UserId>, fred::error::Error>,
        asked: &[UserId],
    ) -> Result<(), fred::error::Error> {
        match told {
            Ok(told) => {
                self.keeper.announcer.owe(told);
                Ok(())
            }
            Err(error) => {
                self.keeper.announcer.owe(asked.iter().copied());
                Err(error)
            }
        }
    }

    /// Whose coming others can find by now is shown who is online: either they see that somebody came, or are told of it.
    fn show_contacts(&mut self) {
        let ledger = &self.ledger;
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        self.waiting.retain(|arrival| {
            let Some(socket) = arrival.socket.upgrade() else {
                return false;
            };
            let user = socket.user();
            if ledger.is_noted(user) {
                let ready = if arrival.again {
                    &mut again
                } else {
                    &mut fresh
                };
                ready.push(socket);
                return false;
            }
            ledger.knows(user)
        });
        self.keeper.viewer.show(&fresh, false);
        self.keeper.viewer.show(&again, true);
    }
}
