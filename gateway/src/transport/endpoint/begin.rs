//! Sessions begin: requests that name none, because they want one.

use std::net::SocketAddr;
use std::sync::Arc;

use confab_gateway_protocol::engineio::{HandshakeError, PROTOCOL_VERSION};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::refusal::Refusal;
use super::{ConnectionGuard, Endpoint, EndpointParts, Transport};
use crate::hub::send_queue::SendQueue;
use crate::transport::admission::Admitted;
use crate::transport::answer::{self, Answer};
use crate::transport::application::{EngineHandler, Handshake, query};
use crate::transport::engine::open_frame;
use crate::transport::polling::{self, Mailbox};
use crate::transport::sessions::Place;
use crate::transport::{upgrade, websocket};

impl<H: EngineHandler> Endpoint<H> {
    /// A request without a session: it wants one.
    pub(super) fn begin(
        &self,
        transport: Transport,
        mut request: Request<Incoming>,
        client: SocketAddr,
        guard: ConnectionGuard,
    ) -> Result<Answer, Refusal> {
        if request.method() != Method::GET {
            return Err(HandshakeError::BadHandshakeMethod.into());
        }
        let accept = match transport {
            Transport::Polling => None,
            Transport::WebSocket => {
                Some(upgrade::accept_key(request.headers()).ok_or(HandshakeError::BadRequest)?)
            }
        };
        if query(request.uri(), "EIO").as_deref() != Some(PROTOCOL_VERSION) {
            return Err(HandshakeError::UnsupportedProtocolVersion.into());
        }
        let admitted = self.inner.admit(client.ip())?;
        let upgraded = accept.is_some().then(|| hyper::upgrade::on(&mut request));
        let (head, _) = request.into_parts();
        let handshake = Arc::new(Handshake::new(&head, client));
        let endpoint = self.clone();
        Ok(match (accept, upgraded) {
            (Some(accept), Some(upgraded)) => {
                self.inner.tasks.spawn(async move {
                    endpoint
                        .over_websocket(upgraded, handshake, guard, admitted)
                        .await;
                });
                upgrade::switching(accept)
            }
            _ => self.begin_polling(handshake, admitted),
        })
    }

    fn begin_polling(&self, handshake: Arc<Handshake>, admitted: (Place, Admitted)) -> Answer {
        let (key, sid) = self.inner.sids.mint();
        handshake.opened(key);
        let open = open_frame(&sid, &["websocket"], &self.inner.config).payload();
        let queue = Arc::new(SendQueue::new(self.inner.config.send_queue_bytes));
        let mailbox = Arc::new(Mailbox::new(queue.clone()));
        let registration = self
            .inner
            .sessions
            .register(key, &queue, Some(mailbox.clone()))
            .counted(&self.inner.metrics, "engine_io", "polling");
        let endpoint = self.clone();
        self.inner.tasks.spawn(async move {
            let EndpointParts {
                handler, config, ..
            } = &*endpoint.inner;
            let span = handshake.span().clone();
            let served = polling::serve(
                handshake,
                handler,
                config,
                &mailbox,
                &registration,
                admitted,
            );
            let reason = served.await;
            span.in_scope(|| endpoint.inner.ended(reason, registration));
        });
        answer::packets(open, 0, false)
    }

    async fn over_websocket(
        self,
        upgraded: OnUpgrade,
        handshake: Arc<Handshake>,
        guard: ConnectionGuard,
        admitted: (Place, Admitted),
    ) {
        let Some(connection) = upgrade::connection(upgraded).await else {
            return;
        };
        let (key, sid) = self.inner.sids.mint();
        handshake.opened(key);
        let span = handshake.span().clone();
        let queue = Arc::new(SendQueue::new(self.inner.config.send_queue_bytes));
        let registration = self.inner.sessions.register(key, &queue, None).counted(
            &self.inner.metrics,
            "engine_io",
            "websocket",
        );
        let reason = websocket::serve(
            connection,
            handshake,
            &self.inner.handler,
            &self.inner.config,
            queue,
            &sid,
            admitted,
        )
        .await;
        span.in_scope(|| self.inner.ended(reason, registration));
        drop(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Chat;
    use crate::transport::socketio::SocketIo;

    fn size_of_task<H, F: Future>(
        _serve: impl Fn(Endpoint<H>, OnUpgrade, Arc<Handshake>, ConnectionGuard, (Place, Admitted)) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_that_waits_takes_little_room() {
        // What happens once or seldom is boxed: unboxed, connecting alone would take twice as much of every session for good.
        assert!(size_of_task(Endpoint::<SocketIo<Chat>>::over_websocket) < 4_096);
    }
}
