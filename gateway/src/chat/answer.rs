//! What is needed to answer what a client asked for, at once or later.

use confab_shared::model::error::{Rejection, RequestError};

use crate::dialect::Confirmation;
use crate::hub::socket::SocketRef;
use crate::transport::stomp::Reply;

/// The answer to something that a client asked for.
pub(super) struct Answer {
    socket: SocketRef,
    asked: Asked,
    /// Whether it counts among the socket's requests that wait.
    counted: bool,
}

/// How it was asked for.
enum Asked {
    /// By an event.
    Event { ack_id: Option<u64>, name: Box<str> },
    /// By a SEND. None: it is answered.
    Frame(Option<Reply>),
}

impl Answer {
    /// The answer to an event of this name.
    pub(super) fn new(socket: SocketRef, ack_id: Option<u64>, event: &str) -> Self {
        let name = event.into();
        Self {
            socket,
            asked: Asked::Event { ack_id, name },
            counted: false,
        }
    }

    /// The answer to a SEND.
    pub(super) fn to_frame(socket: SocketRef, reply: Reply) -> Self {
        Self {
            socket,
            asked: Asked::Frame(Some(reply)),
            counted: false,
        }
    }

    /// Who is answered.
    pub(super) fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// Counts it among the socket's requests that wait, if it is not. False if there are `most` already.
    pub(super) fn count(&mut self, most: usize) -> bool {
        self.counted = self.counted || self.socket.begin_request(most);
        self.counted
    }

    /// It is done.
    pub(super) fn confirm(mut self, confirmation: Confirmation<'_>) {
        match &mut self.asked {
            Asked::Event { ack_id, .. } => {
                let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
                let frames = dialect.confirmed(namespace, *ack_id, confirmation);
                if !frames.is_empty() {
                    self.socket.push(frames);
                }
            }
            Asked::Frame(reply) => {
                if let Some(reply) = reply.take() {
                    reply.done();
                }
            }
        }
    }

    /// It is refused.
    pub(super) fn reject(mut self, rejection: &Rejection) {
        match &mut self.asked {
            Asked::Event { ack_id, name } => {
                let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
                self.socket
                    .push(dialect.rejected(namespace, *ack_id, name, rejection));
            }
            Asked::Frame(reply) => {
                if let Some(reply) = reply.take() {
                    reply.refuse(rejection);
                }
            }
        }
    }

    /// It failed. A fault that is ours is logged, once, here.
    pub(super) fn fail(self, error: &RequestError) {
        self.reject(&rejection(error));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.counted {
            self.socket.end_request();
        }
    }
}

/// What is said of something that failed. A fault that is ours is logged.
pub(super) fn rejection(error: &RequestError) -> Rejection {
    if !matches!(error, RequestError::Rejected(_)) {
        tracing::warn!(%error, "a socket's request failed");
    }
    error.rejection()
}
