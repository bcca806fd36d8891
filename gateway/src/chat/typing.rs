//! That a socket's user is typing: passed on seldom, straight to the room, and taken back when it ends.
//!
//! Nothing of it is kept anywhere. Whoever stops in another way than by saying so (its gateway is killed, say) is forgotten by those
//! who show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// That its user types, as it was passed on last.
    stand: Option<Stand>,
    /// From when on all beginnings are free again that were passed on.
    free: Instant,
}

/// Something that others were told and that still stands, unless they were shown since what took it back.
#[derive(Debug)]
struct Stand {
    since: Instant,
    is_over: Arc<AtomicBool>,
}

/// What the user says on its way to others: if they hear it, it takes back what stood when it was said.
#[derive(Debug)]
pub(super) struct Spoken(Arc<AtomicBool>);

impl Spoken {
    /// It is stored: those who are shown it are shown, too, that its user types no more.
    pub(super) fn is_heard(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Said {
    /// What stands, unless it is over.
    fn stand(&self) -> Option<&Stand> {
        let stand = self.stand.as_ref()?;
        (!stand.is_over.load(Ordering::Relaxed)).then_some(stand)
    }
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
            stand: None,
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
            let stood = said.stand().is_some();
            said.stand = None;
            return stood;
        }
        let free = said.free.max(now);
        let is_due = match said.stand() {
            Some(last) => now.duration_since(last.since) >= interval,
            None => free.duration_since(now) <= interval * (BEGINNINGS - 1),
        };
        if is_due {
            said.free = free + interval;
            said.stand = Some(Stand {
                since: now,
                is_over: Arc::default(),
            });
        }
        is_due
    }

    /// Its user says something, and may be refused: until it is heard, what stands is to be taken back by a word of its own.
    pub(super) fn speaks(&mut self, conversation: ConversationId) -> Option<Spoken> {
        let stand = self.of(conversation)?.stand()?;
        Some(Spoken(stand.is_over.clone()))
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
            .filter(|said| said.stand().is_some())
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
        typing.speaks(room).unwrap().is_heard();
        assert!(!typing.turn(room, false, INTERVAL, now + INTERVAL));
        assert!(typing.speaks(room).is_none(), "nothing stands");
    }

    #[test]
    fn only_what_is_heard_takes_back_and_only_what_stood_then() {
        let (mut typing, room, now) = (Typing::new(), ConversationId::generate(), Instant::now());
        typing.note(room, None, now);
        assert!(typing.turn(room, true, INTERVAL, now));
        let refused = typing.speaks(room).unwrap();
        drop(refused);
        assert!(
            typing.turn(room, false, INTERVAL, now),
            "others still saw it"
        );

        assert!(typing.turn(room, true, INTERVAL, now));
        let late = typing.speaks(room).unwrap();
        assert!(typing.turn(room, false, INTERVAL, now));
        assert!(typing.turn(room, true, INTERVAL, now));
        late.is_heard();
        assert!(typing.turn(room, false, INTERVAL, now), "she typed again");
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
