//! A socket as its node keeps it for its recovery: its names, its rooms, and what its client has surely received.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use confab_shared::id::ConversationId;
use parking_lot::Mutex;

use super::keeper;
use super::record::EnteredRoom;
use crate::hub::offset::Offset;
use crate::hub::socket::SocketRef;
use crate::session::DisconnectReason;

/// A socket of this node, as it is kept for its recovery.
#[derive(Debug)]
pub struct Kept {
    /// Its private id; empty where recovery is off.
    pub(super) pid: String,
    /// Its public id.
    pub(super) sid: String,
    /// How often its record had changed hands when this node got it.
    pub(super) turn: u64,
    pub(super) socket: SocketRef,
    /// The rooms that it has entered.
    pub(super) rooms: Mutex<BTreeMap<ConversationId, EnteredRoom>>,
    progress: Mutex<Progress>,
    superseded: AtomicBool,
}

/// What is known of a client's receipt.
#[derive(Debug)]
struct Progress {
    seen: Offset,
    /// When the client was told that it is connected, and what it had missed. Pings from before prove nothing of that.
    begun: Option<Instant>,
    /// The answered ping that was looked at last.
    answered: Option<Instant>,
    refreshed: Instant,
    /// When its record was found to be gone.
    missing: Option<Instant>,
}

impl Kept {
    pub(super) fn new(
        pid: String,
        sid: &str,
        turn: u64,
        socket: &SocketRef,
        seen: Offset,
        rooms: BTreeMap<ConversationId, EnteredRoom>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pid,
            sid: sid.to_owned(),
            turn,
            socket: socket.clone(),
            rooms: Mutex::new(rooms),
            progress: Mutex::new(Progress {
                seen,
                begun: None,
                answered: None,
                refreshed: Instant::now(),
                missing: None,
            }),
            superseded: AtomicBool::new(false),
        })
    }

    /// The rooms that it has joined.
    pub fn rooms(&self) -> Vec<ConversationId> {
        self.rooms.lock().keys().copied().collect()
    }

    /// How many rooms it has joined.
    pub fn room_count(&self) -> usize {
        self.rooms.lock().len()
    }

    /// Whether it has joined this room.
    pub fn is_in(&self, conversation: ConversationId) -> bool {
        self.rooms.lock().contains_key(&conversation)
    }

    /// It has not joined a room after all.
    pub fn exit(&self, conversation: ConversationId) {
        self.rooms.lock().remove(&conversation);
    }

    /// Its client was told that it is connected, and what it had missed.
    pub fn begin(&self) {
        self.progress.lock().begun = Some(Instant::now());
    }

    /// It is about to join a room.
    pub fn enter(&self, conversation: ConversationId, entered: EnteredRoom) {
        self.rooms.lock().entry(conversation).or_insert(entered);
    }

    /// Its client is elsewhere: it ends, and its record is another's.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::SeqCst);
        self.socket.queue().close(DisconnectReason::Superseded);
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::SeqCst)
    }

    pub(super) fn seen(&self) -> Offset {
        self.progress.lock().seen.clone()
    }

    /// What the client has surely received, if more is known of it than when this was asked last.
    pub(super) fn seen_since(&self, notes: &VecDeque<(Instant, Offset)>) -> Option<Offset> {
        let answered = self.socket.queue().received_until()?;
        let mut progress = self.progress.lock();
        if progress.answered == Some(answered)
            || progress.begun.is_none_or(|begun| answered < begun)
        {
            return None;
        }
        progress.answered = Some(answered);
        let until = notes.partition_point(|(noted, _)| *noted <= answered);
        let (_, offset) = notes.get(until.checked_sub(1)?)?;
        if !offset.is_certain() || progress.seen.is_later_than(offset) {
            return None;
        }
        progress.seen = offset.clone();
        Some(offset.clone())
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.progress.lock().refreshed) >= keeper::REFRESH
    }

    /// Its record stands in Redis as it should.
    pub(super) fn refreshed(&self, now: Instant) {
        let mut progress = self.progress.lock();
        (progress.refreshed, progress.missing) = (now, None);
    }

    /// Its record is not there. Whether its client is surely here all the same: it has answered a ping since that was found out first. Whoever
    /// went elsewhere had done so before, while there was a record.
    pub(super) fn is_here_without_record(&self, now: Instant) -> bool {
        let missing = *self.progress.lock().missing.get_or_insert(now);
        let answered = self.socket.queue().received_until();
        answered.is_some_and(|answered| answered > missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_bench::socket;
    use bytes::Bytes;
    use confab_shared::id::UserId;

    #[test]
    fn who_answers_a_ping_after_the_record_was_missed_has_not_gone_elsewhere() {
        let socket = socket(UserId::generate());
        let offset = Offset::default();
        let kept = Kept::new("p".into(), "s", 0, &socket, offset, BTreeMap::new());
        let queue = socket.queue();
        queue.ping(Bytes::new());
        let missed = Instant::now();
        assert!(!kept.is_here_without_record(missed));
        queue.ponged();
        let later = missed + keeper::REFRESH;
        assert!(!kept.is_here_without_record(later), "it was pinged before");
        while Instant::now() <= missed {}
        queue.ping(Bytes::new());
        assert!(!kept.is_here_without_record(later), "it does not answer");
        queue.ponged();
        assert!(kept.is_here_without_record(later));
        kept.refreshed(later);
        assert!(!kept.is_here_without_record(later), "that was another time");
    }
}
