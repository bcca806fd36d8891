//! That a socket's user is typing: passed on seldom, straight to the room, and taken back when it ends.
//!
//! Nothing of it is kept anywhere. Whoever stops in another way than by saying so (its gateway is killed, say) is forgotten by those
//! who show it.

use std::time::{Duration, Instant};

use confab_shared::id::ConversationId;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::timestamp::Timestamp;
use uuid::Uuid;

use super::socket::UserSocket;
use crate::dialect::RoomName;

/// In how many conversations a socket is remembered to type.
const MOST: usize = 32;
/// How many beginnings are passed on at once: whoever stops and thinks again is seen to. Then one in a while, as long as it goes on.
const BEGINNINGS: u32 = 3;

/// What a socket has said of its user's typing.
#[derive(Debug)]
pub(super) struct Typing {
    /// What tells this socket from all others.
    source: Uuid,
    said: Vec<Said>,
}

/// What it has said of one conversation.
#[derive(Debug)]
struct Said {
    conversation: ConversationId,
    /// When it was looked whether it may.
    checked: Instant,
    /// Why it may not.
    refusal: Option<Rejection>,
    /// When it was last passed on that its user types, while that still stands.
    stands_since: Option<Instant>,
    /// From when on all beginnings are free again that were passed on.
    free: Instant,
}

impl Typing {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            source: Uuid::new_v4(),
            said: Vec::new(),
        }
    }

    fn of(&mut self, conversation: ConversationId) -> Option<&mut Said> {
        self.said
            .iter_mut()
            .find(|said| said.conversation == conversation)
    }

    /// Whether it may be looked whether it may. Not while as many conversations as are remembered are typed in: one that was forgotten would
    /// begin anew with all its beginnings free.
    fn has_room_for(
        &mut self,
        conversation: ConversationId,
        interval: Duration,
        now: Instant,
    ) -> bool {
        if self.said.len() < MOST || self.of(conversation).is_some() {
            return true;
        }
        // Those who show it forget it as well.
        let at_rest = |said: &Said| said.free <= now && now >= said.checked + interval;
        let forgotten = self.said.iter().position(at_rest);
        forgotten
            .map(|index| self.said.swap_remove(index))
            .is_some()
    }

    /// It was looked whether it may. There must be [room](Self::has_room_for).
    fn note(&mut self, conversation: ConversationId, refusal: Option<Rejection>, now: Instant) {
        if let Some(said) = self.of(conversation) {
            (said.checked, said.refusal) = (now, refusal);
            return;
        }
        self.said.push(Said {
            conversation,
            checked: now,
            refusal,
            stands_since: None,
            free: now,
        });
    }

    /// Whether something is to be passed on.
    fn turn(
        &mut self,
        conversation: ConversationId,
        typing: bool,
        interval: Duration,
        now: Instant,
    ) -> bool {
        let Some(said) = self.of(conversation) else {
            return false;
        };
        if !typing {
            return said.stands_since.take().is_some();
        }
        let free = said.free.max(now);
        let is_due = match said.stands_since {
            Some(last) => now.duration_since(last) >= interval,
            None => free.duration_since(now) <= interval * (BEGINNINGS - 1),
        };
        if is_due {
            (said.stands_since, said.free) = (Some(now), free + interval);
        }
        is_due
    }

    /// Its user has said something: those who are shown that are shown, too, that it types no more.
    pub(super) fn spoke(&mut self, conversation: ConversationId) {
        if let Some(said) = self.of(conversation) {
            said.stands_since = None;
        }
    }
}

impl UserSocket {
    /// The user types, or types no more.
    pub(super) async fn types(
        &mut self,
        room: &RoomName,
        typing: bool,
    ) -> Result<(), RequestError> {
        let conversation = self.resolve(room).await?;
        let interval = Duration::from_millis(self.node.config.sockets.typing_interval_ms);
        let now = Instant::now();
        let is_fresh = self
            .typing
            .of(conversation)
            .is_some_and(|said| now.duration_since(said.checked) < interval);
        if !is_fresh {
            if !self.typing.has_room_for(conversation, interval, now) {
                return Ok(());
            }
            let refusal = match self.may_type(conversation).await {
                Ok(()) => None,
                Err(RequestError::Rejected(rejection)) => Some(rejection),
                Err(error) => return Err(error),
            };
            self.typing.note(conversation, refusal, now);
        }
        if let Some(Said {
            refusal: Some(refusal),
            ..
        }) = self.typing.of(conversation)
        {
            return Err(refusal.clone().into());
        }
        if self.typing.turn(conversation, typing, interval, now) {
            self.pass_on(conversation, typing);
        }
        Ok(())
    }

    /// Who listens may; others if they are members. Nobody types in a public room without being there.
    async fn may_type(&self, conversation: ConversationId) -> Result<(), RequestError> {
        let key = self.socket.key();
        if self.kept.is_in(conversation) && self.node.hub.listens(key, conversation).await {
            return Ok(());
        }
        match self.access(conversation).await?.kind {
            ConversationKind::Room => {
                Err(Rejection::new(ErrorCode::Forbidden, "join the room first").into())
            }
            ConversationKind::Direct | ConversationKind::Group => Ok(()),
        }
    }

    /// It leaves a conversation, and types there no more.
    pub(super) fn stop_typing(&mut self, conversation: ConversationId) {
        let turn = self
            .typing
            .turn(conversation, false, Duration::ZERO, Instant::now());
        if turn {
            self.pass_on(conversation, false);
        }
    }

    /// It is gone, and types nowhere any more.
    pub(super) fn stop_typing_anywhere(&mut self) {
        let stands: Vec<ConversationId> = self
            .typing
            .said
            .drain(..)
            .filter(|said| said.stands_since.is_some())
            .map(|said| said.conversation)
            .collect();
        for conversation in stands {
            self.pass_on(conversation, false);
        }
    }

    fn pass_on(&self, conversation: ConversationId, typing: bool) {
        let event = Event {
            seq: None,
            at: Timestamp::now(),
            fact: Fact::Typing {
                user: self.profile.clone(),
                source: self.typing.source,
                typing,
            },
        };
        self.node.backplane.say_in_passing(conversation, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[test]
    fn it_is_passed_on_once_in_a_while_and_taken_back_once() {
        let (mut typing, room, now) = (Typing::new(), ConversationId::generate(), Instant::now());
        typing.note(room, None, now);
        let mut turn = |says, after| typing.turn(room, says, INTERVAL, now + after);
        assert!(!turn(false, Duration::ZERO), "nothing to take back");
        assert!(turn(true, Duration::ZERO));
        assert!(!turn(true, INTERVAL / 2));
        assert!(turn(true, INTERVAL));
        assert!(turn(false, INTERVAL));
        assert!(!turn(false, INTERVAL));
        typing.note(room, None, now + INTERVAL);
        assert!(typing.turn(room, true, INTERVAL, now + INTERVAL));
        typing.spoke(room);
        assert!(!typing.turn(room, false, INTERVAL, now + INTERVAL));
    }

    #[test]
    fn who_begins_again_and_again_is_passed_on_a_few_times() {
        let (mut typing, room, now) = (Typing::new(), ConversationId::generate(), Instant::now());
        typing.note(room, None, now);
        let mut begin_and_stop = |after| {
            let begun = typing.turn(room, true, INTERVAL, now + after);
            (begun, typing.turn(room, false, INTERVAL, now + after))
        };
        for _ in 0..BEGINNINGS {
            assert_eq!(begin_and_stop(Duration::ZERO), (true, true));
        }
        for _ in 0..5 {
            assert_eq!(begin_and_stop(Duration::ZERO), (false, false));
        }
        assert_eq!(begin_and_stop(INTERVAL), (true, true));
        assert_eq!(begin_and_stop(INTERVAL), (false, false));
        for _ in 0..BEGINNINGS {
            assert_eq!(begin_and_stop(INTERVAL * 10), (true, true));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nobody_begins_anew_by_being_forgotten() {
        let (mut typing, now) = (Typing::new(), Instant::now());
        let rooms: Vec<ConversationId> = (0..=MOST).map(|_| ConversationId::generate()).collect();
        let mut passed_on = 0;
        for _ in 0..100 {
            for room in &rooms {
                if typing.has_room_for(*room, INTERVAL, now) {
                    typing.note(*room, None, now);
                }
                passed_on += u32::from(typing.turn(*room, true, INTERVAL, now));
                passed_on += u32::from(typing.turn(*room, false, INTERVAL, now));
            }
        }
        assert_eq!(typing.said.len(), MOST);
        assert_eq!(passed_on, u32::try_from(MOST).unwrap() * BEGINNINGS * 2);
        // Whoever has been at rest for a while makes room.
        let later = now + INTERVAL * BEGINNINGS;
        assert!(typing.has_room_for(rooms[MOST], INTERVAL, later));
        typing.note(rooms[MOST], None, later);
        assert!(typing.turn(rooms[MOST], true, INTERVAL, later));
        assert_eq!(typing.said.len(), MOST);
    }
}
