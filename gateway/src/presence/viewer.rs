//! Shows the sockets of this node who of their users' contacts is online: all of them when a socket comes, then what changes.
//!
//! What other nodes announce and what is read for those who come overtake each other. Each has its moment by Redis's clock: what is older than what
//! was shown of a user, or to a socket, is left out, and what was read is corrected by what was announced since. One task does both, so nothing
//! comes between.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::UserId;
use confab_shared::model::timestamp::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::contacts::{Asked, Finder, Found};
use crate::backplane::{OnlineInbox, StatusChange, Statuses};
use crate::dialect::{ContactStatus, ContactsOnline, Dialect, Namespace};
use crate::hub::Hub;
use crate::hub::socket::{Socket, SocketRef};
use crate::metrics::Metrics;

/// The most sockets that are shown their contacts together.
const BATCH: usize = 256;
/// How long those take a rest between two batches who are shown them once more.
const REST: Duration = Duration::from_millis(50);
/// For how long it is remembered what was shown of a user: longer than any announcement is under way.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How often what is older is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// Of how many users it is remembered at the most. Of more, an announcement that was overtaken would be shown.
const MOST_REMEMBERED: usize = 131_072;

/// Who is to be shown what. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Viewer {
    wishes: Arc<Mutex<Wishes>>,
    more: Arc<Notify>,
    everything: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Wishes {
    /// Sockets that have come,
    fresh: VecDeque<Wish>,
    /// that may have missed something,
    again: VecDeque<Wish>,
    /// and whoever just wants to know.
    questions: VecDeque<Question>,
}

/// A socket that is to be shown who is online.
#[derive(Debug)]
struct Wish {
    socket: Weak<Socket>,
    /// Whether it may take somebody for online who is not.
    again: bool,
}

#[derive(Debug)]
struct Question {
    user: UserId,
    answer: oneshot::Sender<Vec<UserId>>,
}

#[derive(Debug, Default)]
struct Batch {
    sockets: Vec<(SocketRef, bool)>,
    questions: Vec<Question>,
    began: Option<Instant>,
}

impl Viewer {
    /// These are to be shown who is online; `again`: and who is not, where that is not the same.
    pub(super) fn show(&self, sockets: &[SocketRef], again: bool) {
        if sockets.is_empty() {
            return;
        }
        let wishes = sockets.iter().map(|socket| Wish {
            socket: Arc::downgrade(socket),
            again,
        });
        let mut all = self.wishes.lock();
        if again {
            all.again.extend(wishes);
        } else {
            all.fresh.extend(wishes);
        }
        drop(all);
        self.more.notify_one();
    }

    /// Nobody elsewhere may have found those who are here for a while: everybody is shown everything again.
    pub(super) fn show_everything(&self) {
        self.everything.notify_one();
    }

    /// Who of a user's contacts is online. None if the node is shutting down.
    pub(super) async fn ask(&self, user: UserId) -> Option<Vec<UserId>> {
        let (answer, found) = oneshot::channel();
        self.wishes
            .lock()
            .questions
            .push_back(Question { user, answer });
        self.more.notify_one();
        found.await.ok()
    }

    fn next(&self) -> Option<Batch> {
        let (mut batch, mut seen) = (Batch::default(), HashSet::new());
        let mut wishes = self.wishes.lock();
        let questions = wishes.questions.len().min(BATCH);
        batch.questions.extend(wishes.questions.drain(..questions));
        batch
            .questions
            .retain(|question| !question.answer.is_closed());
        while batch.sockets.len() + batch.questions.len() < BATCH {
            let Some(wish) = wishes
                .fresh
                .pop_front()
                .or_else(|| wishes.again.pop_front())
            else {
                break;
            };
            let socket = wish.socket.upgrade();
            let Some(socket) = socket.filter(|socket| socket.dialect().shows_contacts()) else {
                continue;
            };
            // One that came and settled on another dialect meanwhile has two wishes.
            if seen.insert(socket.key()) {
                batch.sockets.push((socket, wish.again));
            }
        }
        let is_empty = batch.sockets.is_empty() && batch.questions.is_empty();
        (!is_empty).then_some(batch)
    }

    /// Runs until told to stop. Inputs: announcements; sockets and questions; what was found for those; losses, of what was said or of who is
    /// here, after which everybody is shown everything again.
    pub(super) async fn run(
        self,
        finder: Finder,
        hub: Hub,
        metrics: Arc<Metrics>,
        mut inbox: OnlineInbox,
    ) {
        let finder = Arc::new(finder);
        let mut screen = Screen::new(hub, metrics);
        let mut finding: JoinSet<(Batch, Found)> = JoinSet::new();
        let mut forget = tokio::time::interval(FORGOTTEN);
        loop {
            tokio::select! {
                Some(statuses) = inbox.statuses.recv() => screen.told(statuses),
                Some(found) = finding.join_next() => match found {
                    Ok((batch, found)) => screen.show(batch, found),
                    Err(error) => tracing::error!(%error, "contacts were not shown"),
                },
                () = self.more.notified(), if finding.is_empty() => {}
                Ok(()) = inbox.losses.changed() => self.show_all_again(&screen.hub),
                () = self.everything.notified() => self.show_all_again(&screen.hub),
                _ = forget.tick() => screen.forget(),
            }
            if finding.is_empty()
                && let Some(batch) = self.next()
            {
                finding.spawn(find(finder.clone(), batch));
            }
        }
    }

    fn show_all_again(&self, hub: &Hub) {
        // Those who were to be shown it again anyway are among them.
        self.wishes.lock().again.clear();
        for (user, _) in hub.users().connected() {
            let mut sockets = hub.users().sockets(user);
            sockets.retain(|socket| is_shown(socket));
            self.show(&sockets, true);
        }
    }
}

/// Whether a socket is shown who is online. Guests have no contacts.
pub(super) fn is_shown(socket: &Socket) -> bool {
    socket.dialect().shows_contacts() && socket.token().is_some()
}

async fn find(finder: Arc<Finder>, mut batch: Batch) -> (Batch, Found) {
    let again = batch.sockets.iter().any(|(_, again)| *again);
    if again {
        tokio::time::sleep(REST).await;
    }
    batch.began = Some(Instant::now());
    let sockets = batch.sockets.iter().map(|(socket, _)| socket.user());
    let users = sockets.chain(batch.questions.iter().map(|question| question.user));
    let asked = Asked {
        users: users.collect(),
        with_absent: again,
    };
    let found = finder.find(asked).await;
    (batch, found)
}

/// What was shown of a user last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    position: u64,
    is_online: bool,
    at: Instant,
}

/// What the sockets of this node were shown.
struct Screen {
    hub: Hub,
    metrics: Arc<Metrics>,
    seen: HashMap<UserId, Seen>,
    /// Whom something was shown of, the latest last.
    log: VecDeque<(Instant, UserId)>,
}

impl Screen {
    fn new(hub: Hub, metrics: Arc<Metrics>) -> Self {
        Self {
            hub,
            metrics,
            seen: HashMap::new(),
            log: VecDeque::new(),
        }
    }

    fn told(&mut self, Statuses { statuses }: Statuses) {
        let now = Instant::now();
        for change in statuses {
            if self.note(&change, now) {
                self.show_change(&change);
            }
        }
    }

    /// False if something later was shown of this user.
    fn note(&mut self, change: &StatusChange, at: Instant) -> bool {
        let last = self.seen.get(&change.user).map(|seen| seen.position);
        if last.is_some_and(|last| change.position < last) {
            return false;
        }
        let seen = Seen {
            position: change.position,
            is_online: change.is_online,
            at,
        };
        self.seen.insert(change.user, seen);
        self.log.push_back((at, change.user));
        if self.log.len() > MOST_REMEMBERED {
            self.drop_oldest();
        }
        true
    }

    fn show_change(&self, change: &StatusChange) {
        let status = ContactStatus {
            user: change.user,
            is_online: change.is_online,
            at: change.at,
        };
        let mut encoded: Vec<(&'static str, Namespace, Bytes)> = Vec::new();
        for user in &change.to {
            for socket in self.hub.users().sockets(*user) {
                let (dialect, namespace) = (socket.dialect(), socket.namespace());
                if !dialect.shows_contacts() {
                    continue;
                }
                // It was shown what was true later; or it is still to be shown anything, and this will be part of that.
                if change.position < socket.contacts_as_of() {
                    continue;
                }
                let same = |(id, space, _): &&(&str, Namespace, Bytes)| {
                    (*id, *space) == (dialect.id(), namespace)
                };
                let frames = match encoded.iter().find(same) {
                    Some((.., frames)) => frames.clone(),
                    None => {
                        let frames = dialect.contact(namespace, status);
                        encoded.push((dialect.id(), namespace, frames.clone()));
                        frames
                    }
                };
                socket.push(frames);
            }
        }
    }

    /// Shows what was found, as it is by now.
    fn show(&self, batch: Batch, mut found: Found) {
        let since = batch.began.unwrap_or_else(Instant::now);
        let lately = self.log.iter().rev().take_while(|(at, _)| *at >= since);
        for user in lately.map(|(_, user)| user) {
            if let Some(seen) = self.seen.get(user) {
                found.correct(*user, seen.position, seen.is_online);
            }
        }
        let as_of = found.as_of();
        let found = found.sorted();
        let mut people: HashMap<UserId, Vec<UserId>> = HashMap::new();
        let mut online = |user: UserId| {
            let online = people.entry(user).or_insert_with(|| found.online(user));
            online.clone()
        };
        for question in batch.questions {
            // Whoever asked may have gone.
            let _ = question.answer.send(online(question.user));
        }
        for (socket, again) in batch.sockets {
            let user = socket.user();
            let absent = if again {
                found.absent(user)
            } else {
                Vec::new()
            };
            self.show_contacts(&socket, &online(user), &absent);
            socket.set_contacts_as_of(as_of);
        }
    }

    fn show_contacts(&self, socket: &SocketRef, online: &[UserId], absent: &[(UserId, Timestamp)]) {
        let dialect: &'static dyn Dialect = socket.dialect();
        if !dialect.shows_contacts() {
            return;
        }
        let contacts = ContactsOnline {
            online,
            absent,
            at: Timestamp::now(),
        };
        let frames = dialect.contacts(socket.namespace(), contacts);
        if !frames.is_empty() {
            socket.push(frames);
        }
        self.metrics.online.shown.inc();
    }

    fn forget(&mut self) {
        while self
            .log
            .front()
            .is_some_and(|(at, _)| at.elapsed() > REMEMBERED)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((at, user)) = self.log.pop_front()
            && self.seen.get(&user).is_some_and(|seen| seen.at == at)
        {
            self.seen.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_overtaken_is_not_shown() {
        let stop = tokio_util::sync::CancellationToken::new();
        let config =
            confab_shared::config::load::<crate::config::GatewayConfig>(crate::config::DEFAULTS);
        let metrics = Arc::new(Metrics::new().unwrap());
        let (hub, _requests) = Hub::start(&config.unwrap().config.hub, false, &metrics, &stop);
        let mut screen = Screen::new(hub, metrics);
        let user = UserId::generate();
        let change = |position, is_online| StatusChange {
            user,
            is_online,
            at: Timestamp::now(),
            position,
            to: Vec::new(),
        };
        let now = Instant::now();
        assert!(screen.note(&change(20, true), now));
        assert!(!screen.note(&change(10, false), now));
        assert!(
            screen.note(&change(20, true), now),
            "the rest of those who are told"
        );
        assert!(screen.note(&change(30, false), now));
        assert_eq!(screen.seen.len(), 1);
        for _ in 0..3 {
            screen.drop_oldest();
        }
        assert!(screen.seen.is_empty() && screen.log.is_empty());
    }
}
