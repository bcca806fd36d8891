//! A session carried by HTTP requests: one that waits for what the server has, one at a time that takes ours there.
//!
//! Owns the requests, their turns around the gateways, and the probe of a WebSocket beside them. It never looks into a message,
//! other than the first.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use serde::Deserialize;

use super::ClientError;
use super::lane::{Lane, Request};
use super::route::{Purpose, Route};
use super::websocket::WebSocket;

/// How long a request may take that carries something, and the first one.
const PATIENCE: Duration = Duration::from_secs(20);
/// What stands between two messages of a body.
const SEPARATOR: u8 = 0x1E;

/// What the server says of a new session.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handshake {
    sid: String,
    upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
}

type Probing = Pin<Box<dyn Future<Output = Result<WebSocket, ClientError>> + Send>>;

/// Whether a WebSocket is to take over.
enum Upgrade {
    /// No, or not any more: a probe that failed leaves the session as it was.
    No,
    Probing(Probing),
    /// The server has answered the probe. No request is begun any more; when none is under way, the WebSocket takes over.
    Probed(WebSocket),
}

/// A session over HTTP.
pub(super) struct Polling {
    path: String,
    route: Route,
    /// Where the last request went.
    at: usize,
    waiting: Lane,
    carrying: Lane,
    upgrade: Upgrade,
    /// What was received; what lies before `start` is handed out.
    input: Vec<u8>,
    start: usize,
    output: Vec<u8>,
    max_payload: usize,
    /// After so long without a word the session is gone.
    silence: Duration,
}

impl Polling {
    /// Begins a session, and the probe for its upgrade if one is wanted. `buffer` is the WebSocket's.
    pub(super) async fn open(
        route: &Route,
        upgrade: bool,
        buffer: usize,
    ) -> Result<Self, ClientError> {
        let mut waiting = Lane::new(route.clone(), Purpose::Wait);
        waiting.begin(&Request {
            path: "/socket.io/?EIO=4&transport=polling",
            body: b"",
            to: route.first(),
            within: PATIENCE,
        });
        let status = waiting.answered().await?;
        let body = waiting.body().map(std::mem::take).unwrap_or_default();
        if status != 200 {
            return Err(answered("the handshake", status, &body));
        }
        let end = memchr::memchr(SEPARATOR, &body).unwrap_or(body.len());
        let handshake: Handshake = body[..end]
            .strip_prefix(b"0")
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or(ClientError::Protocol("not a handshake"))?;
        let mut at = route.first();
        let upgrade = if upgrade && handshake.upgrades.iter().any(|to| to == "websocket") {
            at = route.after(at, Purpose::Carry);
            let endpoint = route.addresses()[at].clone();
            let sid = handshake.sid.clone();
            Upgrade::Probing(Box::pin(async move {
                let probing =
                    async { probe(WebSocket::open(&endpoint, Some(&sid), buffer).await?).await };
                tokio::time::timeout(PATIENCE, probing)
                    .await
                    .map_err(|_| ClientError::TimedOut)?
            }))
        } else {
            Upgrade::No
        };
        Ok(Self {
            path: format!("/socket.io/?EIO=4&transport=polling&sid={}", handshake.sid),
            route: route.clone(),
            at,
            waiting,
            carrying: Lane::new(route.clone(), Purpose::Carry),
            upgrade,
            start: (end + 1).min(body.len()),
            input: body,
            output: Vec::new(),
            max_payload: handshake.max_payload,
            silence: Duration::from_millis(handshake.ping_interval + handshake.ping_timeout),
        })
    }

    /// Where the next message that is here already lies; see [`bytes`](Self::bytes).
    pub(super) fn message(&mut self) -> Option<Range<usize>> {
        let rest = &self.input[self.start..];
        if rest.is_empty() {
            return None;
        }
        let length = memchr::memchr(SEPARATOR, rest).unwrap_or(rest.len());
        let message = self.start..self.start + length;
        self.start = (message.end + 1).min(self.input.len());
        Some(message)
    }

    /// A message, until the next call that reads.
    pub(super) fn bytes(&self, message: Range<usize>) -> &[u8] {
        &self.input[message]
    }

    /// Queues a message. Messages are text, in which a separator is always escaped.
    pub(super) fn send(&mut self, message: &[u8]) {
        if !self.output.is_empty() {
            self.output.push(SEPARATOR);
        }
        self.output.extend_from_slice(message);
    }

    /// Waits until something has come, and takes there what is queued meanwhile. When a WebSocket is to take over from here, it
    /// is handed out. Safe to cancel.
    pub(super) async fn turn(&mut self) -> Result<Option<WebSocket>, ClientError> {
        loop {
            if matches!(self.upgrade, Upgrade::Probed(_)) {
                if !self.waiting.is_busy() && !self.carrying.is_busy() {
                    let Upgrade::Probed(socket) = std::mem::replace(&mut self.upgrade, Upgrade::No)
                    else {
                        continue;
                    };
                    return Ok(Some(socket));
                }
            } else {
                self.begin_requests();
            }
            tokio::select! {
                biased;
                status = self.waiting.answered() => {
                    let status = status?;
                    self.received(status)?;
                    return Ok(None);
                }
                status = self.carrying.answered() => {
                    let status = status?;
                    if status != 200 {
                        let body = self.carrying.body().map(std::mem::take).unwrap_or_default();
                        return Err(answered("what we sent", status, &body));
                    }
                }
                probed = self.upgrade.probed() => {
                    self.upgrade = probed.map_or(Upgrade::No, Upgrade::Probed);
                }
            }
        }
    }

    fn begin_requests(&mut self) {
        if !self.waiting.is_busy() {
            self.at = self.route.after(self.at, Purpose::Wait);
            self.waiting.begin(&Request {
                path: &self.path,
                body: b"",
                to: self.at,
                within: self.silence,
            });
        }
        if !self.carrying.is_busy() && !self.output.is_empty() {
            self.at = self.route.after(self.at, Purpose::Carry);
            let end = self.fitting();
            self.carrying.begin(&Request {
                path: &self.path,
                body: &self.output[..end],
                to: self.at,
                within: PATIENCE,
            });
            self.output.drain(..(end + 1).min(self.output.len()));
        }
    }

    /// How much of what is queued the server takes at once: whole messages, and one of them in any case.
    fn fitting(&self) -> usize {
        if self.output.len() <= self.max_payload {
            return self.output.len();
        }
        memchr::memrchr(SEPARATOR, &self.output[..=self.max_payload])
            .or_else(|| memchr::memchr(SEPARATOR, &self.output))
            .unwrap_or(self.output.len())
    }

    /// An answer has come to the request that waits.
    fn received(&mut self, status: u16) -> Result<(), ClientError> {
        let Some(body) = self.waiting.body() else {
            return Ok(());
        };
        if status != 200 {
            return Err(answered("a poll", status, body));
        }
        if self.start == self.input.len() {
            self.start = 0;
            std::mem::swap(&mut self.input, body);
        } else {
            self.input.push(SEPARATOR);
            self.input.extend_from_slice(body);
        }
        Ok(())
    }

    /// What is queued and was not taken there: messages, in order.
    pub(super) fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        self.output
            .split(|byte| *byte == SEPARATOR)
            .filter(|message| !message.is_empty())
    }
}

impl Upgrade {
    /// Waits for the end of the probe, forever if there is none. Safe to cancel.
    async fn probed(&mut self) -> Result<WebSocket, ClientError> {
        match self {
            Self::Probing(probing) => probing.await,
            Self::No | Self::Probed(_) => std::future::pending().await,
        }
    }
}

impl std::fmt::Debug for Polling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polling")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Asks whether the server hears us on a WebSocket.
async fn probe(mut socket: WebSocket) -> Result<WebSocket, ClientError> {
    socket.send(b"2probe");
    loop {
        if let Some(message) = socket.message()? {
            return if socket.bytes(message) == b"3probe" {
                Ok(socket)
            } else {
                Err(ClientError::Protocol("not the answer to a probe"))
            };
        }
        socket.turn().await?;
    }
}

fn answered(what: &'static str, status: u16, body: &[u8]) -> ClientError {
    let body = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    ClientError::Answered { what, status, body }
}
