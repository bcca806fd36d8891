//! Clients that send exactly what they are told to, and read exactly what comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::bench::Node;
use crate::http::{Answer, Request};
use crate::raw::PATIENCE;

/// Sends a request with a body, and headers that each end in CRLF.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Request {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    Request::raw(address, head.as_bytes())
}

/// A session as its client has it.
#[derive(Clone)]
pub(crate) struct Client {
    pub address: SocketAddr,
    pub path: String,
}

impl Client {
    /// The same session by way of another node.
    pub(crate) fn at(&self, node: &Node) -> Self {
        Self {
            address: node.address,
            path: self.path.clone(),
        }
    }

    /// A session that has been opened by a poll.
    pub(crate) fn opened(self) -> Self {
        self.poll().is(200, "o\n");
        self
    }

    pub(crate) fn begin_poll(&self) -> Request {
        request(self.address, "POST", &format!("{}/xhr", self.path), "", "")
    }

    /// A poll that has had the time to arrive: a while, and until another request was answered that came later.
    pub(crate) fn waiting_poll(&self) -> Request {
        let mut poll = self.begin_poll();
        assert!(poll.is_waiting(Duration::from_millis(150)));
        let info = request(self.address, "GET", "/ws/info", "", "").answer();
        assert_eq!(info.status, 200);
        poll
    }

    pub(crate) fn poll(&self) -> Answer {
        self.begin_poll().answer()
    }

    pub(crate) fn begin_send(&self, length: usize, body: &str) -> Request {
        let head = format!(
            "POST {}/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}",
            self.path
        );
        Request::raw(self.address, head.as_bytes())
    }

    pub(crate) fn try_send(&self, body: &str) -> Answer {
        self.begin_send(body.len(), body).answer()
    }

    /// Sends messages.
    #[track_caller]
    pub(crate) fn send(&self, messages: &[&str]) {
        let body = serde_json::to_string(messages).unwrap();
        self.try_send(&body).is(204, "");
    }

    pub(crate) fn stream(&self) -> Stream {
        self.receive("POST", "xhr_streaming")
    }

    pub(crate) fn events(&self) -> Stream {
        self.receive("GET", "eventsource")
    }

    fn receive(&self, method: &str, transport: &str) -> Stream {
        let path = format!("{}/{transport}", self.path);
        Stream::new(request(self.address, method, &path, "", "").into_stream())
    }
}

/// An answer that comes bit by bit.
pub(crate) struct Stream {
    pub head: String,
    connection: TcpStream,
    read: Vec<u8>,
    is_over: bool,
}

impl Stream {
    /// The answer to a request that was sent.
    pub(crate) fn new(mut connection: TcpStream) -> Self {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            connection.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        Self {
            head: String::from_utf8(head).unwrap(),
            connection,
            read: Vec::new(),
            is_over: false,
        }
    }

    /// Its prelude and `o` read.
    #[track_caller]
    pub(crate) fn opened(mut self) -> Self {
        let prelude = self.prelude();
        assert!(self.head.starts_with("HTTP/1.1 200"), "{}", self.head);
        self.expect(&prelude);
        let open = if prelude.starts_with('h') {
            "o\n"
        } else {
            "data: o\r\n\r\n"
        };
        self.expect(open);
        self
    }

    /// Its prelude read.
    #[track_caller]
    pub(crate) fn begun(mut self) -> Self {
        let prelude = self.prelude();
        self.expect(&prelude);
        self
    }

    fn prelude(&self) -> String {
        if self.head.contains("event-stream") {
            "\r\n".into()
        } else {
            format!("{}\n", "h".repeat(2_048))
        }
    }

    /// Exactly this comes next.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        while self.read.len() < text.len() && self.more() {}
        let found = &self.read[..text.len().min(self.read.len())];
        assert_eq!(String::from_utf8_lossy(found), text);
        self.read.drain(..text.len());
    }

    /// Exactly this line comes next, but for heartbeats.
    #[track_caller]
    pub(crate) fn expect_among_beats(&mut self, text: &str) {
        let mut line = self.line();
        while line == "h\n" {
            line = self.line();
        }
        assert_eq!(line, text);
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> String {
        while !self.read.contains(&b'\n') && self.more() {}
        let end = self.read.iter().position(|byte| *byte == b'\n').unwrap();
        String::from_utf8(self.read.drain(..=end).collect()).unwrap()
    }

    /// It ends as it should, and this is what was left of it.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Whether nothing comes for a while.
    pub(crate) fn is_silent(&mut self, time: Duration) -> bool {
        self.connection.set_read_timeout(Some(time)).unwrap();
        let peeked = self.connection.peek(&mut [0]);
        self.connection.set_read_timeout(Some(PATIENCE)).unwrap();
        self.read.is_empty() && peeked.is_err()
    }

    /// Reads one chunk (RFC 9112, 7.1). False at the end.
    fn more(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let mut line = String::new();
        let mut byte = [0];
        if self.head.contains("content-length: ") {
            let length = self.head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let mut whole = vec![0; length];
            self.connection.read_exact(&mut whole).unwrap();
            self.read.extend(whole);
            self.is_over = true;
            return true;
        }
        while !line.ends_with("\r\n") {
            match self.connection.read(&mut byte) {
                Ok(1) => line.push(char::from(byte[0])),
                Ok(_) => panic!("broken off after {:?}", String::from_utf8_lossy(&self.read)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing comes"),
                Err(error) => panic!("{error}"),
            }
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.connection.read_exact(&mut chunk).unwrap();
        self.read.extend(&chunk[..length]);
        self.is_over = length == 0;
        !self.is_over
    }

    pub(crate) fn into_stream(mut self) -> TcpStream {
        self.connection.flush().unwrap();
        self.connection
    }
}
