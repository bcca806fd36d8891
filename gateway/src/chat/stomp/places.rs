//! Where the rooms are in which a client has said something by their slugs: whoever writes a lot has its room looked up seldom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::ConversationId;
use confab_shared::model::content::Slug;
use confab_shared::model::error::ErrorCode;
use parking_lot::Mutex;

/// How many are remembered.
const MOST: usize = 32;
/// For how long: a slug may be another room's, once its own has ended.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Rooms by their slugs, as they were found lately. Cheap to clone: answers that come later may have something forgotten.
#[derive(Debug, Default, Clone)]
pub(super) struct Places(Arc<Mutex<HashMap<Slug, (ConversationId, Instant)>>>);

/// A room that was named by its slug.
#[derive(Debug)]
pub(in crate::chat) struct Named {
    places: Places,
    slug: Slug,
}

impl Named {
    /// What was to be done there is refused. If it is not there, whoever names it next has it looked for again.
    pub(in crate::chat) fn refused(self, code: ErrorCode) {
        if code == ErrorCode::NotFound {
            self.places.0.lock().remove(&self.slug);
        }
    }
}

impl Places {
    /// The room of this slug, if it was found lately.
    pub(super) fn recall(&self, slug: &Slug, now: Instant) -> Option<ConversationId> {
        let places = self.0.lock();
        let (room, found) = places.get(slug)?;
        (now.duration_since(*found) < REMEMBERED).then_some(*room)
    }

    /// It was found.
    pub(super) fn note(&self, slug: Slug, room: ConversationId, now: Instant) {
        let mut places = self.0.lock();
        if places.len() >= MOST && !places.contains_key(&slug) {
            places.retain(|_, (_, found)| now.duration_since(*found) < REMEMBERED);
            if places.len() >= MOST {
                places.clear();
            }
        }
        places.insert(slug, (room, now));
    }

    /// Something is done in the room of this slug.
    pub(super) fn named(&self, slug: &Slug) -> Named {
        Named {
            places: self.clone(),
            slug: slug.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use confab_gateway_protocol::stomp::Version;
    use confab_shared::id::UserId;
    use confab_shared::model::error::Rejection;
    use confab_shared::telemetry::Traces;

    use super::super::super::answer::Answer;
    use super::*;
    use crate::hub::test_bench::socket;
    use crate::session::stomp::Framing;
    use crate::transport::application::Link;
    use crate::transport::stomp::{Reply, StompLink};

    fn slug(name: &str) -> Slug {
        Slug::parse(name).unwrap()
    }

    #[test]
    fn what_was_found_is_recalled_for_a_while() {
        let (places, now) = (Places::default(), Instant::now());
        let room = ConversationId::generate();
        assert_eq!(places.recall(&slug("a"), now), None);
        places.note(slug("a"), room, now);
        assert_eq!(places.recall(&slug("a"), now), Some(room));
        assert_eq!(places.recall(&slug("b"), now), None);
        assert_eq!(places.recall(&slug("a"), now + REMEMBERED), None);
    }

    #[test]
    fn a_room_that_is_not_there_is_looked_for_again() {
        let (places, now) = (Places::default(), Instant::now());
        let room = ConversationId::generate();
        places.note(slug("a"), room, now);
        places.named(&slug("a")).refused(ErrorCode::Forbidden);
        places.named(&slug("b")).refused(ErrorCode::NotFound);
        assert_eq!(places.recall(&slug("a"), now), Some(room));
        places.named(&slug("a")).refused(ErrorCode::NotFound);
        assert_eq!(places.recall(&slug("a"), now), None);
    }

    #[test]
    fn an_answer_that_a_room_is_not_there_has_it_looked_for_again() {
        let (places, now) = (Places::default(), Instant::now());
        let socket = socket(UserId::generate());
        let link = Link::new(socket.queue().clone());
        let link = StompLink::new(link, Framing::Plain, Version::V1_2);
        let reply = Reply::new(&link, "/app/chat.sendMessage/a", None);
        places.note(slug("a"), ConversationId::generate(), now);
        let mut answer = Answer::to_frame(&Traces::default(), socket, reply);
        answer.names(Some(places.named(&slug("a"))));
        answer.reject(&Rejection::not_found("conversation"));
        assert_eq!(places.recall(&slug("a"), now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (places, now) = (Places::default(), Instant::now());
        for number in 0..10 * MOST {
            let room = ConversationId::generate();
            places.note(slug(&format!("room-{number}")), room, now);
            assert_eq!(
                places.recall(&slug(&format!("room-{number}")), now),
                Some(room)
            );
            assert!(places.0.lock().len() <= MOST);
        }
    }
}
