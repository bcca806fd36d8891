//! How far a client has come in one conversation.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A conversation that the client is a member of.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) conversation: u32,
    pub(super) id: [u8; 36],
    pub(super) joined: bool,
    pub(super) newest_message: i64,
    pub(super) progress: Progress,
    /// Everything up to this `seq` was seen, live or in a history, if the servers kept their promises.
    pub(super) covered: i64,
    /// Whether live events follow on what is covered. Not so after a reconnection, until the history is read.
    pub(super) caught_up: bool,
}

impl Place {
    pub(super) fn new(conversation: u32, id: [u8; 36]) -> Self {
        Self {
            conversation,
            id,
            joined: false,
            newest_message: 0,
            progress: Progress::default(),
            covered: 0,
            caught_up: true,
        }
    }

    /// A message was seen, live or in a history.
    pub(super) fn sees(&mut self, message: i64, seq: i64) {
        self.newest_message = self.newest_message.max(message);
        self.progress.reach(seq);
        if self.caught_up {
            self.covered = self.progress.seq();
        }
    }
}

/// The highest `seq` of a message that a client has seen in a conversation. Shared with whoever waits for it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicI64>);

impl Progress {
    /// The highest `seq` seen.
    pub fn seq(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Only its client raises it.
    fn reach(&self, seq: i64) {
        if seq > self.seq() {
            self.0.store(seq, Ordering::Relaxed);
        }
    }
}
