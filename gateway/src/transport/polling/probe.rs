//! The change from polling to WebSocket: a new connection is probed while the polls go on.
//!
//! `2probe` is answered with `3probe`; from then on polls are let go, so that the client can stop asking; `5` moves the session over.
//! Whatever else happens ends the new connection, not the session.

use std::io::{self, Cursor};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use confab_gateway_protocol::engineio::Packet;
use confab_gateway_protocol::websocket as frames;
use fastwebsockets::{OpCode, WebSocketRead};
use tokio::io::{AsyncWriteExt, Chain};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::mailbox::Connection;
use crate::config::EngineConfig;
use crate::session::DisconnectReason;
use crate::transport::endpoint::ConnectionGuard;
use crate::transport::stream::{ReadHalf, WriteHalf};
use crate::transport::websocket;

/// How long after the probe a waiting poll is let go: long enough for an `5` that is on its way already.
const FIRST_RELEASE: Duration = Duration::from_millis(10);
/// How often polls are let go from then on.
const NEXT_RELEASE: Duration = Duration::from_millis(100);

/// A connection that the session moves to if the probe goes well. Whoever has it says when it closes if not.
pub(super) struct Candidate {
    /// What comes: nothing that arrived behind the `5` is lost.
    pub(super) reader: WebSocketRead<Chain<Cursor<Bytes>, ReadHalf>>,
    /// What goes.
    pub(super) writer: WriteHalf,
    /// What the connection holds while it is open.
    pub(super) guard: ConnectionGuard,
}

impl Candidate {
    /// A connection that was made.
    pub(super) fn new(connection: Connection, config: &EngineConfig) -> Self {
        let (read_half, writer) = connection.stream.into_split();
        Self {
            reader: websocket::reader(read_half, connection.prefix, config),
            writer,
            guard: connection.guard,
        }
    }
}

/// When waiting polls are let go.
#[derive(Default)]
pub(super) struct Releases {
    begin: OnceLock<Instant>,
    began: Notify,
}

impl Releases {
    /// From now on they are.
    fn begin(&self) {
        self.begin.get_or_init(Instant::now);
        self.began.notify_one();
    }

    /// Resolves at the next moment when a poll that waits is to go.
    pub(super) async fn next(&self) {
        let begin = loop {
            let began = self.began.notified();
            if let Some(begin) = self.begin.get() {
                break *begin;
            }
            began.await;
        };
        tokio::time::sleep_until(next_release(begin, Instant::now())).await;
    }
}

fn next_release(begin: Instant, now: Instant) -> Instant {
    let mut next = begin + FIRST_RELEASE;
    while next <= now {
        next += NEXT_RELEASE;
    }
    next
}

/// Probes a connection until the client moves over to it.
pub(super) async fn run(
    candidate: &mut Candidate,
    releases: &Releases,
) -> Result<(), DisconnectReason> {
    let Candidate { reader, writer, .. } = candidate;
    let mut is_probed = false;
    loop {
        let frame = websocket::next_frame(reader).await?;
        match frame.opcode {
            OpCode::Pong => {}
            OpCode::Close => return Err(DisconnectReason::TransportClosed),
            OpCode::Ping => {
                let pong = frames::pong_frame(&frame.payload)
                    .map_err(|_| DisconnectReason::ProtocolViolation)?;
                send(writer, pong.wire()).await?;
            }
            OpCode::Text if frame.fin => match Packet::decode_utf8(&frame.payload) {
                Ok(Packet::Ping("probe")) => {
                    is_probed = true;
                    let pong = frames::text_frame(|out| {
                        Packet::Pong("probe").encode(out);
                    });
                    send(writer, pong.wire()).await?;
                    releases.begin();
                }
                Ok(Packet::Upgrade) if is_probed => return Ok(()),
                _ => return Err(DisconnectReason::ProtocolViolation),
            },
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                return Err(DisconnectReason::ProtocolViolation);
            }
        }
    }
}

async fn send(writer: &mut WriteHalf, wire: &[u8]) -> Result<(), DisconnectReason> {
    let sent = async {
        writer.write_all(wire).await?;
        writer.flush().await
    };
    sent.await
        .map_err(|_: io::Error| DisconnectReason::TransportError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_let_go_soon_and_then_again_and_again() {
        let begin = Instant::now();
        assert_eq!(next_release(begin, begin), begin + FIRST_RELEASE);
        let mut now = begin;
        for round in 0..5 {
            let next = next_release(begin, now);
            assert_eq!(next, begin + FIRST_RELEASE + NEXT_RELEASE * round);
            now = next;
        }
    }
}
