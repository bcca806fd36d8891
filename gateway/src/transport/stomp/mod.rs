//! STOMP, as a WebSocket or SockJS carries it: runs the sessions' state machines for a [`StompApplication`].
//!
//! How a session ends:
//! - What the protocol does not allow is answered by ERROR, and the connection closes with 1002; with 1009 where it was too large.
//! - What is refused to a client that has not subscribed to `/user/queue/errors` is answered by ERROR as well, and the connection closes
//!   with 1008. Others are told there, and go on.
//! - Who does not connect in time, or whose login has ended, gets an ERROR that says so.
//! - A node that goes away, or cannot serve the client, says so by 1012 or 1013 alone: an ERROR would have libraries report a fault,
//!   where they are only to come back.
//!
//! After ERROR nothing is processed.

mod clocks;
pub mod endpoint;
mod frames;
mod link;
mod reply;

use std::sync::Arc;

use bytes::Bytes;
use confab_gateway_protocol::stomp::{Decoder, Intervals, Version};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

pub use link::{StompLink, error_frame};
pub use reply::Reply;

use self::clocks::Heard;
use super::application::{Handshake, Link, MessageHandler, StompApplication};
use crate::metrics::Metrics;
use crate::session::DisconnectReason;
use crate::session::stomp::{Connected, Framing, Rules};

/// STOMP in front of an application.
pub struct Stomp<A> {
    application: A,
    rules: Rules,
    metrics: Arc<Metrics>,
}

/// A session's state.
#[derive(Debug)]
pub struct StompSession<C> {
    link: Link,
    framing: Framing,
    decoder: Decoder,
    heard: Arc<Heard>,
    phase: Phase<C>,
    /// It was said what is wrong.
    has_failed: bool,
    /// What names it in the log.
    span: Span,
}

/// How far a session is.
#[derive(Debug)]
enum Phase<C> {
    /// No CONNECT has come.
    Connecting {
        handshake: Arc<Handshake>,
        agreed: oneshot::Sender<Intervals>,
    },
    /// The client has connected.
    Connected(Box<Client<C>>),
    /// It may not.
    Over,
}

/// A client that has connected.
#[derive(Debug)]
struct Client<C> {
    own: C,
    link: Arc<StompLink>,
    state: Connected,
}

impl<A: StompApplication> Stomp<A> {
    /// STOMP for this application.
    pub fn new(application: A, rules: Rules, metrics: Arc<Metrics>) -> Self {
        Self {
            application,
            rules,
            metrics,
        }
    }
}

impl<C> StompSession<C> {
    /// Which version is spoken.
    fn version(&self) -> Version {
        match &self.phase {
            Phase::Connected(client) => client.link.version(),
            // Where none was agreed on, the latest one's escapes are the only ones that keep every word in its line.
            Phase::Connecting { .. } | Phase::Over => Version::V1_2,
        }
    }

    /// Says what is wrong, with one more header if there is one. That is the session's end: nothing is said or taken after it.
    fn fail(
        &mut self,
        message: &str,
        more: Option<(&str, &str)>,
        reason: DisconnectReason,
    ) -> DisconnectReason {
        self.has_failed = true;
        let (framing, version) = (self.framing, self.version());
        let error = link::error(framing, version, message, "", more);
        self.link.push_last(error, reason);
        reason
    }
}

impl<A: StompApplication> MessageHandler for Stomp<A> {
    type Session = StompSession<A::Client>;

    fn open(
        &self,
        handshake: Arc<Handshake>,
        link: Link,
        framing: Framing,
    ) -> (Self::Session, BoxFuture<'static, DisconnectReason>) {
        let (agreed, will_agree) = oneshot::channel();
        let heard = Heard::new();
        let clocks = clocks::run(
            link.clone(),
            framing,
            heard.clone(),
            self.rules.connect_timeout,
            will_agree,
        );
        let session = StompSession {
            link,
            framing,
            decoder: Decoder::new(self.rules.frames),
            heard,
            span: handshake.span().clone(),
            phase: Phase::Connecting { handshake, agreed },
            has_failed: false,
        };
        (session, clocks.boxed())
    }

    async fn message(
        &self,
        session: &mut Self::Session,
        bytes: Bytes,
    ) -> Result<(), DisconnectReason> {
        session.heard.begin();
        let span = session.span.clone();
        let taken = self.take(session, &bytes).instrument(span).await;
        session.heard.end();
        taken
    }

    async fn closed(&self, session: Self::Session, reason: DisconnectReason) -> Option<Bytes> {
        let (framing, version) = (session.framing, session.version());
        let mut has_failed = session.has_failed;
        if let Phase::Connected(client) = session.phase {
            has_failed |= client.link.has_failed();
            let ended = self.application.disconnected(client.own, reason);
            ended.instrument(session.span).await;
        }
        let last = last_words(reason).filter(|_| !has_failed)?;
        Some(error_frame(framing, version, last, ""))
    }
}

/// What a client is told before its session is ended from this side, apart from the transport's own goodbye.
fn last_words(reason: DisconnectReason) -> Option<&'static str> {
    match reason {
        DisconnectReason::LoggedOut => Some("logged out"),
        DisconnectReason::Unauthenticated => Some("not logged in"),
        DisconnectReason::ConnectTimeout => Some("no CONNECT in time"),
        DisconnectReason::PingTimeout => Some("no heart-beat in time"),
        DisconnectReason::PayloadTooLarge => Some("the message is too large"),
        // Those who ended it themselves, are not there to listen, or have been told; and those who are only to come back.
        DisconnectReason::ClientClosed
        | DisconnectReason::TransportClosed
        | DisconnectReason::TransportError
        | DisconnectReason::ProtocolViolation
        | DisconnectReason::Refused
        | DisconnectReason::SlowConsumer
        | DisconnectReason::Superseded
        | DisconnectReason::Draining
        | DisconnectReason::Unavailable => None,
    }
}

#[cfg(test)]
mod tests;
