//! SockJS over a WebSocket: its session is the connection's, and this is only what the protocol puts around messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::sockjs::{self, MessagesError};
use futures_util::future::{BoxFuture, FutureExt};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::answer::{self, Answer};
use super::endpoint::SockJs;
use super::form::queued;
use super::task::{goodbye, hand_over};
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::session::stomp::Framing;
use crate::transport::admission::Admitted;
use crate::transport::application::{Handshake, Link, MessageHandler};
use crate::transport::endpoint::{ConnectionGuard, EndpointParts};
use crate::transport::sessions::Place;
use crate::transport::{upgrade, websocket};

impl<M: MessageHandler> SockJs<M> {
    /// A request that opens a session over a WebSocket.
    pub(super) fn websocket(
        &self,
        mut request: Request<Incoming>,
        client: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        let Some(accept) = upgrade::accept_key(request.headers()) else {
            let why = "Can \"Upgrade\" only to \"WebSocket\".";
            return answer::refused(StatusCode::BAD_REQUEST, why);
        };
        let admitted = match self.inner.parts.admit(client.ip()) {
            Ok(admitted) => admitted,
            Err(refused) => return refused.response().map(Body::new),
        };
        let upgraded = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let handshake = Arc::new(Handshake::new(&head, client));
        let endpoint = self.clone();
        self.inner.parts.tasks.spawn(async move {
            endpoint.over_websocket(upgraded, handshake, admitted).await;
            drop(guard);
        });
        upgrade::switching(accept).map(Body::new)
    }

    async fn over_websocket(
        self,
        upgraded: OnUpgrade,
        handshake: Arc<Handshake>,
        admitted: (Place, Admitted),
    ) {
        let Some(connection) = upgrade::connection(upgraded).await else {
            return;
        };
        let parts = &self.inner.parts;
        let (key, _) = parts.sids.mint();
        handshake.opened(key);
        let span = handshake.span().clone();
        let queue = Arc::new(SendQueue::new(parts.config.send_queue_bytes));
        let registration = parts.sessions.register(key, &queue, None).counted(
            &parts.metrics,
            "sockjs",
            "websocket",
        );
        let dressed = Dressed {
            parts: parts.clone(),
            heartbeat: self.inner.own.config.heartbeat(),
        };
        let config = &parts.config;
        let served =
            websocket::serve_messages(connection, handshake, &dressed, config, queue, admitted);
        let reason = served.await;
        span.in_scope(|| parts.ended(reason, registration));
    }
}

/// A session, and the way back to its client.
struct Session<S> {
    own: S,
    link: Link,
}

/// A handler whose messages are dressed as SockJS has it.
struct Dressed<M> {
    parts: Arc<EndpointParts<M>>,
    heartbeat: Duration,
}

impl<M: MessageHandler> MessageHandler for Dressed<M> {
    type Session = Session<M::Session>;

    fn open(
        &self,
        handshake: Arc<Handshake>,
        link: Link,
        _: Framing,
    ) -> (Self::Session, BoxFuture<'static, DisconnectReason>) {
        link.push(queued(sockjs::OPEN));
        let handler = &self.parts.handler;
        let (own, clocks) = handler.open(handshake, link.clone(), Framing::SockJs);
        let beats = beat(link.clone(), self.heartbeat);
        let both = async move {
            tokio::select! {
                reason = clocks => reason,
                reason = beats => reason,
            }
        };
        (Session { own, link }, both.boxed())
    }

    async fn message(
        &self,
        session: &mut Self::Session,
        bytes: Bytes,
    ) -> Result<(), DisconnectReason> {
        let messages = match sockjs::frame_messages(&bytes) {
            Ok(messages) => messages,
            Err(MessagesError::Empty) => return Ok(()),
            Err(error @ MessagesError::Broken) => {
                tracing::debug!(%error, "session closed");
                return Err(DisconnectReason::ProtocolViolation);
            }
        };
        let Session { own, link } = session;
        hand_over(&self.parts.handler, own, messages, Some(link.queue())).await
    }

    async fn closed(&self, session: Self::Session, reason: DisconnectReason) -> Option<Bytes> {
        let words = self.parts.handler.closed(session.own, reason).await;
        let mut last = BytesMut::from(words.unwrap_or_default());
        last.extend_from_slice(&queued(&goodbye(reason)));
        Some(last.freeze())
    }
}

/// Says that the server is there, for as long as the session lives.
async fn beat(link: Link, every: Duration) -> DisconnectReason {
    let frame = queued(sockjs::HEART_BEAT);
    loop {
        tokio::time::sleep(every).await;
        link.push(frame.clone());
    }
}
