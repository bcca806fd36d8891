//! Polling requests in the raw: each on a connection of its own, so that a test decides which is answered first.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::raw::{Echo, PATIENCE};

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header's values, in the order they came.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body), "{self:?}");
    }

    /// Refused with one of the protocol's codes.
    #[track_caller]
    pub(crate) fn is_refused(&self, code: u8) {
        assert_eq!(self.status, 400, "{self:?}");
        assert!(
            self.text().starts_with(&format!("{{\"code\":{code},")),
            "{self:?}"
        );
    }
}

/// A request that was sent. Dropped, its connection is closed.
pub(crate) struct Request {
    stream: TcpStream,
}

impl Request {
    /// Sends bytes as they are.
    pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        Self { stream }
    }

    /// More bytes of the body.
    pub(crate) fn more(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|n| n.trim().parse().unwrap())
            })
            .unwrap_or(0_usize);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body }
    }

    /// Whether no answer comes for a while.
    pub(crate) fn is_waiting(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        peeked.is_err()
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// A session over polling, seen from its client.
pub(crate) struct Polling<'e> {
    pub echo: &'e Echo,
    pub target: String,
    pub sid: String,
}

impl Echo {
    /// An Engine.IO session over polling at this path.
    pub(crate) fn polling(&self, path: &str) -> Polling<'_> {
        let answer = self
            .get(&format!("{path}?EIO=4&transport=polling"), "")
            .answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        let open: serde_json::Value = serde_json::from_str(&answer.text()[1..]).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        Polling {
            echo: self,
            target: format!("{path}?EIO=4&transport=polling&sid={sid}"),
            sid,
        }
    }

    /// A GET with more headers, each ending in CRLF.
    pub(crate) fn get(&self, target: &str, headers: &str) -> Request {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            self.address
        );
        Request::raw(self.address, head.as_bytes())
    }
}

impl Polling<'_> {
    /// Sends a GET.
    pub(crate) fn begin_poll(&self) -> Request {
        self.echo.get(&self.target, "")
    }

    /// Sends a GET and gives it the time to arrive: a while, and until another request was answered that came later.
    pub(crate) fn waiting_poll(&self) -> Request {
        let mut poll = self.begin_poll();
        assert!(
            poll.is_waiting(Duration::from_millis(150)),
            "answered at once"
        );
        self.echo.open_sessions();
        poll
    }

    /// The same, once polls are released no more because a WebSocket probes.
    pub(crate) fn poll_that_waits_again(&self) -> Request {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut poll = self.begin_poll();
            if poll.is_waiting(Duration::from_millis(300)) {
                return poll;
            }
            poll.answer().is(200, "6");
            assert!(Instant::now() < until, "polls are still released");
        }
    }

    pub(crate) fn poll(&self) -> Answer {
        self.begin_poll().answer()
    }

    /// Sends the head of a POST, and as much of its body as there is.
    pub(crate) fn begin_post(&self, length: usize, body: &[u8]) -> Request {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
             Content-Length: {length}\r\n\r\n",
            self.target, self.echo.address
        );
        Request::raw(self.echo.address, &[head.as_bytes(), body].concat())
    }

    pub(crate) fn post(&self, body: &str) -> Answer {
        self.begin_post(body.len(), body.as_bytes()).answer()
    }

    /// The next packets that are no pings, which are answered on the way.
    pub(crate) fn packets(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let answer = self.poll();
            assert_eq!(answer.status, 200, "{answer:?}");
            let packets: Vec<&str> = answer.text().split('\u{1e}').collect();
            if packets.contains(&"2") {
                self.post("3").is(200, "ok");
            }
            let others: Vec<&str> = packets
                .into_iter()
                .filter(|packet| *packet != "2")
                .collect();
            if !others.is_empty() {
                return others.join("\u{1e}");
            }
        }
        panic!("nothing came");
    }

    /// The target that a WebSocket for this session has.
    pub(crate) fn upgrade_target(&self) -> String {
        self.target
            .replace("transport=polling", "transport=websocket")
    }
}
