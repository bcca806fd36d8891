//! What is needed to answer an event, at once or later.

use confab_shared::model::error::{Rejection, RequestError};

use crate::dialect::Confirmation;
use crate::hub::socket::SocketRef;

/// The answer to an event.
pub(super) struct Answer {
    socket: SocketRef,
    ack_id: Option<u64>,
    event: Box<str>,
    /// Whether it counts among the socket's requests that wait.
    counted: bool,
}

impl Answer {
    /// The answer to an event of this name.
    pub(super) fn new(socket: SocketRef, ack_id: Option<u64>, event: &str) -> Self {
        Self {
            socket,
            ack_id,
            event: event.into(),
            counted: false,
        }
    }

    /// Who is answered.
    pub(super) fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// Counts it among the socket's requests that wait. False if there are `most` already.
    pub(super) fn count(&mut self, most: usize) -> bool {
        self.counted = self.socket.begin_request(most);
        self.counted
    }

    /// It is done.
    pub(super) fn confirm(&self, confirmation: Confirmation<'_>) {
        let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
        let frames = dialect.confirmed(namespace, self.ack_id, confirmation);
        if !frames.is_empty() {
            self.socket.push(frames);
        }
    }

    /// It is refused.
    pub(super) fn reject(&self, rejection: &Rejection) {
        let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
        self.socket
            .push(dialect.rejected(namespace, self.ack_id, &self.event, rejection));
    }

    /// It failed. A fault that is ours is logged, once, here.
    pub(super) fn fail(&self, error: &RequestError) {
        if !matches!(error, RequestError::Rejected(_)) {
            tracing::warn!(%error, "a socket's request failed");
        }
        self.reject(&error.rejection());
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.counted {
            self.socket.end_request();
        }
    }
}
