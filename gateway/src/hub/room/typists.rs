//! Who is typing in a room, as far as anybody has said so.
//!
//! Pure. Owns what is known of it and how long it holds: a word that is not repeated is forgotten, so that a gateway which dies, or a
//! client which just goes, leaves nobody typing for ever. Must never know who is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::UserId;
use confab_shared::model::account::Profile;
use confab_shared::model::event::{Event, Fact};
use uuid::Uuid;

/// The most people who are shown as typing in one room at a time. It is nothing to anybody who the others are.
const MOST_PEOPLE: usize = 32;
/// The most sockets of one of them that are told apart.
const MOST_SOURCES: usize = 8;

/// Who is typing.
#[derive(Debug)]
pub(super) struct Typists {
    people: Vec<Typist>,
    timeout: Duration,
}

/// Somebody who is typing.
#[derive(Debug)]
struct Typist {
    profile: Arc<Profile>,
    /// On which sockets, and how long that holds.
    sources: Vec<(Uuid, Instant)>,
}

/// That somebody begins to type, or types no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// Who.
    pub(super) user: Arc<Profile>,
    /// Whether it begins.
    pub(super) typing: bool,
}

impl Typists {
    /// Nobody. What is said holds for `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            people: Vec::new(),
            timeout,
        }
    }

    /// Whether an event may change who is typing.
    pub(super) fn concern(&self, event: &Event) -> bool {
        match &event.fact {
            Fact::Typing { .. } => true,
            fact => !self.people.is_empty() && ended(fact).is_some_and(|user| self.has(user)),
        }
    }

    /// Takes an event into account that is about to be shown. Something has to be shown before it where somebody begins or ends.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) -> Option<Turn> {
        match &event.fact {
            Fact::Typing {
                user,
                source,
                typing: true,
            } => self.begin(user, *source, now),
            Fact::Typing {
                user,
                source,
                typing: false,
            } => self.end(user.id, |other| *other == *source),
            fact => self.end(ended(fact)?, |_| true),
        }
    }

    fn begin(&mut self, user: &Arc<Profile>, source: Uuid, now: Instant) -> Option<Turn> {
        let until = now + self.timeout;
        let known = self
            .people
            .iter_mut()
            .find(|typist| typist.profile.id == user.id);
        if let Some(typist) = known {
            let has_room = typist.sources.len() < MOST_SOURCES;
            match typist.sources.iter_mut().find(|(one, _)| *one == source) {
                Some(known) => known.1 = until,
                None if has_room => {
                    typist.sources.push((source, until));
                }
                None => {}
            }
            return None;
        }
        if self.people.len() >= MOST_PEOPLE {
            return None;
        }
        self.people.push(Typist {
            profile: user.clone(),
            sources: vec![(source, until)],
        });
        Some(Turn {
            user: user.clone(),
            typing: true,
        })
    }

    /// These sockets say no more that their user types.
    fn end(&mut self, user: UserId, on: impl Fn(&Uuid) -> bool) -> Option<Turn> {
        let index = self
            .people
            .iter()
            .position(|typist| typist.profile.id == user)?;
        let typist = &mut self.people[index];
        typist.sources.retain(|(source, _)| !on(source));
        typist.sources.is_empty().then(|| Turn {
            user: self.people.swap_remove(index).profile,
            typing: false,
        })
    }

    /// Forgets what was not repeated in time.
    pub(super) fn lapse(&mut self, now: Instant) -> Vec<Turn> {
        self.people
            .extract_if(.., |typist| {
                typist.sources.retain(|(_, until)| *until > now);
                typist.sources.is_empty()
            })
            .map(|typist| Turn {
                user: typist.profile,
                typing: false,
            })
            .collect()
    }

    /// When something will be forgotten next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.people
            .iter()
            .flat_map(|typist| &typist.sources)
            .map(|(_, until)| *until)
            .min()
    }

    /// Who is typing.
    pub(super) fn people(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.people.iter().map(|typist| &typist.profile)
    }

    fn has(&self, user: UserId) -> bool {
        self.people.iter().any(|typist| typist.profile.id == user)
    }
}

/// Who types no more once this has happened, whatever its sockets say: it has said what it typed, or is gone.
fn ended(fact: &Fact) -> Option<UserId> {
    match fact {
        Fact::MessageStored { message, .. } => Some(message.sender.id),
        Fact::MemberRemoved { user, .. } => Some(*user),
        Fact::Exited { user, .. } => Some(user.id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use confab_shared::model::account::AccountRole;
    use confab_shared::model::timestamp::Timestamp;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn person() -> Arc<Profile> {
        Arc::new(Profile {
            id: UserId::generate(),
            username: "ann".into(),
            name: "Ann".into(),
            avatar: None,
            account: AccountRole::User,
        })
    }

    fn says(user: &Arc<Profile>, source: Uuid, typing: bool) -> Event {
        let fact = Fact::Typing {
            user: user.clone(),
            source,
            typing,
        };
        Event {
            seq: None,
            at: Timestamp::now(),
            fact,
        }
    }

    fn turn(user: &Arc<Profile>, typing: bool) -> Turn {
        Turn {
            user: user.clone(),
            typing,
        }
    }

    #[test]
    fn it_begins_once_and_ends_once() {
        let (mut typists, ann, now) = (Typists::new(TIMEOUT), person(), Instant::now());
        let source = Uuid::new_v4();
        let (begins, ends) = (says(&ann, source, true), says(&ann, source, false));
        assert_eq!(typists.hear(&ends, now), None);
        assert_eq!(typists.hear(&begins, now), Some(turn(&ann, true)));
        assert_eq!(typists.hear(&begins, now), None);
        assert_eq!(typists.hear(&ends, now), Some(turn(&ann, false)));
        assert_eq!(typists.hear(&ends, now), None);
        assert_eq!(typists.due(), None);
    }

    #[test]
    fn it_lasts_as_long_as_one_socket_says_so() {
        let (mut typists, ann, now) = (Typists::new(TIMEOUT), person(), Instant::now());
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        typists.hear(&says(&ann, one, true), now);
        typists.hear(&says(&ann, other, true), now + TIMEOUT / 2);
        assert_eq!(typists.hear(&says(&ann, one, false), now), None);
        assert_eq!(typists.lapse(now + TIMEOUT), []);
        assert_eq!(typists.due(), Some(now + TIMEOUT / 2 + TIMEOUT));
        assert_eq!(typists.lapse(now + TIMEOUT * 2), [turn(&ann, false)]);
    }

    #[test]
    fn who_is_gone_types_no_more() {
        let (mut typists, ann, now) = (Typists::new(TIMEOUT), person(), Instant::now());
        typists.hear(&says(&ann, Uuid::new_v4(), true), now);
        typists.hear(&says(&ann, Uuid::new_v4(), true), now);
        let by = UserId::generate();
        let removal = |user| Event {
            seq: None,
            at: Timestamp::now(),
            fact: Fact::MemberRemoved { user, by },
        };
        assert!(!typists.concern(&removal(by)));
        assert!(typists.concern(&removal(ann.id)));
        assert_eq!(typists.hear(&removal(ann.id), now), Some(turn(&ann, false)));
        assert!(!typists.concern(&removal(ann.id)));
    }

    #[test]
    fn a_crowd_is_bounded() {
        let (mut typists, now) = (Typists::new(TIMEOUT), Instant::now());
        for _ in 0..MOST_PEOPLE * 2 {
            let user = person();
            for _ in 0..MOST_SOURCES * 2 {
                typists.hear(&says(&user, Uuid::new_v4(), true), now);
            }
        }
        assert_eq!(typists.people().count(), MOST_PEOPLE);
        assert!(
            typists
                .people
                .iter()
                .all(|one| one.sources.len() <= MOST_SOURCES)
        );
    }
}
