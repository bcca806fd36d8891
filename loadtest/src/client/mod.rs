//! A Socket.IO v5 client over Engine.IO v4, made to be cheap; and one that subscribes over STOMP ([`stomp`]).
//!
//! Owns one session: how it is carried, the namespace, heartbeats. It knows no chat: names and payloads of events are its
//! caller's. It never reconnects; that, too, is the caller's.

mod frame;
mod lane;
mod packet;
mod polling;
pub mod recovery;
mod route;
pub mod scan;
pub mod stomp;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Duration;

pub use packet::Packet;
use polling::Polling;
use recovery::{Recovery, Welcome};
pub use route::{Kind, PassedOn, Route};
use websocket::WebSocket;

/// The namespace that the generator's clients join.
pub const NAMESPACE: &str = "/chat";
/// How many packets may come before the namespace's answer: a recovered session's missed events do.
const MAX_EARLY: usize = 100_000;

/// Why a connection could not be made or is over.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The network.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The server did not upgrade the connection.
    #[error("the upgrade was answered with status {0}")]
    NotUpgraded(u16),
    /// A polling request failed.
    #[error("{what} was answered with status {status}: {body}")]
    Answered {
        /// Which.
        what: &'static str,
        /// How.
        status: u16,
        /// With what.
        body: String,
    },
    /// The namespace refused us; in its own words.
    #[error("refused: {0}")]
    Refused(String),
    /// The server ended it.
    #[error("closed by the server{0}")]
    Closed(String),
    /// The server said something that it should not.
    #[error("protocol: {0}")]
    Protocol(&'static str),
    /// It took too long.
    #[error("not connected in time")]
    TimedOut,
}

/// How to reach the servers.
#[derive(Debug, Clone)]
pub struct Dial {
    /// How the session is to be carried.
    pub kind: Kind,
    /// Where its requests go.
    pub route: Route,
    /// How much is read at once from a WebSocket.
    pub buffer: usize,
    /// How long it may take until the namespace is joined.
    pub within: Duration,
}

/// An open connection, its namespace joined.
///
/// Drive it in a loop: [`packet`](Self::packet) until it has nothing, [`flush`](Self::flush), then [`turn`](Self::turn).
#[derive(Debug)]
pub struct Connection {
    carrier: Carrier,
    welcome: Welcome,
    /// Messages that came before their time: before the namespace's answer, or by the carrier before this one.
    early: VecDeque<Vec<u8>>,
    /// The one of those that is handed out.
    current: Vec<u8>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Carrier {
    WebSocket(WebSocket),
    Polling(Box<Polling>),
}

impl Connection {
    /// Connects and joins [`NAMESPACE`] with a token; `recovery` says which session to recover, if there is one.
    pub async fn open(dial: &Dial, token: &str, recovery: &Recovery) -> Result<Self, ClientError> {
        tokio::time::timeout(dial.within, Self::establish(dial, token, recovery))
            .await
            .map_err(|_| ClientError::TimedOut)?
    }

    async fn establish(dial: &Dial, token: &str, recovery: &Recovery) -> Result<Self, ClientError> {
        let carrier = match dial.kind {
            Kind::WebSocket => {
                let endpoint = dial.route.handshake();
                Carrier::WebSocket(WebSocket::open(endpoint, None, dial.buffer).await?)
            }
            Kind::Polling | Kind::Upgraded => {
                let upgrade = dial.kind == Kind::Upgraded;
                let polling = Polling::open(&dial.route, upgrade, dial.buffer).await?;
                Carrier::Polling(Box::new(polling))
            }
        };
        let mut this = Self {
            carrier,
            welcome: Welcome::default(),
            early: VecDeque::new(),
            current: Vec::new(),
            scratch: Vec::new(),
        };
        let credentials = recovery
            .credentials(token)
            .ok_or(ClientError::Protocol("the token is no text"))?;
        this.queue(&[b"40", NAMESPACE.as_bytes(), b",", &credentials]);
        this.joined().await?;
        Ok(this)
    }

    /// Waits for the namespace's answer. A recovered session's missed events may come before it: they are kept.
    async fn joined(&mut self) -> Result<(), ClientError> {
        let mut early = VecDeque::new();
        loop {
            let Some(message) = self.message()? else {
                self.turn().await?;
                continue;
            };
            let bytes = self.carrier.bytes(message);
            match packet::parse(bytes, NAMESPACE).map_err(ClientError::Protocol)? {
                Packet::Connected(json) => {
                    self.welcome = Welcome::read(json)
                        .ok_or(ClientError::Protocol("a namespace without a sid"))?;
                    early.append(&mut self.early);
                    self.early = early;
                    return Ok(());
                }
                Packet::Refused(why) => {
                    return Err(ClientError::Refused(
                        String::from_utf8_lossy(why).into_owned(),
                    ));
                }
                Packet::Disconnected => {
                    return Err(ClientError::Closed(" before it was open".into()));
                }
                Packet::Event { .. } if early.len() < MAX_EARLY => {
                    early.push_back(bytes.to_vec());
                }
                Packet::Event { .. } => {
                    return Err(ClientError::Protocol(
                        "too much before the namespace's answer",
                    ));
                }
                Packet::Ack { .. } | Packet::Other => {}
            }
        }
    }

    /// What the namespace said when it was joined.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Whether a WebSocket carries the session now.
    pub fn is_websocket(&self) -> bool {
        matches!(self.carrier, Carrier::WebSocket(_))
    }

    /// The next packet that is here already.
    pub fn packet(&mut self) -> Result<Option<Packet<'_>>, ClientError> {
        if let Some(message) = self.early.pop_front() {
            self.current = message;
            return packet::parse(&self.current, NAMESPACE)
                .map(Some)
                .map_err(ClientError::Protocol);
        }
        let Some(message) = self.message()? else {
            return Ok(None);
        };
        packet::parse(self.carrier.bytes(message), NAMESPACE)
            .map(Some)
            .map_err(ClientError::Protocol)
    }

    /// The next message that is here already and is not the Engine.IO layer's own.
    fn message(&mut self) -> Result<Option<Range<usize>>, ClientError> {
        loop {
            let message = match &mut self.carrier {
                Carrier::WebSocket(socket) => socket.message()?,
                Carrier::Polling(polling) => polling.message(),
            };
            let Some(message) = message else {
                return Ok(None);
            };
            match self.carrier.bytes(message.clone()).first() {
                Some(b'2') => self.queue(&[b"3"]),
                Some(b'1') => return Err(ClientError::Closed(" by an Engine.IO close".into())),
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Queues an event; with an `ack` id the server will answer it. The payload is JSON.
    pub fn emit(&mut self, event: &str, ack: u32, payload: &[u8]) {
        let ack = ack.to_string();
        self.queue(&[
            b"42",
            NAMESPACE.as_bytes(),
            b",",
            ack.as_bytes(),
            b"[\"",
            event.as_bytes(),
            b"\",",
            payload,
            b"]",
        ]);
    }

    fn queue(&mut self, parts: &[&[u8]]) {
        self.scratch.clear();
        for part in parts {
            self.scratch.extend_from_slice(part);
        }
        match &mut self.carrier {
            Carrier::WebSocket(socket) => socket.send(&self.scratch),
            Carrier::Polling(polling) => polling.send(&self.scratch),
        }
    }

    /// Writes as much of what is queued as the socket takes now. Where requests carry it, they do so while there is a
    /// [`turn`](Self::turn).
    pub fn flush(&mut self) -> Result<(), ClientError> {
        match &mut self.carrier {
            Carrier::WebSocket(socket) => socket.flush(),
            Carrier::Polling(_) => Ok(()),
        }
    }

    /// Waits until something has come, and writes what is queued meanwhile. Safe to cancel.
    pub async fn turn(&mut self) -> Result<(), ClientError> {
        match &mut self.carrier {
            Carrier::WebSocket(socket) => socket.turn().await,
            Carrier::Polling(polling) => {
                if let Some(socket) = polling.turn().await? {
                    self.take_over(socket)?;
                }
                Ok(())
            }
        }
    }

    /// From here on the WebSocket carries the session: nothing that is on its way by the old carrier is lost.
    fn take_over(&mut self, mut socket: WebSocket) -> Result<(), ClientError> {
        while let Some(message) = self.message()? {
            self.early.push_back(self.carrier.bytes(message).to_vec());
        }
        socket.send(b"5");
        if let Carrier::Polling(polling) = &self.carrier {
            for message in polling.unsent() {
                socket.send(message);
            }
        }
        socket.flush()?;
        self.carrier = Carrier::WebSocket(socket);
        Ok(())
    }
}

impl Carrier {
    fn bytes(&self, message: Range<usize>) -> &[u8] {
        match self {
            Self::WebSocket(socket) => socket.bytes(message),
            Self::Polling(polling) => polling.bytes(message),
        }
    }
}
