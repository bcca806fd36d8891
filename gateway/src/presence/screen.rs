//! What the sockets of this node were shown of their users' contacts.
//!
//! Owns what was shown last of each user, and when. Each thing has its moment by Redis's clock: what is older than what was shown of a user, or
//! to a socket, is left out, and what was read is corrected by what was announced since. Must never know how anything is found out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_shared::id::UserId;
use confab_shared::model::timestamp::Timestamp;

use super::contacts::Found;
use super::viewer::{Batch, Wish};
use crate::backplane::{StatusChange, Statuses};
use crate::dialect::{ContactStatus, ContactsOnline, Dialect, Namespace};
use crate::hub::Hub;
use crate::hub::socket::SocketRef;
use crate::metrics::Metrics;

/// For how long it is remembered what was shown of a user: longer than any announcement is under way.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Of how many users it is remembered at the most. Of more, an announcement that was overtaken would be shown.
const MOST_REMEMBERED: usize = 131_072;

/// What was shown of a user last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    position: u64,
    is_online: bool,
    at: Instant,
}

/// What the sockets of this node were shown.
pub(super) struct Screen {
    pub(super) hub: Hub,
    metrics: Arc<Metrics>,
    seen: HashMap<UserId, Seen>,
    /// Whom something was shown of, the latest last.
    log: VecDeque<(Instant, UserId)>,
}

impl Screen {
    pub(super) fn new(hub: Hub, metrics: Arc<Metrics>) -> Self {
        Self {
            hub,
            metrics,
            seen: HashMap::new(),
            log: VecDeque::new(),
        }
    }

    pub(super) fn told(&mut self, Statuses { statuses }: Statuses) {
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
    pub(super) fn show(&self, batch: Batch, mut found: Found) {
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
        for Wish { socket, again, .. } in batch.wishes {
            let Some(socket) = socket.upgrade() else {
                continue;
            };
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

    /// It cannot be found out: these are shown what changes, and whoever asked gets no answer.
    pub(super) fn give_up(&self, batch: &Batch) {
        for user in batch.users() {
            tracing::warn!(%user, "who of a user's contacts is online cannot be found out; given up");
            self.metrics.online.given_up_total.inc();
        }
        for socket in batch.wishes.iter().filter_map(|wish| wish.socket.upgrade()) {
            socket.set_contacts_as_of(0);
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
        self.metrics.online.shown_total.inc();
    }

    pub(super) fn forget(&mut self) {
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
    use confab_shared::lifecycle::Vitals;

    use super::*;
    use confab_shared::telemetry::Traces;

    #[tokio::test]
    async fn what_was_overtaken_is_not_shown() {
        let stop = tokio_util::sync::CancellationToken::new();
        let config =
            confab_shared::config::load::<crate::config::GatewayConfig>(crate::config::DEFAULTS);
        let metrics = Arc::new(Metrics::new().unwrap());
        let (hub, _requests) = Hub::start(
            &config.unwrap().config.hub,
            crate::hub::places::Orders::ONE,
            false,
            &metrics,
            &Traces::default(),
            &Vitals::default(),
            &stop,
        );
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
