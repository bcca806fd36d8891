//! What is needed to answer what a client asked for, at once or later.

use confab_shared::id::ConversationId;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::telemetry::{Kind, Parent, Span, Traces};

use super::stomp::Named;
use crate::dialect::Confirmation;
use crate::hub::socket::SocketRef;
use crate::transport::stomp::Reply;

/// The answer to something that a client asked for.
pub(super) struct Answer {
    socket: SocketRef,
    asked: Asked,
    /// Whether it counts among the socket's requests that wait.
    counted: bool,
    /// From when it was asked to when it is answered, if that is traced.
    span: Span,
}

/// How it was asked for.
enum Asked {
    /// By an event.
    Event { ack_id: Option<u64>, name: Box<str> },
    /// By a SEND. None: it is answered.
    Frame {
        reply: Option<Reply>,
        /// The room that it is for, if that was named by its slug.
        room: Option<Named>,
    },
}

impl Answer {
    /// The answer to an event of this name.
    pub(super) fn new(
        traces: &Traces,
        socket: SocketRef,
        ack_id: Option<u64>,
        event: &str,
    ) -> Self {
        let mut span = traces.root("unknown event", Kind::Server);
        if span.is_recorded() {
            let dialect = socket.dialect();
            // Clients choose an event's name: only ours become names of spans.
            if dialect.knows(event) {
                span.rename(event.to_owned());
            }
            span.set("confab.dialect", dialect.id());
            span.set("user.id", socket.user().to_string());
        }
        let name = event.into();
        Self {
            socket,
            asked: Asked::Event { ack_id, name },
            counted: false,
            span,
        }
    }

    /// The answer to a SEND.
    pub(super) fn to_frame(traces: &Traces, socket: SocketRef, reply: Reply) -> Self {
        let mut span = traces.root("STOMP SEND", Kind::Server);
        span.describe(|| [("user.id", socket.user().to_string().into())]);
        Self {
            socket,
            asked: Asked::Frame {
                reply: Some(reply),
                room: None,
            },
            counted: false,
            span,
        }
    }

    /// The SEND named a room by its slug.
    pub(super) fn names(&mut self, named: Option<Named>) {
        if let Asked::Frame { room, .. } = &mut self.asked {
            *room = named;
        }
    }

    /// The span below which it is done, if it is traced.
    pub(super) fn parent(&self) -> Option<Parent> {
        self.span.parent()
    }

    /// It turned out to be a change of this kind, to this conversation.
    pub(super) fn asks_for(&mut self, command: &'static str, conversation: ConversationId) {
        self.span.describe(|| {
            [
                ("confab.command", command.into()),
                ("confab.conversation", conversation.to_string().into()),
            ]
        });
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

    /// It waits no more. This is so before its client is told, which may ask for the next thing the moment it is.
    fn settle(&mut self) {
        if std::mem::take(&mut self.counted) {
            self.socket.end_request();
        }
    }

    /// It is done.
    pub(super) fn confirm(mut self, confirmation: Confirmation<'_>) {
        self.settle();
        match &mut self.asked {
            Asked::Event { ack_id, .. } => {
                let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
                let frames = dialect.confirmed(namespace, *ack_id, confirmation);
                if !frames.is_empty() {
                    self.socket.push(frames);
                }
            }
            Asked::Frame { reply, .. } => {
                if let Some(reply) = reply.take() {
                    reply.done();
                }
            }
        }
    }

    /// It is refused.
    pub(super) fn reject(mut self, rejection: &Rejection) {
        self.settle();
        let code = rejection.code.as_str();
        self.span.set("error.type", code);
        if is_fault(rejection.code) {
            self.span.fail(code);
        }
        match &mut self.asked {
            Asked::Event { ack_id, name } => {
                let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
                self.socket
                    .push(dialect.rejected(namespace, *ack_id, name, rejection));
            }
            Asked::Frame { reply, room } => {
                if let Some(room) = room.take() {
                    room.refused(rejection.code);
                }
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
        self.settle();
    }
}

/// Whether a refusal is a fault of ours rather than the client's.
fn is_fault(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Internal | ErrorCode::Overloaded | ErrorCode::Timeout
    )
}

/// What is said of something that failed. A fault that is ours is logged.
pub(super) fn rejection(error: &RequestError) -> Rejection {
    if !matches!(error, RequestError::Rejected(_)) {
        tracing::warn!(%error, "a socket's request failed");
    }
    error.rejection()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake, Waker};

    use confab_gateway_protocol::stomp::Version;
    use confab_shared::id::UserId;

    use super::*;
    use crate::hub::test_bench::socket;
    use crate::session::stomp::Framing;
    use crate::transport::application::Link;
    use crate::transport::stomp::StompLink;

    /// A client that asks for the next thing the moment it hears something, as one on another processor may. It may wait for one answer.
    struct Eager {
        socket: SocketRef,
        has_room: AtomicBool,
    }

    impl Wake for Eager {
        fn wake(self: Arc<Self>) {
            let has_room = self.socket.begin_request(1);
            self.has_room.store(has_room, Ordering::Relaxed);
        }
    }

    fn finds_room_once(
        end: impl FnOnce(Answer),
        answer: impl FnOnce(&SocketRef) -> Answer,
    ) -> bool {
        let socket = socket(UserId::generate());
        let mut answer = answer(&socket);
        assert!(answer.count(1) && answer.count(1));
        let has_room = AtomicBool::default();
        let client = Arc::new(Eager { socket, has_room });
        let waker = Waker::from(client.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(client.socket.queue().poll_ready(&mut cx).is_pending());
        end(answer);
        client.has_room.load(Ordering::Relaxed)
    }

    #[test]
    fn whoever_has_its_answer_may_ask_for_the_next_thing_at_once() {
        let by_event = |socket: &SocketRef| {
            Answer::new(&Traces::default(), socket.clone(), Some(1), "send_message")
        };
        let by_frame = |socket: &SocketRef| {
            let link = Link::new(socket.queue().clone());
            let link = StompLink::new(link, Framing::Plain, Version::V1_2);
            let reply = Reply::new(&link, "/app/chat.sendMessage", Some("1"));
            Answer::to_frame(&Traces::default(), socket.clone(), reply)
        };
        let rejection = Rejection::not_found("conversation");
        let done = |answer: Answer| answer.confirm(Confirmation::Done);
        let refused = |answer: Answer| answer.reject(&rejection);
        assert!(finds_room_once(done, by_event) && finds_room_once(refused, by_event));
        assert!(finds_room_once(done, by_frame) && finds_room_once(refused, by_frame));
    }
}
