//! The traits that the protocol layers run behind, and what they are given.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use confab_gateway_protocol::json::{Args, Json};
use confab_shared::model::error::Rejection;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Uri};
use tracing::Span;
use tracing::field::{Empty, display};

use super::connection::ConnectionId;
use super::sid::SessionKey;
use super::stomp::{Reply, StompLink};
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::session::stomp::{Framing, Subscription};

pub use crate::session::stomp::Topic;

/// What a session keeps of the request that opened it, for as long as it lives: copies, since a part of the request itself would
/// keep all of the memory that it was read into.
#[derive(Debug, Clone)]
pub struct Handshake {
    query: Box<str>,
    authorization: Option<HeaderValue>,
    remote: SocketAddr,
    span: Span,
}

impl Handshake {
    /// What is kept of a request that came from `remote`.
    pub fn new(head: &Parts, remote: SocketAddr) -> Self {
        Self {
            query: head.uri.query().unwrap_or_default().into(),
            authorization: head.headers.get(AUTHORIZATION).and_then(own_copy),
            remote,
            span: tracing::info_span!(
                "session",
                connection = head.extensions.get::<ConnectionId>().map(|id| id.0),
                session = Empty,
                user = Empty,
            ),
        }
    }

    /// The session that it opened has this key.
    pub(super) fn opened(&self, key: SessionKey) {
        self.span.record("session", display(key.public()));
    }

    /// What names the session in the log: entered while something that its client sent is processed, and when it ends; not while it is
    /// written to, which is far more often.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The value of a query parameter, percent-decoded; the first one where it is repeated.
    pub fn query(&self, name: &str) -> Option<String> {
        parameter(&self.query, name)
    }

    /// The request's `Authorization`.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_ref()?.to_str().ok()
    }

    /// Where the connection came from.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }
}

/// A header's value in memory of its own.
pub(super) fn own_copy(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// The value of a query parameter, percent-decoded; the first one where it is repeated.
pub fn query(uri: &Uri, name: &str) -> Option<String> {
    parameter(uri.query()?, name)
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode(value))
    })
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The way back to a session's client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    queue: Arc<SendQueue>,
}

impl Link {
    /// The way into a queue.
    pub fn new(queue: Arc<SendQueue>) -> Self {
        Self { queue }
    }

    /// Queues whole WebSocket frames. False if the session is ending.
    pub fn push(&self, frames: Bytes) -> bool {
        self.queue.push(frames)
    }

    /// Queues the session's last frames, and ends it once they are written. False if it is ending already.
    pub fn push_last(&self, frames: Bytes, reason: DisconnectReason) -> bool {
        self.queue.push_last(frames, reason)
    }

    /// Ends the session once what is queued is written.
    pub fn close(&self, reason: DisconnectReason) {
        self.queue.close(reason);
    }

    /// When the last ping that the client has answered was queued: it has received whatever was queued before.
    pub fn received_until(&self) -> Option<Instant> {
        self.queue.received_until()
    }

    /// The session's queue.
    pub fn queue(&self) -> &Arc<SendQueue> {
        &self.queue
    }
}

/// What is done with the messages of Engine.IO sessions.
pub trait EngineHandler: Send + Sync + 'static {
    /// What is kept per session.
    type Session: Send;

    /// A session opened.
    fn open(&self, handshake: Arc<Handshake>, link: Link) -> Self::Session;

    /// A text message came. An error ends the session.
    fn text(
        &self,
        session: &mut Self::Session,
        text: &str,
    ) -> impl Future<Output = Result<(), DisconnectReason>> + Send;

    /// A binary message came. An error ends the session.
    fn binary(
        &self,
        session: &mut Self::Session,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(), DisconnectReason>> + Send;

    /// Whether the session may stay when its time to begin is over.
    fn has_begun(&self, session: &Self::Session) -> bool;

    /// The session is over.
    fn closed(
        &self,
        session: Self::Session,
        reason: DisconnectReason,
    ) -> impl Future<Output = ()> + Send;
}

/// Why a socket does not join a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectError {
    /// It may not. Clients take this as final and do not come back by themselves.
    Refused {
        /// For the client's `connect_error`.
        message: String,
        /// A JSON value for its `data`, if there is more to say.
        data: Option<String>,
    },
    /// It cannot be told now. The session is closed, so that the client comes back, here or elsewhere.
    Unavailable,
}

/// A socket that may join its namespace, and what its client is told.
#[derive(Debug)]
pub struct Connected<S> {
    /// What is kept for it.
    pub socket: S,
    /// Its public id.
    pub sid: String,
    /// Its private id, by which it may be recovered; none if it cannot be.
    pub pid: Option<String>,
}

/// An event from a client.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its arguments, as they were written.
    pub args: Args<'a>,
    /// The id of the acknowledgement it asks for.
    pub ack_id: Option<u64>,
    /// Its attachments, which its arguments' placeholders name by number.
    pub attachments: &'a [Bytes],
}

/// What happens in the namespaces of Socket.IO sessions.
///
/// Calls for one session come one at a time, in the order of its packets: a slow answer holds back that session, nobody else.
pub trait Application: Send + Sync + 'static {
    /// What is kept per socket.
    type Socket: Send;

    /// A client asks to join a namespace. `Ok(None)`: there is no such namespace.
    fn connect(
        &self,
        handshake: &Arc<Handshake>,
        namespace: &str,
        auth: Option<Json<'_>>,
        link: &Link,
    ) -> impl Future<Output = Result<Option<Connected<Self::Socket>>, ConnectError>> + Send;

    /// The client has been told that it joined: events may be sent from here on.
    fn connected(&self, socket: &mut Self::Socket) -> impl Future<Output = ()> + Send;

    /// An event came.
    fn event(
        &self,
        socket: &mut Self::Socket,
        event: Incoming<'_>,
    ) -> impl Future<Output = ()> + Send;

    /// The client left the namespace, or its session ended.
    fn disconnected(
        &self,
        socket: Self::Socket,
        reason: DisconnectReason,
    ) -> impl Future<Output = ()> + Send;
}

/// What is done with the messages of sessions that a WebSocket or SockJS carries without Engine.IO.
pub trait MessageHandler: Send + Sync + 'static {
    /// What is kept per session.
    type Session: Send;

    /// A session opened, whose messages go both ways in this form. The second part runs beside the session for as long as that lives, and ends
    /// it by resolving: its clocks.
    fn open(
        &self,
        handshake: Arc<Handshake>,
        link: Link,
        framing: Framing,
    ) -> (Self::Session, BoxFuture<'static, DisconnectReason>);

    /// A message came, text or binary alike. An error ends the session. Messages of a session come one at a time.
    fn message(
        &self,
        session: &mut Self::Session,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(), DisconnectReason>> + Send;

    /// The session is over. What is to be written last, before the transport says goodbye: whole WebSocket frames, if there is something.
    fn closed(
        &self,
        session: Self::Session,
        reason: DisconnectReason,
    ) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A SEND.
#[derive(Debug)]
pub struct StompMessage<'a> {
    /// Its destination behind the application's prefix, without the slash: `chat.sendMessage`, `chat/general/sendMessage`.
    pub destination: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// Chat as STOMP has it.
///
/// Calls for one session come one at a time, in the order of its frames. Whoever is given a [`Reply`] answers with it once, now or later.
pub trait StompApplication: Send + Sync + 'static {
    /// What is kept per session.
    type Client: Send;

    /// A client says who it is, by a token or as nobody in particular. `Ok`: what is kept for it, and its user's name if it has one.
    fn connect(
        &self,
        handshake: &Arc<Handshake>,
        token: Option<&str>,
        link: &Arc<StompLink>,
    ) -> impl Future<Output = Result<(Self::Client, Option<String>), ConnectError>> + Send;

    /// The client has been told that it is connected.
    fn connected(&self, client: &mut Self::Client) -> impl Future<Output = ()> + Send;

    /// It subscribes.
    fn subscribe(
        &self,
        client: &mut Self::Client,
        topic: Topic<'_>,
        subscription: Arc<Subscription>,
        reply: Reply,
    ) -> impl Future<Output = ()> + Send;

    /// It does no more. By then the subscription shows nothing.
    fn unsubscribe(&self, client: &mut Self::Client, id: &str) -> impl Future<Output = ()> + Send;

    /// Whether a message could be taken: for those that wait for their transaction's end.
    fn check(&self, message: &StompMessage<'_>) -> Result<(), Rejection>;

    /// It sends a message.
    fn send(
        &self,
        client: &mut Self::Client,
        message: StompMessage<'_>,
        reply: Reply,
    ) -> impl Future<Output = ()> + Send;

    /// It commits a transaction: these messages, in this order, none of which is sent unless all may be. An error: none was, and no reply
    /// is given. What a refusal leaves unsent that has ended the session stays so.
    fn commit(
        &self,
        client: &mut Self::Client,
        messages: Vec<(StompMessage<'_>, Reply)>,
    ) -> impl Future<Output = Result<(), Rejection>> + Send;

    /// It is gone.
    fn disconnected(
        &self,
        client: Self::Client,
        reason: DisconnectReason,
    ) -> impl Future<Output = ()> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_decoded() {
        let uri: Uri = "/socket.io/?EIO=4&transport=websocket&dialect=a%2Fb+c&x"
            .parse()
            .unwrap();
        assert_eq!(query(&uri, "EIO").as_deref(), Some("4"));
        assert_eq!(query(&uri, "dialect").as_deref(), Some("a/b c"));
        assert_eq!(query(&uri, "x").as_deref(), Some(""));
        assert_eq!(query(&uri, "y"), None);
    }
}
