//! Which users of this node Redis has to be told of, and when.
//!
//! Pure: it is told who has come and gone, and what Redis has noted. Whoever comes back within the linger was never away.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use confab_shared::id::UserId;

/// Where a user of this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connected, which Redis is to be told; it may know already if that was tried.
    Owed { tried: bool },
    /// Connected, and Redis knows.
    Noted,
    /// Not connected any more, and to be taken out then.
    Leaving {
        until: Instant,
        /// Whether Redis knows by the present stay.
        is_noted: bool,
    },
}

/// The users of this node.
#[derive(Debug)]
pub(super) struct Ledger {
    users: HashMap<UserId, Phase>,
    /// Those who are [`Phase::Owed`].
    owed: HashSet<UserId>,
    /// Those who are leaving, the first to go first. Who has come back since is still among them.
    leaving: VecDeque<(Instant, UserId)>,
    linger: Duration,
}

impl Ledger {
    /// Nobody.
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            users: HashMap::new(),
            owed: HashSet::new(),
            leaving: VecDeque::new(),
            linger,
        }
    }

    /// How many there are, those who linger included.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether Redis was told that a user is here.
    pub(super) fn is_noted(&self, user: UserId) -> bool {
        self.users.get(&user) == Some(&Phase::Noted)
    }

    /// Whether a user is here, or is on the way out.
    pub(super) fn knows(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// A user has come or gone, or may have.
    pub(super) fn touch(&mut self, user: UserId, is_connected: bool, now: Instant) {
        let until = now + self.linger;
        let mut entry = match self.users.entry(user) {
            Entry::Vacant(entry) => {
                if is_connected {
                    entry.insert(Phase::Owed { tried: false });
                    self.owed.insert(user);
                }
                return;
            }
            Entry::Occupied(entry) => entry,
        };
        match (*entry.get(), is_connected) {
            (Phase::Owed { .. } | Phase::Noted, true) | (Phase::Leaving { .. }, false) => {}
            (Phase::Leaving { is_noted: true, .. }, true) => {
                entry.insert(Phase::Noted);
            }
            (Phase::Leaving { .. }, true) => {
                entry.insert(Phase::Owed { tried: true });
                self.owed.insert(user);
            }
            (Phase::Owed { tried: false }, false) => {
                // Nobody ever knew.
                entry.remove();
                self.owed.remove(&user);
            }
            (phase @ (Phase::Owed { tried: true } | Phase::Noted), false) => {
                let is_noted = phase == Phase::Noted;
                entry.insert(Phase::Leaving { until, is_noted });
                self.owed.remove(&user);
                self.leaving.push_back((until, user));
            }
        }
    }

    /// Some of those of whom Redis is to be told now.
    pub(super) fn coming(&mut self, most: usize) -> Vec<UserId> {
        let some: Vec<UserId> = self.owed.iter().take(most).copied().collect();
        for user in &some {
            self.users.insert(*user, Phase::Owed { tried: true });
        }
        some
    }

    /// Redis was told of these.
    pub(super) fn put(&mut self, users: &[UserId]) {
        for user in users {
            if self.owed.remove(user) {
                self.users.insert(*user, Phase::Noted);
            }
        }
    }

    /// When the next one has lingered long enough.
    pub(super) fn next_to_go(&self) -> Option<Instant> {
        self.leaving.front().map(|(until, _)| *until)
    }

    /// Some of those who are to be taken out now. They are, or [are not](Self::not_taken).
    pub(super) fn going(&mut self, now: Instant, most: usize) -> Vec<UserId> {
        let mut some = Vec::new();
        while some.len() < most
            && let Some((until, user)) = self.leaving.front().copied()
            && until <= now
        {
            self.leaving.pop_front();
            let phase = self.users.get(&user);
            if matches!(phase, Some(Phase::Leaving { until: at, .. }) if *at == until) {
                some.push(user);
            }
        }
        some
    }

    /// These were taken out.
    pub(super) fn taken(&mut self, users: &[UserId]) {
        for user in users {
            if matches!(self.users.get(user), Some(Phase::Leaving { .. })) {
                self.users.remove(user);
            }
        }
    }

    /// It is not known whether these were taken out: it is to be tried again, at once.
    pub(super) fn not_taken(&mut self, users: &[UserId], now: Instant) {
        for user in users {
            let is_noted = false;
            let leaving = Phase::Leaving {
                until: now,
                is_noted,
            };
            self.users.insert(*user, leaving);
            self.leaving.push_front((now, *user));
        }
    }

    /// Nothing that was noted so far counts any more.
    pub(super) fn begin_anew(&mut self) {
        for (user, phase) in &mut self.users {
            match phase {
                Phase::Owed { .. } => {}
                Phase::Noted => {
                    *phase = Phase::Owed { tried: true };
                    self.owed.insert(*user);
                }
                Phase::Leaving { is_noted, .. } => *is_noted = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(5);

    fn ledger() -> (Ledger, UserId, Instant) {
        (Ledger::new(LINGER), UserId::generate(), Instant::now())
    }

    fn noted() -> (Ledger, UserId, Instant) {
        let (mut ledger, user, now) = ledger();
        ledger.touch(user, true, now);
        assert_eq!(ledger.coming(9), [user]);
        ledger.put(&[user]);
        assert!(ledger.is_noted(user) && ledger.coming(9).is_empty());
        (ledger, user, now)
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        let (mut ledger, user, now) = noted();
        ledger.touch(user, false, now);
        assert!(!ledger.is_noted(user));
        ledger.touch(user, true, now + LINGER / 2);
        assert!(ledger.is_noted(user));
        assert!(ledger.going(now + LINGER * 2, 9).is_empty());
        // Another going is another linger.
        ledger.touch(user, false, now + LINGER * 2);
        assert!(ledger.going(now + LINGER * 2, 9).is_empty());
        assert_eq!(ledger.going(now + LINGER * 3, 9), [user]);
        ledger.taken(&[user]);
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn who_was_here_for_a_moment_is_not_mentioned_unless_it_may_have_been() {
        let (mut ledger, user, now) = ledger();
        ledger.touch(user, true, now);
        ledger.touch(user, false, now);
        assert_eq!((ledger.len(), ledger.coming(9).len()), (0, 0));
        ledger.touch(user, true, now);
        assert_eq!(ledger.coming(9), [user]);
        // No answer came.
        ledger.touch(user, false, now);
        assert!(ledger.coming(9).is_empty());
        assert_eq!(ledger.going(now + LINGER, 9), [user]);
        ledger.not_taken(&[user], now + LINGER);
        // Whether it is noted is unknown: who comes back is noted again.
        ledger.touch(user, true, now + LINGER);
        assert!(ledger.going(now + LINGER, 9).is_empty());
        assert_eq!(ledger.coming(9), [user]);
    }

    #[test]
    fn a_new_stay_owes_everybody_who_is_here() {
        let (mut ledger, user, now) = noted();
        let gone = UserId::generate();
        ledger.touch(gone, true, now);
        ledger.coming(9);
        ledger.put(&[gone]);
        ledger.touch(gone, false, now);
        ledger.begin_anew();
        assert_eq!(ledger.coming(9), [user]);
        ledger.put(&[user]);
        // Not noted by the new stay, so coming back is news to it.
        ledger.touch(gone, true, now);
        assert_eq!(ledger.coming(9), [gone]);
    }

    #[test]
    fn no_more_than_asked_for_at_a_time() {
        let (mut ledger, _, now) = ledger();
        let users: Vec<UserId> = (0..10).map(|_| UserId::generate()).collect();
        for user in &users {
            ledger.touch(*user, true, now);
        }
        let first = ledger.coming(4);
        ledger.put(&first);
        let rest = ledger.coming(9);
        assert_eq!((first.len(), rest.len()), (4, 6));
        assert!(first.iter().all(|user| !rest.contains(user)));
        ledger.put(&rest);
        for user in &users {
            ledger.touch(*user, false, now);
        }
        assert_eq!(ledger.going(now + LINGER, 4), users[..4]);
        assert_eq!(ledger.going(now + LINGER, 9), users[4..]);
    }
}
