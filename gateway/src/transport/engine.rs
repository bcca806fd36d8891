//! What all carriers of a session share: its clocks, and what each packet from its client means.
//!
//! It must never know whether the packet came in a WebSocket message or in the body of a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use confab_gateway_protocol::engineio::{OpenPacket, Packet};
use confab_gateway_protocol::websocket;
use parking_lot::Mutex;

use super::application::EngineHandler;
use crate::config::EngineConfig;
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::session::heartbeat::{Beat, Heartbeat};

/// A running session, apart from its handler's state and from what carries it.
pub(super) struct Engine<'a, H> {
    pub(super) handler: &'a H,
    pub(super) config: &'a EngineConfig,
    pub(super) queue: &'a SendQueue,
    heartbeat: Mutex<Heartbeat>,
    begun: AtomicBool,
}

impl<'a, H: EngineHandler> Engine<'a, H> {
    /// A session that opened now.
    pub(super) fn new(handler: &'a H, config: &'a EngineConfig, queue: &'a SendQueue) -> Self {
        Self {
            handler,
            config,
            queue,
            heartbeat: Mutex::new(Heartbeat::new(
                config.ping_interval(),
                config.ping_timeout(),
                Instant::now(),
            )),
            begun: AtomicBool::new(false),
        }
    }

    /// A text packet came in a message of its own. An error ends the session.
    pub(super) async fn text(
        &self,
        session: &mut H::Session,
        bytes: &[u8],
    ) -> Result<(), DisconnectReason> {
        match Packet::decode_utf8(bytes) {
            Ok(Packet::Message(text)) => {
                self.handler.text(session, text).await?;
                self.begin(session);
                Ok(())
            }
            Ok(other) => self.control(&other),
            Err(error) => {
                tracing::debug!(%error, "session closed");
                Err(DisconnectReason::ProtocolViolation)
            }
        }
    }

    /// A binary message came. An error ends the session.
    pub(super) async fn binary(
        &self,
        session: &mut H::Session,
        bytes: Bytes,
    ) -> Result<(), DisconnectReason> {
        self.handler.binary(session, bytes).await?;
        self.begin(session);
        Ok(())
    }

    /// A packet came, among others. An error ends the session.
    pub(super) async fn packet(
        &self,
        session: &mut H::Session,
        packet: Packet<'_>,
    ) -> Result<(), DisconnectReason> {
        match packet {
            Packet::Message(text) => self.handler.text(session, text).await?,
            Packet::Binary(bytes) => return self.binary(session, bytes).await,
            other => return self.control(&other),
        }
        self.begin(session);
        Ok(())
    }

    /// A packet of the link itself.
    fn control(&self, packet: &Packet<'_>) -> Result<(), DisconnectReason> {
        match packet {
            Packet::Pong(_) => {
                self.heartbeat.lock().pong(Instant::now());
                self.queue.ponged();
                Ok(())
            }
            // Only the link is given up: a client that means its sockets says so with Socket.IO's own packet.
            Packet::Close => Err(DisconnectReason::TransportClosed),
            // An upgrade's packets have no meaning here, and do no harm.
            Packet::Upgrade | Packet::Noop => Ok(()),
            // Only servers ping and open; a message is none of the link's.
            Packet::Ping(_) | Packet::Open(_) | Packet::Message(_) | Packet::Binary(_) => {
                Err(DisconnectReason::ProtocolViolation)
            }
        }
    }

    /// Looks whether the session has begun. Only messages, and its opening, can make it.
    pub(super) fn begin(&self, session: &H::Session) {
        if !self.begun.load(Ordering::Relaxed) && self.handler.has_begun(session) {
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    /// When the heartbeat's next step is due.
    pub(super) fn deadline(&self) -> Instant {
        self.heartbeat.lock().deadline()
    }

    /// Pings, and resolves when a pong does not come in time or the session does not begin in time.
    pub(super) async fn watch(&self) -> DisconnectReason {
        let late = async {
            tokio::time::sleep(self.config.connect_timeout()).await;
            if self.begun.load(Ordering::Relaxed) {
                std::future::pending().await
            } else {
                DisconnectReason::ConnectTimeout
            }
        };
        tokio::select! {
            reason = self.beat() => reason,
            reason = late => reason,
        }
    }

    async fn beat(&self) -> DisconnectReason {
        let ping = websocket::text_frame(|out| {
            Packet::Ping("").encode(out);
        })
        .into_wire();
        loop {
            // A pong brings the next ping nearer than the pong's own deadline was, but never nearer than one interval from now.
            let next = self.heartbeat.lock().next_look(Instant::now());
            tokio::time::sleep_until(next.into()).await;
            let beat = self.heartbeat.lock().expire(Instant::now());
            match beat {
                Some(Beat::Ping) => {
                    self.queue.ping(ping.clone());
                }
                Some(Beat::Dead) => return DisconnectReason::PingTimeout,
                None => {}
            }
        }
    }
}

/// The first packet, as a WebSocket frame: what the client has to know.
pub(super) fn open_frame(
    sid: &str,
    upgrades: &[&'static str],
    config: &EngineConfig,
) -> websocket::Frame {
    let open = OpenPacket {
        sid: sid.into(),
        upgrades: upgrades.iter().map(|name| (*name).into()).collect(),
        ping_interval: config.ping_interval_ms,
        ping_timeout: config.ping_timeout_ms,
        max_payload: config.max_payload as u64,
    };
    websocket::text_frame(|out| {
        Packet::Open(open).encode(out);
    })
}
