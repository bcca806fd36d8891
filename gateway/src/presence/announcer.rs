//! Tells the contacts of users whose status has changed.
//!
//! To announce is to find out anew: what a user's status is now, who its contacts are, and where those are connected. That a change is still to be
//! announced stands in Redis together with the change, so that it outlives whoever was about to; and it is struck out only if nothing has
//! changed since it was read. So the last thing that is said of a user is true, however many say it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::UserId;
use confab_shared::postgres::contacts;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use super::contacts::{Finder, Unanswered};
use super::pending::Pending;
use super::pieces::{Divisible, Failures, Piece};
use super::plan::{Plan, plan};
use crate::backplane::Backplane;
use crate::metrics::Metrics;

/// The most users whose statuses are announced together.
const BATCH: usize = 512;
/// How long it is left after it could not be done.
const PAUSE: Duration = Duration::from_millis(500);

/// Whose changes are to be announced by this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Announcer {
    owed: Arc<Pending>,
    look_round: Arc<Notify>,
}

/// What it takes to announce.
pub(super) struct Means {
    pub(super) finder: Finder,
    pub(super) backplane: Backplane,
    pub(super) metrics: Arc<Metrics>,
    /// How old what others should have announced has to be.
    pub(super) overdue: Duration,
    /// How often that is looked for.
    pub(super) round: Duration,
}

/// Why something was not announced.
#[derive(Debug, thiserror::Error)]
enum NotAnnounced {
    #[error(transparent)]
    Redis(#[from] fred::error::Error),
    #[error(transparent)]
    Database(#[from] Unanswered),
    #[error("Redis is being told again who is connected")]
    Unsettled,
}

impl Announcer {
    /// Changes of these users are to be announced, if there are any.
    pub(super) fn owe(&self, users: impl IntoIterator<Item = UserId>) {
        self.owed.add(users);
    }

    /// Somebody who announced is gone.
    pub(super) fn look_round(&self) {
        self.look_round.notify_one();
    }

    /// Runs until told to stop. Inputs: users; a slow clock, and the ends of other nodes, for what those left unsaid; what was announced. What
    /// cannot be announced with others is announced apart from them, and holds nobody else up.
    pub(super) async fn run(self, means: Means) {
        let means = Arc::new(means);
        let mut trouble = Trouble::default();
        let (mut fresh, mut pieces) = (JoinSet::new(), JoinSet::new());
        let mut rounds = tokio::time::interval(means.round);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.owed.some(), if fresh.is_empty() && trouble.failures.has_room() => {}
                () = self.look_round.notified() => self.take_over(&means).await,
                _ = rounds.tick() => self.take_over(&means).await,
                Some(done) = fresh.join_next() => self.settle(&means, done, &mut trouble).await,
                Some(done) = pieces.join_next() => self.settle(&means, done, &mut trouble).await,
            }
            if fresh.is_empty() && trouble.failures.has_room() {
                let users = trouble.leave_out(self.owed.take(BATCH));
                if !users.is_empty() {
                    fresh.spawn(try_to(means.clone(), trouble.failures.piece(users)));
                }
            }
            if pieces.is_empty()
                && let Some(piece) = trouble.failures.next()
            {
                pieces.spawn(try_to(means.clone(), piece));
            }
        }
    }

    /// Sees to what was not announced.
    async fn settle(&self, means: &Means, done: Done, trouble: &mut Trouble) {
        match done {
            Ok((piece, Ok(did))) => {
                if did {
                    trouble.failures.succeeded();
                }
                self.owe(trouble.is_over(&piece.batch));
            }
            Ok((piece, Err(error))) => {
                tracing::debug!(%error, "statuses not announced; trying again");
                match error {
                    NotAnnounced::Database(_) => {
                        if let Some(users) = trouble.failed(piece) {
                            means.give_up(&users).await;
                            self.owe(trouble.is_over(&users));
                        }
                    }
                    NotAnnounced::Redis(_) | NotAnnounced::Unsettled => {
                        trouble.is_over(&piece.batch);
                        self.owe(piece.batch);
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "statuses were not announced");
                trouble.apart.clear();
            }
        }
    }

    async fn take_over(&self, means: &Means) {
        match means.finder.online.overdue(means.overdue).await {
            Ok(users) => self.owe(users),
            Err(error) => tracing::debug!(%error, "what others left unsaid is not known"),
        }
    }
}

/// What could not be announced.
#[derive(Default)]
struct Trouble {
    failures: Failures<Vec<UserId>>,
    /// Who is tried apart from others, and whether there may be more to be said of them meanwhile.
    apart: HashMap<UserId, bool>,
}

impl Trouble {
    /// These without those who are tried apart.
    fn leave_out(&mut self, mut users: Vec<UserId>) -> Vec<UserId> {
        users.retain(|user| match self.apart.get_mut(user) {
            Some(more) => {
                *more = true;
                false
            }
            None => true,
        });
        users
    }

    /// These are tried apart from now on. They come back if they are to be given up.
    fn failed(&mut self, piece: Piece<Vec<UserId>>) -> Option<Vec<UserId>> {
        for user in &piece.batch {
            self.apart.entry(*user).or_insert(false);
        }
        self.failures.failed(piece)
    }

    /// These are not any more. Those of them of whom there may be more to be said.
    fn is_over(&mut self, users: &[UserId]) -> Vec<UserId> {
        let over = users.iter().copied();
        over.filter(|user| self.apart.remove(user) == Some(true))
            .collect()
    }
}

type Done = Result<(Piece<Vec<UserId>>, Result<bool, NotAnnounced>), JoinError>;

impl Divisible for Vec<UserId> {
    fn len(&self) -> usize {
        self.len()
    }

    fn divide(self, most: usize) -> Vec<Self> {
        self.chunks(most).map(<[UserId]>::to_vec).collect()
    }
}

async fn try_to(
    means: Arc<Means>,
    piece: Piece<Vec<UserId>>,
) -> (Piece<Vec<UserId>>, Result<bool, NotAnnounced>) {
    let done = means.announce(&piece.batch).await;
    if done.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    (piece, done)
}

impl Means {
    /// These cannot be announced: nobody is to try it any more until they change again.
    async fn give_up(&self, users: &[UserId]) {
        for user in users {
            tracing::warn!(%user, "the contacts of a user cannot be told of a change; given up");
            self.metrics.online.given_up_total.inc();
        }
        let online = &self.finder.online;
        let struck = async { online.said(&online.owed(users).await?).await };
        if let Err(error) = struck.await {
            tracing::debug!(%error, "what was given up will be tried again");
        }
    }

    /// Announces what there is to be said of these. False if there is nothing.
    async fn announce(&self, users: &[UserId]) -> Result<bool, NotAnnounced> {
        // In this order: what changes after it was read here is announced once more, and who connects after contacts were looked up sees it
        // for himself.
        let finder = &self.finder;
        let owed = finder.online.owed(users).await?;
        let Some(earliest) = owed.iter().map(|owed| owed.position).min() else {
            return Ok(false);
        };
        if !finder.is_settled(earliest).await? {
            return Err(NotAnnounced::Unsettled);
        }
        let asked: Vec<UserId> = owed.iter().map(|owed| owed.user).collect();
        let read = async {
            tokio::try_join!(
                finder.circles(&asked),
                contacts::appearances(&finder.database, &asked),
            )
        };
        let (circles, appearances) = finder.answered(read).await?;
        let hidden: HashSet<UserId> = appearances
            .iter()
            .filter(|one| one.appears_offline)
            .map(|one| one.id)
            .collect();
        let members: Vec<UserId> = circles
            .iter()
            .flat_map(|circle| &circle.members)
            .copied()
            .collect();
        let look = finder.look_up(&members).await?;
        let Plan {
            messages,
            last_seen,
            changes,
            told,
        } = plan(&owed, &circles, &hidden, &look);
        let telling = self.backplane.tell(&messages);
        self.metrics.redis.time("publish", telling).await?;
        let noted = contacts::note_last_seen(&finder.database, &last_seen);
        finder.answered(noted).await?;
        finder.online.said(&owed).await?;
        self.metrics.online.announced_total.inc_by(changes);
        self.metrics.online.told_total.inc_by(told);
        Ok(true)
    }
}
