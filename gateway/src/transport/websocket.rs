//! Carrying a session over a WebSocket: one task, one connection. The session may have begun here, or over polling.
//!
//! What is done with the messages is an [`Inbox`]'s: they may be Engine.IO's packets, pieces of STOMP, or SockJS' dress for these.
//!
//! Reading is fastwebsockets'; its `read_frame` may not be dropped half way, so it lives in a loop of its own that ends only with
//! the session. Writing is ours: server frames are unmasked, so what is queued is written as it is.

mod inbox;
mod outbox;

use std::io::{self, Cursor};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::websocket;
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, WebSocketRead, after_handshake_split};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Chain};

use self::inbox::MessageInbox;
pub(super) use self::inbox::{EngineInbox, Inbox};
pub(super) use self::outbox::Outbox;
use super::admission::Admitted;
use super::application::{EngineHandler, Handshake, Link, MessageHandler};
use super::engine::{Engine, open_frame};
use super::sessions::Place;
use super::stream::Stream;
use crate::config::EngineConfig;
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::session::stomp::Framing;

/// Serves one session from its first frame to its last, on a connection that comes with what the client sent behind its handshake.
pub(super) async fn serve<H: EngineHandler>(
    (stream, prefix): (Stream, Bytes),
    handshake: Arc<Handshake>,
    handler: &H,
    config: &EngineConfig,
    queue: Arc<SendQueue>,
    sid: &str,
    admitted: (Place, Admitted),
) -> DisconnectReason {
    let link = Link::new(queue.clone());
    // There is nothing to upgrade to.
    link.push(open_frame(sid, &[], config).into_wire());
    let mut session = handler.open(handshake, link);
    let engine = Engine::new(handler, config, &queue);
    engine.begin(&session);
    let (read_half, write_half) = stream.into_split();
    let (reader, mut outbox) = (reader(read_half, prefix, config), Outbox::new(write_half));
    let mut inbox = EngineInbox::new(&engine, &mut session);
    let reason = tokio::select! {
        reason = carry(reader, &mut outbox, &queue, &mut inbox) => reason,
        reason = engine.watch() => reason,
    };
    conclude(&engine, session, &mut outbox, reason, admitted).await
}

/// Serves one session of a handler to which a WebSocket's messages are just bytes.
pub(super) async fn serve_messages<H: MessageHandler>(
    (stream, prefix): (Stream, Bytes),
    handshake: Arc<Handshake>,
    handler: &H,
    config: &EngineConfig,
    queue: Arc<SendQueue>,
    admitted: (Place, Admitted),
) -> DisconnectReason {
    let (session, clocks) = handler.open(handshake, Link::new(queue.clone()), Framing::Plain);
    let mut inbox = MessageInbox {
        handler,
        session,
        max_message: config.max_payload,
    };
    let (read_half, write_half) = stream.into_split();
    let (reader, mut outbox) = (reader(read_half, prefix, config), Outbox::new(write_half));
    let reason = tokio::select! {
        reason = carry(reader, &mut outbox, &queue, &mut inbox) => reason,
        reason = clocks => reason,
    };
    queue.close(reason);
    let reason = queue.closing().unwrap_or(reason);
    let last = handler.closed(inbox.session, reason).await;
    drop(admitted);
    outbox.farewell(&queue, last, reason).await;
    reason
}

/// What reads a client's frames. `prefix` comes before what the stream has.
pub(super) fn reader<R: AsyncRead + Unpin>(
    stream: R,
    prefix: Bytes,
    config: &EngineConfig,
) -> WebSocketRead<Chain<Cursor<Bytes>, R>> {
    let (mut reader, _) = after_handshake_split(
        AsyncReadExt::chain(Cursor::new(prefix), stream),
        tokio::io::sink(),
        Role::Server,
    );
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    // The limit itself is still allowed.
    reader.set_max_message_size(config.max_payload.saturating_add(1));
    reader
}

/// Carries a session both ways until it is over.
pub(super) async fn carry<I: Inbox, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: WebSocketRead<R>,
    outbox: &mut Outbox<W>,
    queue: &SendQueue,
    inbox: &mut I,
) -> DisconnectReason {
    tokio::select! {
        reason = read_loop(reader, queue, inbox) => reason,
        reason = outbox.write_loop(queue) => reason,
    }
}

/// Ends a session that a WebSocket carries. Returns the reason that stands. Its place is free before its client is told, which may be back at
/// once.
pub(super) async fn conclude<H: EngineHandler, W: AsyncWrite + Unpin>(
    engine: &Engine<'_, H>,
    session: H::Session,
    outbox: &mut Outbox<W>,
    reason: DisconnectReason,
    admitted: (Place, Admitted),
) -> DisconnectReason {
    engine.queue.close(reason);
    let reason = engine.queue.closing().unwrap_or(reason);
    engine.handler.closed(session, reason).await;
    drop(admitted);
    outbox.farewell(engine.queue, None, reason).await;
    reason
}

/// A client's frame, unmasked.
pub(super) struct Received {
    pub(super) opcode: OpCode,
    pub(super) fin: bool,
    pub(super) payload: Bytes,
}

/// The next frame. Never dropped half way but with the connection.
pub(super) async fn next_frame<R: AsyncRead + Unpin>(
    reader: &mut WebSocketRead<R>,
) -> Result<Received, DisconnectReason> {
    let mut frame = reader
        .read_frame(&mut |_| std::future::ready(io::Result::Ok(())))
        .await
        .map_err(|error| read_failure(&error))?;
    if !is_masked(&mut frame) {
        return Err(DisconnectReason::ProtocolViolation);
    }
    Ok(Received {
        opcode: frame.opcode,
        fin: frame.fin,
        payload: match frame.payload {
            fastwebsockets::Payload::Bytes(bytes) => bytes.freeze(),
            other => Bytes::copy_from_slice(&other),
        },
    })
}

/// Reads until the session is over. Never dropped but with the session.
async fn read_loop<I: Inbox, R: AsyncRead + Unpin>(
    mut reader: WebSocketRead<R>,
    queue: &SendQueue,
    inbox: &mut I,
) -> DisconnectReason {
    let mut fragments = Fragments {
        opcode: None,
        bytes: BytesMut::new(),
        max: inbox.max_message(),
    };
    loop {
        let frame = match next_frame(&mut reader).await {
            Ok(frame) => frame,
            Err(reason) => return reason,
        };
        if queue.is_superseded() {
            return DisconnectReason::Superseded;
        }
        let taken = match frame.opcode {
            OpCode::Close => return DisconnectReason::TransportClosed,
            OpCode::Pong => Ok(()),
            OpCode::Ping => match websocket::pong_frame(&frame.payload) {
                Ok(pong) => {
                    queue.push(pong.into_wire());
                    Ok(())
                }
                Err(_) => Err(DisconnectReason::ProtocolViolation),
            },
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                match fragments.add(frame.opcode, frame.fin, frame.payload) {
                    Ok(Some((OpCode::Binary, bytes))) => inbox.binary(bytes).await,
                    Ok(Some((_, bytes))) => inbox.text(bytes).await,
                    Ok(None) => Ok(()),
                    Err(reason) => Err(reason),
                }
            }
        };
        if let Err(reason) = taken {
            return reason;
        }
        // Many messages may be read already, and none of them has to wait for anything.
        tokio::task::coop::consume_budget().await;
    }
}

/// Clients' frames must be masked (RFC 6455, 5.1). The frame does not say so, but writing its head again does.
fn is_masked(frame: &mut Frame<'_>) -> bool {
    let mut head = [0; 16];
    frame.fmt_head(&mut head);
    head[1] & 0x80 != 0
}

fn read_failure(error: &WebSocketError) -> DisconnectReason {
    match error {
        WebSocketError::FrameTooLarge => DisconnectReason::PayloadTooLarge,
        WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => {
            DisconnectReason::TransportClosed
        }
        WebSocketError::IoError(_) => DisconnectReason::TransportError,
        _ => DisconnectReason::ProtocolViolation,
    }
}

/// Joins a message's fragments, within a limit on the whole.
struct Fragments {
    opcode: Option<OpCode>,
    bytes: BytesMut,
    max: usize,
}

impl Fragments {
    fn add(
        &mut self,
        opcode: OpCode,
        fin: bool,
        payload: Bytes,
    ) -> Result<Option<(OpCode, Bytes)>, DisconnectReason> {
        let first = match (opcode, self.opcode) {
            (OpCode::Continuation, Some(first)) => first,
            (OpCode::Continuation, None) | (_, Some(_)) => {
                return Err(DisconnectReason::ProtocolViolation);
            }
            (opcode, None) if fin => return Ok(Some((opcode, payload))),
            (opcode, None) => opcode,
        };
        if self.bytes.len() + payload.len() > self.max {
            return Err(DisconnectReason::PayloadTooLarge);
        }
        self.bytes.extend_from_slice(&payload);
        if !fin {
            self.opcode = Some(first);
            return Ok(None);
        }
        self.opcode = None;
        Ok(Some((first, std::mem::take(&mut self.bytes).freeze())))
    }
}

#[cfg(test)]
mod tests;
