//! A socket as its node keeps it for its recovery: its names, its rooms, and what its client has surely received.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use confab_shared::id::ConversationId;
use confab_shared::model::position::Position;
use parking_lot::Mutex;

use super::keeper;
use super::record::EnteredRoom;
use crate::hub::offset::Offset;
use crate::hub::socket::SocketRef;

/// A socket of this node, as it is kept for its recovery.
#[derive(Debug)]
pub struct Kept {
    /// Its private id; empty where recovery is off.
    pub(super) pid: String,
    /// Its public id.
    pub(super) sid: String,
    pub(super) socket: SocketRef,
    /// Where announcements were when it was connected here. What was so then it did not have to be told.
    pub(super) begun: Position,
    /// The rooms that it has entered.
    pub(super) rooms: Mutex<BTreeMap<ConversationId, EnteredRoom>>,
    progress: Mutex<Progress>,
    pub(super) superseded: AtomicBool,
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
}

impl Kept {
    pub(super) fn new(
        pid: String,
        sid: &str,
        socket: &SocketRef,
        seen: Offset,
        rooms: BTreeMap<ConversationId, EnteredRoom>,
    ) -> Arc<Self> {
        Arc::new(Self {
            pid,
            sid: sid.to_owned(),
            socket: socket.clone(),
            begun: seen.position,
            rooms: Mutex::new(rooms),
            progress: Mutex::new(Progress {
                seen,
                begun: None,
                answered: None,
                refreshed: Instant::now(),
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
        if !offset.is_certain() || offset.position < progress.seen.position {
            return None;
        }
        progress.seen = offset.clone();
        Some(offset.clone())
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.progress.lock().refreshed) >= keeper::REFRESH
    }

    pub(super) fn refreshed(&self, now: Instant) {
        self.progress.lock().refreshed = now;
    }
}
