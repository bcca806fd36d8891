//! Requests of sessions that live on other nodes.

use std::net::IpAddr;

use bytes::Bytes;
use confab_gateway_protocol::engineio::HandshakeError;
use http::{Method, Request};
use hyper::body::Incoming;

use super::refusal::Refusal;
use super::{ConnectionGuard, Endpoint, Transport};
use crate::transport::answer::Answer;
use crate::transport::application::EngineHandler;
use crate::transport::polling::{self, BodyError, Unanswered};
use crate::transport::sid::Sid;
use crate::transport::upgrade;

impl<H: EngineHandler> Endpoint<H> {
    /// Takes a client's request to the node that owns its session, and its answer back.
    pub(super) async fn elsewhere(
        &self,
        sid: Sid,
        transport: Transport,
        request: Request<Incoming>,
        client: IpAddr,
        guard: ConnectionGuard,
    ) -> Result<Answer, Refusal> {
        let peers = &self.inner.peers;
        match (transport, request.method().clone()) {
            (Transport::WebSocket, Method::GET) => {
                // What no node would consent to need not be asked.
                upgrade::accept_key(request.headers()).ok_or(HandshakeError::BadRequest)?;
                Ok(peers.tunnel(sid, request, client, guard).await?)
            }
            (Transport::Polling, Method::GET) => {
                let (head, _) = request.into_parts();
                Ok(peers.pass_on(sid, head, Bytes::new(), client).await?)
            }
            (Transport::Polling, Method::POST) => self.bring(sid, request, client).await,
            _ => Err(HandshakeError::BadRequest.into()),
        }
    }

    /// Passes a POST on. As on its session's own node, what was read to its end is processed even if its client goes away.
    async fn bring(
        &self,
        sid: Sid,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Answer, Refusal> {
        let config = &self.inner.config;
        let (peers, max_bytes) = (self.inner.peers.clone(), config.max_payload);
        let limit = config.ping_interval() + config.ping_timeout();
        let pause = config.ping_timeout();
        let bringing = self.inner.tasks.spawn(async move {
            let (head, body) = request.into_parts();
            let read =
                tokio::time::timeout(limit, polling::read_body(body, max_bytes, pause)).await;
            match read.unwrap_or(Err(BodyError::Stalled)) {
                Ok(body) => Ok(peers.pass_on(sid, head, body, client).await?),
                Err(BodyError::TooLarge) => Err(Unanswered::TooLarge.into()),
                Err(error) => {
                    peers.break_off(sid, head.uri).await?;
                    Err(Unanswered::from(error).into())
                }
            }
        });
        // It ends early only with the process.
        bringing
            .await
            .unwrap_or_else(|_| Err(HandshakeError::SessionUnknown.into()))
    }
}
