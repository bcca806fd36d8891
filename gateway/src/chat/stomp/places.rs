//! Where the rooms are in which a client has said something by their slugs: whoever writes a lot has its room looked up seldom.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use confab_shared::id::ConversationId;
use confab_shared::model::content::Slug;

/// How many are remembered.
const MOST: usize = 32;
/// For how long: a slug may be another room's, once its own has ended.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Rooms by their slugs, as they were found lately.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<Slug, (ConversationId, Instant)>);

impl Places {
    /// The room of this slug, if it was found lately.
    pub(super) fn recall(&self, slug: &Slug, now: Instant) -> Option<ConversationId> {
        let (room, found) = self.0.get(slug)?;
        (now.duration_since(*found) < REMEMBERED).then_some(*room)
    }

    /// It was found.
    pub(super) fn note(&mut self, slug: Slug, room: ConversationId, now: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&slug) {
            self.0
                .retain(|_, (_, found)| now.duration_since(*found) < REMEMBERED);
            if self.0.len() >= MOST {
                self.0.clear();
            }
        }
        self.0.insert(slug, (room, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(name: &str) -> Slug {
        Slug::parse(name).unwrap()
    }

    #[test]
    fn what_was_found_is_recalled_for_a_while() {
        let (mut places, now) = (Places::default(), Instant::now());
        let room = ConversationId::generate();
        assert_eq!(places.recall(&slug("a"), now), None);
        places.note(slug("a"), room, now);
        assert_eq!(places.recall(&slug("a"), now), Some(room));
        assert_eq!(places.recall(&slug("b"), now), None);
        assert_eq!(places.recall(&slug("a"), now + REMEMBERED), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut places, now) = (Places::default(), Instant::now());
        for number in 0..10 * MOST {
            let room = ConversationId::generate();
            places.note(slug(&format!("room-{number}")), room, now);
            assert_eq!(
                places.recall(&slug(&format!("room-{number}")), now),
                Some(room)
            );
            assert!(places.0.len() <= MOST);
        }
    }
}
