//! What is done with the messages that come over a WebSocket.

use std::future::Future;

use bytes::Bytes;

use crate::session::DisconnectReason;
use crate::transport::application::{EngineHandler, MessageHandler};
use crate::transport::engine::Engine;

/// What takes the messages that come over a WebSocket. An error ends the session.
pub(in crate::transport) trait Inbox: Send {
    /// The largest message, after joining its fragments.
    fn max_message(&self) -> usize;

    /// A text message came. That it is text is for the inbox to see.
    fn text(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), DisconnectReason>> + Send;

    /// A binary message came.
    fn binary(&mut self, bytes: Bytes)
    -> impl Future<Output = Result<(), DisconnectReason>> + Send;
}

/// Messages that are Engine.IO packets.
pub(in crate::transport) struct EngineInbox<'s, 'e, H: EngineHandler> {
    engine: &'s Engine<'e, H>,
    session: &'s mut H::Session,
}

impl<'s, 'e, H: EngineHandler> EngineInbox<'s, 'e, H> {
    /// Messages of this session.
    pub(in crate::transport) fn new(
        engine: &'s Engine<'e, H>,
        session: &'s mut H::Session,
    ) -> Self {
        Self { engine, session }
    }
}

impl<H: EngineHandler> Inbox for EngineInbox<'_, '_, H> {
    fn max_message(&self) -> usize {
        self.engine.config.max_payload
    }

    async fn text(&mut self, bytes: Bytes) -> Result<(), DisconnectReason> {
        self.engine.text(self.session, &bytes).await
    }

    async fn binary(&mut self, bytes: Bytes) -> Result<(), DisconnectReason> {
        self.engine.binary(self.session, bytes).await
    }
}

/// Messages that are a handler's own.
pub(super) struct MessageInbox<'h, H: MessageHandler> {
    pub(super) handler: &'h H,
    pub(super) session: H::Session,
    pub(super) max_message: usize,
}

impl<H: MessageHandler> Inbox for MessageInbox<'_, H> {
    fn max_message(&self) -> usize {
        self.max_message
    }

    async fn text(&mut self, bytes: Bytes) -> Result<(), DisconnectReason> {
        if str::from_utf8(&bytes).is_err() {
            return Err(DisconnectReason::ProtocolViolation);
        }
        self.handler.message(&mut self.session, bytes).await
    }

    async fn binary(&mut self, bytes: Bytes) -> Result<(), DisconnectReason> {
        self.handler.message(&mut self.session, bytes).await
    }
}
