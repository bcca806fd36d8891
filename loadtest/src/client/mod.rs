//! A Socket.IO v5 client over Engine.IO v4, WebSocket only, made to be cheap.
//!
//! Owns one connection: the upgrade, the namespace, heartbeats, frames. It knows no chat: names and payloads of events are its
//! caller's. It never reconnects; that, too, is the caller's.

mod frame;
mod packet;
pub mod scan;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use frame::{Opcode, Parsed};
pub use packet::Packet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::http::{self, Endpoint};

/// The namespace that the generator's clients join.
pub const NAMESPACE: &str = "/chat";

/// Why a connection could not be made or is over.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The network.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The server did not upgrade the connection.
    #[error("the upgrade was answered with status {0}")]
    NotUpgraded(u16),
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

/// An open connection, its namespace joined.
///
/// Drive it in a loop: [`packet`](Self::packet) until it has nothing, [`flush`](Self::flush), then [`fill`](Self::fill).
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// What lies between these two of `input` is received and not yet handed out.
    start: usize,
    end: usize,
    output: Vec<u8>,
    scratch: Vec<u8>,
    mask: u32,
}

impl Connection {
    /// Connects, upgrades, and joins [`NAMESPACE`] with a token. `buffer` is how much is read at once.
    pub async fn open(
        endpoint: &Endpoint,
        token: &str,
        buffer: usize,
        within: Duration,
    ) -> Result<Self, ClientError> {
        tokio::time::timeout(within, Self::establish(endpoint, token, buffer))
            .await
            .map_err(|_| ClientError::TimedOut)?
    }

    async fn establish(
        endpoint: &Endpoint,
        token: &str,
        buffer: usize,
    ) -> Result<Self, ClientError> {
        let mut stream = TcpStream::connect(endpoint.authority()).await?;
        stream.set_nodelay(true)?;
        // The answer's accept key is not checked: it guards browsers against answers from caches, and there is none here.
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y29uZmFiIGxvYWQgdGVzdA==\r\n\r\n",
            endpoint.authority()
        );
        http::write_all(&mut stream, request.as_bytes()).await?;
        let mut received = Vec::new();
        let head = http::read_head(&mut stream, &mut received).await?;
        if head.status != 101 {
            return Err(ClientError::NotUpgraded(head.status));
        }
        let end = received.len();
        let mut input = received;
        input.resize(buffer.max(end).max(1024), 0);
        let mask = u32::from(stream.local_addr()?.port()) | 0x5bd1_0000;
        let mut this = Self {
            stream,
            input,
            start: 0,
            end,
            output: Vec::new(),
            scratch: Vec::new(),
            mask,
        };
        let token = serde_json::to_string(token)
            .map_err(|_| ClientError::Protocol("the token is no text"))?;
        this.queue(&[
            b"40",
            NAMESPACE.as_bytes(),
            b",{\"token\":",
            token.as_bytes(),
            b"}",
        ]);
        this.joined().await?;
        Ok(this)
    }

    /// Waits for the namespace's answer. Anything else that comes before it is none of ours.
    async fn joined(&mut self) -> Result<(), ClientError> {
        loop {
            match self.packet()? {
                Some(Packet::Connected(_)) => return Ok(()),
                Some(Packet::Refused(why)) => {
                    return Err(ClientError::Refused(
                        String::from_utf8_lossy(why).into_owned(),
                    ));
                }
                Some(Packet::Disconnected) => {
                    return Err(ClientError::Closed(" before it was open".into()));
                }
                Some(_) => {}
                None => {
                    self.flush()?;
                    self.fill().await?;
                }
            }
        }
    }

    /// The next packet that is here already.
    pub fn packet(&mut self) -> Result<Option<Packet<'_>>, ClientError> {
        loop {
            let frame = match frame::parse(&self.input[self.start..self.end])
                .map_err(ClientError::Protocol)?
            {
                Parsed::Frame(frame) => frame,
                Parsed::Incomplete(needed) => {
                    self.make_room(needed);
                    return Ok(None);
                }
            };
            let payload = self.start + frame.payload.start..self.start + frame.payload.end;
            self.start = payload.end;
            match frame.opcode {
                Opcode::Text if self.input.get(payload.start) == Some(&b'2') => self.queue(&[b"3"]),
                Opcode::Text => {
                    let packet = packet::parse(&self.input[payload], NAMESPACE)
                        .map_err(ClientError::Protocol)?;
                    return Ok(Some(packet));
                }
                Opcode::Ping => {
                    let echo = self.input[payload].to_vec();
                    let mask = self.next_mask();
                    frame::encode(&mut self.output, Opcode::Pong, mask, &echo);
                }
                Opcode::Pong => {}
                Opcode::Close => {
                    return Err(ClientError::Closed(close_reason(&self.input[payload])));
                }
            }
        }
    }

    /// Puts what is incomplete at the front, so that all of it will fit behind.
    fn make_room(&mut self, needed: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + needed > self.input.len()
            || self.input.len() - self.end < self.input.len() / 2
        {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if needed > self.input.len() {
            self.input.resize(needed.next_power_of_two(), 0);
        }
    }

    /// Waits until something has come. Call it when [`packet`](Self::packet) has nothing. Safe to cancel.
    pub async fn fill(&mut self) -> Result<(), ClientError> {
        let count = self.stream.read(&mut self.input[self.end..]).await?;
        if count == 0 {
            return Err(ClientError::Closed(" without a word".into()));
        }
        self.end += count;
        Ok(())
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
        let mask = self.next_mask();
        frame::encode(&mut self.output, Opcode::Text, mask, &self.scratch);
    }

    fn next_mask(&mut self) -> [u8; 4] {
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        self.mask.to_ne_bytes()
    }

    /// Writes as much of what is queued as the socket takes now.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(count) if count == self.output.len() => self.output.clear(),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether something queued has not been written yet.
    pub fn is_blocked(&self) -> bool {
        !self.output.is_empty()
    }

    /// Waits until something has come, and writes what is queued meanwhile. Safe to cancel.
    pub async fn turn(&mut self) -> Result<(), ClientError> {
        self.flush()?;
        while self.is_blocked() {
            let ready = self
                .stream
                .ready(tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE)
                .await?;
            if ready.is_readable() {
                break;
            }
            self.flush()?;
        }
        self.fill().await
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => format!(
            " with {} {}",
            u16::from_be_bytes([*a, *b]),
            String::from_utf8_lossy(reason)
        ),
        _ => String::new(),
    }
}
