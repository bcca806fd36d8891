//! What a request of a polling session holds while its slot in the [mailbox](super::mailbox) is taken.
//!
//! Owns what it means that a request is dropped half way: its client has gone. It never looks into a slot.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::mailbox::{Connection, Mailbox, Post};

/// A GET that waits for its answer. The server drops it when its client goes away: that ends the session.
pub(super) struct WaitingPoll {
    mailbox: Arc<Mailbox>,
    answer: oneshot::Receiver<Bytes>,
    is_settled: bool,
}

impl WaitingPoll {
    pub(super) fn new(mailbox: Arc<Mailbox>, answer: oneshot::Receiver<Bytes>) -> Self {
        Self {
            mailbox,
            answer,
            is_settled: false,
        }
    }

    /// The answer; none if the session ended, or moved to a WebSocket, without a word for it.
    pub(super) async fn answered(mut self) -> Option<Bytes> {
        let answer = (&mut self.answer).await;
        self.is_settled = true;
        answer.ok()
    }
}

impl Drop for WaitingPoll {
    fn drop(&mut self) {
        if !self.is_settled {
            self.mailbox.abandoned();
        }
    }
}

/// A POST whose body is being read. Dropped before it is delivered or withdrawn, its body did not come: that ends
/// the session.
pub(super) struct PostTicket {
    mailbox: Arc<Mailbox>,
    is_settled: bool,
}

impl PostTicket {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            mailbox,
            is_settled: false,
        }
    }

    /// The body was read to its end. What comes out says whether its packets were in order, unless the session ended first.
    pub(super) fn deliver(mut self, body: Bytes) -> oneshot::Receiver<bool> {
        let (done, processed) = oneshot::channel();
        self.is_settled = true;
        self.mailbox.put_post(Post { body, done });
        processed
    }

    /// The request was refused; the session goes on.
    pub(super) fn withdraw(mut self) {
        self.is_settled = true;
        self.mailbox.post_done();
    }
}

impl Drop for PostTicket {
    fn drop(&mut self) {
        if !self.is_settled {
            self.mailbox.abandoned();
        }
    }
}

/// A WebSocket connection in the making. Dropped before it is delivered, it has come to nothing, and the session goes on.
pub(crate) struct UpgradeTicket {
    mailbox: Arc<Mailbox>,
    is_settled: bool,
}

impl UpgradeTicket {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            mailbox,
            is_settled: false,
        }
    }

    /// The connection is made.
    pub(crate) fn deliver(mut self, connection: Connection) {
        self.is_settled = true;
        self.mailbox.put_connection(connection);
    }
}

impl Drop for UpgradeTicket {
    fn drop(&mut self) {
        if !self.is_settled {
            self.mailbox.upgrade_failed();
        }
    }
}
