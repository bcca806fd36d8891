//! A session over a WebSocket: one task, one connection.
//!
//! Reading is fastwebsockets'; its `read_frame` may not be dropped half way, so it lives in a loop of its own that ends only with
//! the session. Writing is ours: server frames are unmasked, so what is queued is written as it is.

use std::collections::VecDeque;
use std::io::{self, Cursor, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use confab_gateway_protocol::engineio::{OpenPacket, Packet};
use confab_gateway_protocol::websocket;
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, WebSocketRead, after_handshake_split};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;

use super::application::{EngineHandler, Handshake, Link};
use crate::config::EngineConfig;
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::session::heartbeat::{Beat, Heartbeat};

/// How many chunks one write takes.
const MAX_SLICES: usize = 64;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one session from its first frame to its last. `prefix` is what the client sent behind its handshake.
pub(super) async fn serve<H: EngineHandler>(
    mut stream: TcpStream,
    prefix: Bytes,
    handshake: Arc<Handshake>,
    handler: &H,
    config: &EngineConfig,
    queue: Arc<SendQueue>,
    sid: &str,
) -> DisconnectReason {
    let link = Link::new(queue.clone());
    link.push(open_packet(sid, config));
    let mut session = handler.open(handshake, link);
    let heartbeat = Mutex::new(Heartbeat::new(
        config.ping_interval(),
        config.ping_timeout(),
        Instant::now(),
    ));

    let (read_half, mut write_half) = stream.split();
    let (mut reader, _) = after_handshake_split(
        AsyncReadExt::chain(Cursor::new(prefix), read_half),
        tokio::io::sink(),
        Role::Server,
    );
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    // The limit itself is still allowed.
    reader.set_max_message_size(config.max_payload.saturating_add(1));

    let began = Mutex::new(false);
    let reason = {
        let read = read_loop(
            reader,
            &mut session,
            handler,
            config,
            &queue,
            &heartbeat,
            &began,
        );
        let write = write_loop(&mut write_half, &queue);
        let beat = beat_loop(&heartbeat, &queue);
        let late = async {
            tokio::time::sleep(config.connect_timeout()).await;
            if *began.lock() {
                std::future::pending().await
            } else {
                DisconnectReason::ConnectTimeout
            }
        };
        tokio::select! {
            reason = read => reason,
            reason = write => reason,
            reason = beat => reason,
            reason = late => reason,
        }
    };
    queue.close(reason);
    let reason = queue.closing().unwrap_or(reason);
    handler.closed(session, reason).await;
    farewell(&mut write_half, &queue, reason).await;
    reason
}

/// The first packet: what the client has to know. Over WebSocket there is nothing to upgrade to.
fn open_packet(sid: &str, config: &EngineConfig) -> Bytes {
    let open = OpenPacket {
        sid: sid.into(),
        upgrades: Vec::new(),
        ping_interval: config.ping_interval_ms,
        ping_timeout: config.ping_timeout_ms,
        max_payload: config.max_payload as u64,
    };
    websocket::text_frame(|out| {
        Packet::Open(open).encode(out);
    })
    .into_wire()
}

/// Reads until the session is over. Never dropped but with the session.
async fn read_loop<H: EngineHandler, R: AsyncRead + Unpin>(
    mut reader: WebSocketRead<R>,
    session: &mut H::Session,
    handler: &H,
    config: &EngineConfig,
    queue: &SendQueue,
    heartbeat: &Mutex<Heartbeat>,
    began: &Mutex<bool>,
) -> DisconnectReason {
    let mut fragments = Fragments {
        opcode: None,
        bytes: BytesMut::new(),
        max: config.max_payload,
    };
    loop {
        let mut frame = match reader
            .read_frame(&mut |_| std::future::ready(io::Result::Ok(())))
            .await
        {
            Ok(frame) => frame,
            Err(error) => return read_failure(&error),
        };
        if !is_masked(&mut frame) {
            return DisconnectReason::ProtocolViolation;
        }
        let payload = match frame.payload {
            fastwebsockets::Payload::Bytes(bytes) => bytes.freeze(),
            other => Bytes::copy_from_slice(&other),
        };
        let taken = match frame.opcode {
            OpCode::Close => return DisconnectReason::TransportClosed,
            OpCode::Pong => Ok(()),
            OpCode::Ping => match websocket::pong_frame(&payload) {
                Ok(pong) => {
                    queue.push(pong.into_wire());
                    Ok(())
                }
                Err(_) => Err(DisconnectReason::ProtocolViolation),
            },
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                match fragments.add(frame.opcode, frame.fin, payload) {
                    Ok(Some((OpCode::Binary, bytes))) => handler.binary(session, bytes).await,
                    Ok(Some((_, bytes))) => text(session, handler, &bytes, heartbeat, queue).await,
                    Ok(None) => Ok(()),
                    Err(reason) => Err(reason),
                }
            }
        };
        if let Err(reason) = taken {
            return reason;
        }
        if !*began.lock() && handler.has_begun(session) {
            *began.lock() = true;
        }
    }
}

async fn text<H: EngineHandler>(
    session: &mut H::Session,
    handler: &H,
    bytes: &[u8],
    heartbeat: &Mutex<Heartbeat>,
    queue: &SendQueue,
) -> Result<(), DisconnectReason> {
    match Packet::decode_utf8(bytes) {
        Ok(Packet::Message(text)) => handler.text(session, text).await,
        Ok(Packet::Pong(_)) => {
            heartbeat.lock().pong(Instant::now());
            queue.ponged();
            Ok(())
        }
        Ok(Packet::Close) => Err(DisconnectReason::ClientClosed),
        // An upgrade's packets have no meaning on a session that began here, and do no harm.
        Ok(Packet::Upgrade | Packet::Noop) => Ok(()),
        // Only servers ping and open.
        Ok(Packet::Ping(_) | Packet::Open(_) | Packet::Binary(_)) | Err(_) => {
            Err(DisconnectReason::ProtocolViolation)
        }
    }
}

/// Writes what is queued, until the session is to end and all of it is written, or the connection breaks.
async fn write_loop(stream: &mut WriteHalf<'_>, queue: &SendQueue) -> DisconnectReason {
    let mut chunks = VecDeque::new();
    loop {
        std::future::poll_fn(|cx| queue.poll_ready(cx)).await;
        if queue.closing().is_none() {
            // One turn for whoever else has something for this session: several events then share a write.
            tokio::task::yield_now().await;
        }
        queue.take(&mut chunks);
        let written = tokio::select! {
            biased;
            written = write_all(stream, &mut chunks) => written,
            // A writer that is stuck does not notice by itself that its session is to end.
            () = overrun(queue) => return queue.closing().unwrap_or(DisconnectReason::SlowConsumer),
        };
        if written.is_err() {
            return DisconnectReason::TransportError;
        }
        if let Some(reason) = queue.closing() {
            return reason;
        }
    }
}

/// Resolves when the queue ran over, or has been closing for a while: a client that reads nothing must not hold up a drain.
async fn overrun(queue: &SendQueue) {
    let mut was_closing = false;
    loop {
        tokio::time::sleep(FAREWELL / 2).await;
        if queue.is_overrun() || was_closing {
            return;
        }
        was_closing = queue.closing().is_some();
    }
}

async fn write_all(stream: &mut WriteHalf<'_>, chunks: &mut VecDeque<Bytes>) -> io::Result<()> {
    while let Some(first) = chunks.front() {
        let mut written = if chunks.len() == 1 {
            stream.write(first).await?
        } else {
            let slices: Vec<IoSlice<'_>> = chunks
                .iter()
                .take(MAX_SLICES)
                .map(|chunk| IoSlice::new(chunk))
                .collect();
            stream.write_vectored(&slices).await?
        };
        if written == 0 && !first.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(chunk) = chunks.front_mut() {
            if written < chunk.len() {
                chunk.advance(written);
                break;
            }
            written -= chunk.len();
            chunks.pop_front();
        }
    }
    Ok(())
}

/// Pings, and ends the session when a pong does not come in time.
async fn beat_loop(heartbeat: &Mutex<Heartbeat>, queue: &SendQueue) -> DisconnectReason {
    let ping = websocket::text_frame(|out| {
        Packet::Ping("").encode(out);
    })
    .into_wire();
    loop {
        // A pong brings the next ping nearer than the pong's own deadline was, but never nearer than one interval from now.
        let next = heartbeat.lock().next_look(Instant::now());
        tokio::time::sleep_until(next.into()).await;
        let beat = heartbeat.lock().expire(Instant::now());
        match beat {
            Some(Beat::Ping) => {
                queue.ping(ping.clone());
            }
            Some(Beat::Dead) => return DisconnectReason::PingTimeout,
            None => {}
        }
    }
}

/// Says goodbye as far as the client still listens, then ends the connection.
async fn farewell(stream: &mut WriteHalf<'_>, queue: &SendQueue, reason: DisconnectReason) {
    if matches!(
        reason,
        DisconnectReason::SlowConsumer | DisconnectReason::TransportError
    ) {
        return;
    }
    let mut chunks = VecDeque::new();
    queue.take(&mut chunks);
    chunks.push_back(websocket::close_frame(reason.close_code(), reason.as_str()).into_wire());
    let goodbye = async {
        write_all(stream, &mut chunks).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(FAREWELL, goodbye).await, Ok(Ok(()))) {
        // The client is gone already; there is nobody to tell.
        tracing::trace!(%reason, "no farewell");
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
mod tests {
    use super::*;

    fn fragments() -> Fragments {
        Fragments {
            opcode: None,
            bytes: BytesMut::new(),
            max: 6,
        }
    }

    #[test]
    fn fragments_are_joined_within_the_limit() {
        let mut parts = fragments();
        assert_eq!(parts.add(OpCode::Text, false, "ab".into()), Ok(None));
        assert_eq!(
            parts.add(OpCode::Continuation, false, "cd".into()),
            Ok(None)
        );
        let Ok(Some((OpCode::Text, whole))) = parts.add(OpCode::Continuation, true, "ef".into())
        else {
            panic!("not joined")
        };
        assert_eq!(whole, "abcdef");
        assert!(parts.add(OpCode::Binary, false, "1234".into()).is_ok());
        assert_eq!(
            parts.add(OpCode::Continuation, true, "567".into()).err(),
            Some(DisconnectReason::PayloadTooLarge)
        );
    }

    #[test]
    fn fragments_out_of_place_are_violations() {
        assert!(
            fragments()
                .add(OpCode::Continuation, true, "x".into())
                .is_err()
        );
        let mut parts = fragments();
        parts.add(OpCode::Text, false, "a".into()).unwrap();
        assert!(parts.add(OpCode::Text, true, "b".into()).is_err());
    }
}
