//! Socket.IO over Engine.IO messages: runs the namespaces' state machine for an [`Application`].

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{self, Assembler, AssemblerLimits, Packet};
use confab_gateway_protocol::{engineio, websocket};
use tracing::Instrument;

use super::application::{
    Application, ConnectError, Connected, EngineHandler, Handshake, Incoming, Link,
};
use crate::config::EngineConfig;
use crate::session::DisconnectReason;
use crate::session::namespaces::{Action, Namespaces};

/// Socket.IO v5 in front of an application.
#[derive(Debug)]
pub struct SocketIo<A> {
    application: A,
    limits: AssemblerLimits,
}

/// A session's Socket.IO state.
#[derive(Debug)]
pub struct SocketIoSession<S> {
    handshake: Arc<Handshake>,
    link: Link,
    assembler: Assembler,
    namespaces: Namespaces<S>,
}

impl<A: Application> SocketIo<A> {
    /// Socket.IO for this application.
    pub fn new(application: A, config: &EngineConfig) -> Self {
        let limits = AssemblerLimits {
            max_attachments: config.max_attachments,
            max_attachment_bytes: config.max_payload,
        };
        Self {
            application,
            limits,
        }
    }

    async fn packet(
        &self,
        session: &mut SocketIoSession<A::Socket>,
        packet: &Packet<'_>,
        attachments: &[Bytes],
    ) -> Result<(), DisconnectReason> {
        let action = session.namespaces.classify(packet).map_err(|violation| {
            tracing::debug!(%violation, "session closed");
            DisconnectReason::ProtocolViolation
        })?;
        match action {
            Action::Connect { namespace, auth } => {
                // Boxed: what happens once must not make the session larger for as long as it lives.
                Box::pin(self.connect(session, namespace, auth)).await?;
            }
            Action::Event {
                slot,
                name,
                args,
                ack_id,
            } => {
                let event = Incoming {
                    name,
                    args,
                    ack_id,
                    attachments,
                };
                self.application
                    .event(session.namespaces.socket(slot), event)
                    .await;
            }
            // Confab asks clients for no acknowledgements: one that comes answers nothing.
            Action::Ack { .. } => {}
            Action::Disconnect { slot } => {
                let socket = session.namespaces.leave(slot);
                self.application
                    .disconnected(socket, DisconnectReason::ClientClosed)
                    .await;
            }
        }
        Ok(())
    }

    async fn connect(
        &self,
        session: &mut SocketIoSession<A::Socket>,
        namespace: &str,
        auth: Option<Json<'_>>,
    ) -> Result<(), DisconnectReason> {
        let link = session.link.clone();
        let refuse = |why: &str, data| {
            link.push(message(|out| {
                socketio::connect_error(out, namespace, why, data);
            }));
        };
        let connected = self
            .application
            .connect(&session.handshake, namespace, auth, &link);
        match connected.await {
            Ok(Some(Connected {
                mut socket,
                sid,
                pid,
            })) => {
                link.push(message(|out| {
                    socketio::connected(out, namespace, &sid, pid.as_deref());
                }));
                self.application.connected(&mut socket).await;
                session.namespaces.join(namespace, socket);
            }
            Ok(None) => refuse("Invalid namespace", None),
            Err(ConnectError::Refused { message: why, data }) => {
                refuse(
                    &why,
                    data.as_deref().and_then(|data| Json::check(data).ok()),
                );
            }
            Err(ConnectError::Unavailable) => return Err(DisconnectReason::Unavailable),
        }
        Ok(())
    }
}

/// One Socket.IO packet as a WebSocket frame.
fn message(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    websocket::text_frame(|out| {
        engineio::begin_message(out);
        write(out);
    })
    .into_wire()
}

/// The frame that puts a socket out of its namespace.
pub fn disconnect_frame(namespace: &str) -> Bytes {
    message(|out| socketio::disconnect(out, namespace))
}

impl<A: Application> EngineHandler for SocketIo<A> {
    type Session = SocketIoSession<A::Socket>;

    fn open(&self, handshake: Arc<Handshake>, link: Link) -> Self::Session {
        SocketIoSession {
            handshake,
            link,
            assembler: Assembler::new(self.limits),
            namespaces: Namespaces::default(),
        }
    }

    async fn text(&self, session: &mut Self::Session, text: &str) -> Result<(), DisconnectReason> {
        let span = session.handshake.span().clone();
        let taken = async {
            match session.assembler.text(text) {
                Ok(Some(packet)) => self.packet(session, &packet, &[]).await,
                Ok(None) => Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "session closed");
                    Err(DisconnectReason::ProtocolViolation)
                }
            }
        };
        taken.instrument(span).await
    }

    async fn binary(
        &self,
        session: &mut Self::Session,
        bytes: Bytes,
    ) -> Result<(), DisconnectReason> {
        let span = session.handshake.span().clone();
        let taken = async {
            match session.assembler.binary(bytes) {
                Ok(Some(whole)) => {
                    self.packet(session, &whole.packet(), whole.attachments())
                        .await
                }
                Ok(None) => Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "session closed");
                    Err(DisconnectReason::ProtocolViolation)
                }
            }
        };
        taken.instrument(span).await
    }

    fn has_begun(&self, session: &Self::Session) -> bool {
        session.namespaces.ever_joined()
    }

    async fn closed(&self, mut session: Self::Session, reason: DisconnectReason) {
        let span = session.handshake.span().clone();
        for socket in session.namespaces.drain() {
            let ended = self.application.disconnected(socket, reason);
            ended.instrument(span.clone()).await;
        }
    }
}
