//! A session carried by a WebSocket: the upgrade, and frames both ways.
//!
//! Owns the stream and its buffers. It never looks into a message.

use std::io;
use std::ops::Range;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::ClientError;
use super::frame::{self, Opcode, Parsed};
use crate::http::{self, Endpoint};

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    stream: TcpStream,
    input: Vec<u8>,
    /// What lies between these two of `input` is received and not yet handed out.
    start: usize,
    end: usize,
    output: Vec<u8>,
    mask: u32,
}

impl WebSocket {
    /// Connects and upgrades, for the Engine.IO session with this id or a new one. `buffer` is how much is read at once.
    pub(super) async fn open(
        endpoint: &Endpoint,
        sid: Option<&str>,
        buffer: usize,
    ) -> Result<Self, ClientError> {
        let session = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
        let target = format!("/socket.io/?EIO=4&transport=websocket{session}");
        Self::upgrade(endpoint, &target, "", buffer).await
    }

    /// Connects and upgrades at `target`, with further lines of the request's head, each with its end.
    pub(super) async fn upgrade(
        endpoint: &Endpoint,
        target: &str,
        more: &str,
        buffer: usize,
    ) -> Result<Self, ClientError> {
        let mut stream = TcpStream::connect(endpoint.authority()).await?;
        stream.set_nodelay(true)?;
        // The answer's accept key is not checked: it guards browsers against answers from caches, and there is none here.
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y29uZmFiIGxvYWQgdGVzdA==\r\n{more}\r\n",
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
        Ok(Self {
            stream,
            input,
            start: 0,
            end,
            output: Vec::new(),
            mask,
        })
    }

    /// Where the next message that is here already lies; see [`bytes`](Self::bytes).
    pub(super) fn message(&mut self) -> Result<Option<Range<usize>>, ClientError> {
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
                Opcode::Text => return Ok(Some(payload)),
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

    /// A message, until the next call that reads.
    pub(super) fn bytes(&self, message: Range<usize>) -> &[u8] {
        &self.input[message]
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

    /// Waits until something has come, or there is no room for it before messages are taken out. Safe to cancel.
    async fn fill(&mut self) -> Result<(), ClientError> {
        if self.end == self.input.len() {
            // Not everything that came was taken out. A read without room would find nothing, as at the end of the stream.
            self.make_room(0);
            if self.end == self.input.len() {
                return Ok(());
            }
        }
        let count = self.stream.read(&mut self.input[self.end..]).await?;
        if count == 0 {
            return Err(ClientError::Closed(" without a word".into()));
        }
        self.end += count;
        Ok(())
    }

    /// Queues a message.
    pub(super) fn send(&mut self, message: &[u8]) {
        let mask = self.next_mask();
        frame::encode(&mut self.output, Opcode::Text, mask, message);
    }

    fn next_mask(&mut self) -> [u8; 4] {
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        self.mask.to_ne_bytes()
    }

    /// Writes as much of what is queued as the socket takes now.
    pub(super) fn flush(&mut self) -> Result<(), ClientError> {
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

    /// Waits until something has come, and writes what is queued meanwhile. Safe to cancel.
    pub(super) async fn turn(&mut self) -> Result<(), ClientError> {
        self.flush()?;
        while !self.output.is_empty() {
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
