//! Requests that bring messages.
//!
//! A body is taken as a whole or not at all: it is read to its end and found to be in order before its first message is processed, and then all
//! are, even if the client goes away. Its answer comes when they are, which is what makes sockjs-client send the next one.

use bytes::Bytes;
use confab_gateway_protocol::sockjs::{self, MessagesError};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::door::{Door, Undelivered};
use super::endpoint::{Sender, SockJs};
use crate::registry::SessionName;
use crate::transport::application::MessageHandler;
use crate::transport::polling::{self, BodyError};

impl<M: MessageHandler> SockJs<M> {
    /// A request that brings messages, of a client or passed on by another node.
    pub(super) async fn bring(
        &self,
        name: SessionName,
        request: Request<Incoming>,
        sender: Sender,
    ) -> Answer {
        let endpoint = self.clone();
        let bringing = self.inner.parts.tasks.spawn(async move {
            match (endpoint.inner.table.find(name), sender) {
                (Some(door), _) => match endpoint.read(request.into_body()).await {
                    Ok(body) => deliver(&door, body).await,
                    Err(refused) => refused,
                },
                (None, Sender::Client(client)) => {
                    endpoint.bring_elsewhere(name, request, client.ip()).await
                }
                (None, Sender::Peer) => endpoint.unknown(request.into_body()),
            }
        });
        // It ends early only with the process.
        bringing
            .await
            .unwrap_or_else(|_| answer::failed(StatusCode::NOT_FOUND))
    }

    /// There is no such session.
    pub(super) fn unknown(&self, body: Incoming) -> Answer {
        // With a part of its body unread, the connection would end in an error.
        let max_bytes = self.inner.own.config.max_payload;
        self.inner
            .parts
            .tasks
            .spawn(polling::discard(body, max_bytes));
        answer::failed(StatusCode::NOT_FOUND)
    }

    /// Reads a body to its end, and looks whether it is in order.
    pub(super) async fn read(&self, body: Incoming) -> Result<Bytes, Answer> {
        let engine = &self.inner.parts.config;
        let limit = engine.ping_interval() + engine.ping_timeout();
        let max_bytes = self.inner.own.config.max_payload;
        let read = polling::read_body(body, max_bytes, engine.ping_timeout());
        let read = tokio::time::timeout(limit, read).await;
        let body = read
            .unwrap_or(Err(BodyError::Stalled))
            .map_err(|error| match error {
                BodyError::TooLarge => answer::failed(StatusCode::PAYLOAD_TOO_LARGE),
                BodyError::Stalled => answer::failed(StatusCode::REQUEST_TIMEOUT),
                BodyError::Broken => answer::failed(StatusCode::BAD_REQUEST),
            })?;
        match sockjs::messages(&body) {
            Ok(_) => Ok(body),
            Err(error @ (MessagesError::Empty | MessagesError::Broken)) => {
                let why = error.to_string();
                Err(answer::refused(StatusCode::INTERNAL_SERVER_ERROR, why))
            }
        }
    }
}

async fn deliver(door: &Door, body: Bytes) -> Answer {
    match door.bring(body) {
        Ok(processed) => match processed.await {
            Ok(()) => answer::processed(),
            // The session ended before it was their turn.
            Err(_) => answer::failed(StatusCode::NOT_FOUND),
        },
        Err(Undelivered::Gone) => answer::failed(StatusCode::NOT_FOUND),
        Err(Undelivered::Overloaded) => answer::failed(StatusCode::SERVICE_UNAVAILABLE),
    }
}
