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

/// A room that a socket has entered, or is about to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inside {
    pub(super) entered: EnteredRoom,
    /// Whether that was noted in its record before its client was told, as it has to be.
    pub(super) is_noted: bool,
}

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
    pub(super) rooms: Mutex<BTreeMap<ConversationId, Inside>>,
    progress: Mutex<Progress>,
    superseded: AtomicBool,
}

/// What is known of a client's receipt.
#[derive(Debug)]
struct Progress {
    seen: Offset,
    /// Whether its record may not say that yet.
    is_unsaved: bool,
    /// Whether its record may differ from what is known here in another way: something was written to it, and nobody knows whether it stands
    /// there, or will.
    is_amiss: bool,
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
        let noted = |entered| Inside {
            entered,
            is_noted: true,
        };
        let rooms = rooms
            .into_iter()
            .map(|(room, entered)| (room, noted(entered)));
        Arc::new(Self {
            pid,
            sid: sid.to_owned(),
            turn,
            socket: socket.clone(),
            rooms: Mutex::new(rooms.collect()),
            progress: Mutex::new(Progress {
                seen,
                is_unsaved: false,
                is_amiss: false,
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

    /// Whether it may have joined this room, and nobody has noted that, so that its client was not told.
    pub fn may_be_in(&self, conversation: ConversationId) -> bool {
        self.unnoted(conversation).is_some()
    }

    /// Its client was told that it is connected, and what it had missed.
    pub fn begin(&self) {
        self.progress.lock().begun = Some(Instant::now());
    }

    /// It is about to join a room.
    pub fn enter(&self, conversation: ConversationId, entered: EnteredRoom) {
        self.rooms.lock().entry(conversation).or_insert(Inside {
            entered,
            is_noted: false,
        });
    }

    /// It has joined a room, which is noted next.
    pub(super) fn about_to_note(&self, conversation: ConversationId, entered: EnteredRoom) {
        let inside = Inside {
            entered,
            is_noted: false,
        };
        self.rooms.lock().insert(conversation, inside);
    }

    /// That it is in a room is noted.
    pub(super) fn noted(&self, conversation: ConversationId) {
        if let Some(inside) = self.rooms.lock().get_mut(&conversation) {
            inside.is_noted = true;
        }
    }

    /// Whatever was noted, it is not in this room now: it was put out of it.
    pub fn is_out(&self, conversation: ConversationId) {
        if let Some(inside) = self.rooms.lock().get_mut(&conversation) {
            inside.is_noted = false;
        }
    }

    /// How it entered a room, if that was not noted.
    pub(super) fn unnoted(&self, conversation: ConversationId) -> Option<EnteredRoom> {
        let rooms = self.rooms.lock();
        let inside = rooms.get(&conversation).filter(|inside| !inside.is_noted)?;
        Some(inside.entered)
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

    /// What the client has surely received, unless its record says so already.
    pub(super) fn unsaved(&self, notes: &VecDeque<(Instant, Offset)>) -> Option<Offset> {
        let answered = self.socket.queue().received_until();
        let mut progress = self.progress.lock();
        if let Some(seen) = answered.and_then(|answered| progress.look(answered, notes)) {
            (progress.seen, progress.is_unsaved) = (seen, true);
        }
        progress.is_unsaved.then(|| progress.seen.clone())
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        let progress = self.progress.lock();
        progress.is_amiss || now.duration_since(progress.refreshed) >= keeper::REFRESH
    }

    /// Its record stands in Redis, and says what the client has received, as far as that was known when that was looked at last.
    pub(super) fn refreshed(&self, now: Instant) {
        let mut progress = self.progress.lock();
        (progress.refreshed, progress.missing) = (now, None);
        progress.is_unsaved = false;
    }

    /// Whether its record may differ from what is known here.
    pub(super) fn is_amiss(&self) -> bool {
        self.progress.lock().is_amiss
    }

    /// Its record is about to be written anew.
    pub(super) fn begin_anew(&self) -> Noting<'_> {
        self.progress.lock().is_amiss = false;
        self.begin_noting()
    }

    /// Something is about to be written to its record.
    pub(super) fn begin_noting(&self) -> Noting<'_> {
        Noting {
            kept: self,
            is_done: false,
        }
    }

    /// Its record is not there. Whether its client is surely here all the same: it has answered a ping since that was found out first. Whoever
    /// went elsewhere had done so before, while there was a record.
    pub(super) fn is_here_without_record(&self, now: Instant) -> bool {
        let missing = *self.progress.lock().missing.get_or_insert(now);
        let answered = self.socket.queue().received_until();
        answered.is_some_and(|answered| answered > missing)
    }
}

impl Progress {
    /// What a client has received that has answered this ping, if more is known of that than when this was asked last.
    fn look(&mut self, answered: Instant, notes: &VecDeque<(Instant, Offset)>) -> Option<Offset> {
        if self.answered == Some(answered) || self.begun.is_none_or(|begun| answered < begun) {
            return None;
        }
        self.answered = Some(answered);
        let until = notes.partition_point(|(noted, _)| *noted <= answered);
        let (_, offset) = notes.get(until.checked_sub(1)?)?;
        let is_more = offset.is_certain() && !self.seen.is_later_than(offset);
        is_more.then(|| offset.clone())
    }
}

/// That something is being written to a socket's record. If nobody hears that it stands there, be it that Redis does not answer or that
/// whoever asked does not wait, the record is amiss.
#[must_use]
pub(super) struct Noting<'a> {
    kept: &'a Kept,
    is_done: bool,
}

impl Noting<'_> {
    /// Redis has said what became of it.
    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.kept.progress.lock().is_amiss = true;
        }
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

    #[test]
    fn what_was_received_is_unsaved_until_the_record_says_it() {
        let socket = socket(UserId::generate());
        let [before, later] = ["1-0", "5-0"].map(|text| text.parse::<Offset>().unwrap());
        let kept = Kept::new("p".into(), "s", 0, &socket, before, BTreeMap::new());
        kept.begin();
        let notes = VecDeque::from([(Instant::now(), later.clone())]);
        assert_eq!(kept.unsaved(&notes), None, "it has answered nothing");
        socket.queue().ping(Bytes::new());
        socket.queue().ponged();
        for _ in 0..2 {
            let unsaved = kept.unsaved(&notes);
            assert_eq!(unsaved, Some(later.clone()), "Redis did not answer");
        }
        kept.refreshed(Instant::now());
        assert_eq!(kept.unsaved(&notes), None);
    }

    #[test]
    fn a_record_is_amiss_unless_it_is_known_what_became_of_what_was_written() {
        let socket = socket(UserId::generate());
        let offset = Offset::default();
        let kept = Kept::new("p".into(), "s", 0, &socket, offset, BTreeMap::new());
        kept.begin_noting().done();
        assert!(!kept.is_due(Instant::now()));
        drop(kept.begin_noting());
        kept.begin_noting().done();
        assert!(kept.is_due(Instant::now()), "the other one may not stand");
        drop(kept.begin_anew());
        assert!(kept.is_amiss());
        let (noting, other) = (kept.begin_anew(), kept.begin_noting());
        drop(other);
        noting.done();
        assert!(kept.is_amiss(), "that may have come later");
        kept.begin_anew().done();
        assert!(!kept.is_amiss());
    }
}
