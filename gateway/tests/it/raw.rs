//! A client that sends exactly the bytes it is told to, and the echo server it talks to.

use std::cell::Cell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::{Answer, Request};
use crate::nodes::free_port;

/// What a step may take on a slow machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Sees something that must come in time once a moment has come that it notes. It is seen again where it failed and more time than that had
/// passed: a machine that stands still is no fault, but does not do so every time.
pub(crate) fn seen_in_time(limit: Duration, see: impl Fn(&Cell<Instant>)) {
    for tries_left in (0..5).rev() {
        let since = Cell::new(Instant::now());
        match catch_unwind(AssertUnwindSafe(|| see(&since))) {
            Ok(()) => return,
            Err(_) if tries_left > 0 && since.get().elapsed() > limit => {}
            Err(failure) => resume_unwind(failure),
        }
    }
}

/// What a test does not ask for otherwise: no time-out that the test itself would have to meet.
const CALM: [(&str, &str); 2] = [
    ("--ping-interval-ms", "60000"),
    ("--connect-timeout-ms", "60000"),
];

/// The echo example, on a port of its own; or several of it behind one address, where `CONFAB_TEST_NODES` says how many.
pub(crate) struct Echo {
    pub child: Child,
    pub address: SocketAddr,
    others: Vec<Self>,
}

impl Echo {
    /// With heartbeats that stay out of the way.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Self {
        let count = std::env::var("CONFAB_TEST_NODES").map_or(1, |count| count.parse().unwrap());
        if count == 1 {
            return Self::alone(flags);
        }
        let nodes = Self::nodes(count, flags).into_iter().map(|(node, _)| node);
        let mut others: Vec<Self> = nodes.collect();
        let address = take_turns(others.iter().map(|node| node.address).collect());
        let mut first = others.remove(0);
        first.address = address;
        first.others = others;
        first
    }

    /// One node, whatever the environment says: for what is true of one only.
    pub(crate) fn alone(flags: &[&str]) -> Self {
        // target/debug/deps/it-… → target/debug/examples/echo, which cargo builds together with this test.
        let test = std::env::current_exe().unwrap();
        let program: PathBuf = test
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("examples/echo");
        let calm = CALM.iter().filter(|(flag, _)| !flags.contains(flag));
        let mut child = Command::new(&program)
            .args(["--port", "0"])
            .args(calm.flat_map(|(flag, value)| [flag, value]))
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        Self {
            child,
            address,
            others: Vec::new(),
        }
    }

    /// Nodes that know each other, with the addresses of their internal listeners.
    pub(crate) fn nodes(count: usize, flags: &[&str]) -> Vec<(Self, SocketAddr)> {
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let peers: Vec<String> = (0..count)
            .map(|node| format!("{node}=127.0.0.1:{}", ports[node]))
            .collect();
        let peers = peers.join(",");
        (0..count)
            .map(|node| {
                let (number, port) = (node.to_string(), ports[node].to_string());
                let mut all = vec![
                    "--node",
                    &number,
                    "--internal-port",
                    &port,
                    "--peers",
                    &peers,
                ];
                all.extend(flags);
                (
                    Self::alone(&all),
                    SocketAddr::from(([127, 0, 0, 1], ports[node])),
                )
            })
            .collect()
    }

    /// How many sessions there are; of several nodes in turn, together.
    pub(crate) fn open_sessions(&self) -> usize {
        let count = |_| -> usize { self.get("/sessions", "").answer().text().parse().unwrap() };
        (0..=self.others.len()).map(count).sum()
    }

    /// Waits until there are so many sessions.
    #[track_caller]
    pub(crate) fn has(&self, sessions: usize) {
        let until = Instant::now() + PATIENCE;
        while self.open_sessions() != sessions {
            assert!(Instant::now() < until, "{} are open", self.open_sessions());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a process has ended that was told to.
    #[track_caller]
    pub(crate) fn leaves(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the process stays");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// An Engine.IO session at this path, its open packet read.
    pub(crate) fn session(&self, path: &str) -> Raw {
        let mut raw = Raw::upgrade(self.address, &format!("{path}?EIO=4&transport=websocket"));
        let open = raw.text();
        assert!(open.starts_with("0{"), "{open}");
        raw
    }

    /// A Socket.IO session that joined `/`.
    pub(crate) fn socket(&self) -> Raw {
        let mut raw = self.session("/socket.io/");
        raw.send_text("40");
        assert!(raw.text().starts_with("40{\"sid\":\""));
        assert_eq!(raw.text(), "42[\"auth\",{}]");
        raw
    }

    /// Sends a request as it is and returns the status line and body of the answer.
    pub(crate) fn request(&self, text: &str) -> (String, String) {
        let mut request = Request::raw(self.address, text.as_bytes());
        let answer = request.answer();
        (answer.status.to_string(), answer.text().to_owned())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A load balancer without affinity: each connection, and tests make one for each request, goes to the next node.
fn take_turns(nodes: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (client, node) in listener.incoming().zip(nodes.iter().cycle()) {
            let (client, node) = (client.unwrap(), TcpStream::connect(node).unwrap());
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), node.try_clone().unwrap()),
                (node, client),
            ] {
                std::thread::spawn(move || {
                    // Whoever breaks off has ended, too. The end of one direction is not yet that of the other.
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    address
}

/// A frame as it came: opcode and payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// A WebSocket connection in the raw.
pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(crate) fn upgrade(address: SocketAddr, target: &str) -> Self {
        let (raw, answer) = Self::try_upgrade(address, target, "");
        assert_eq!(answer.status, 101, "{answer:?}");
        raw
    }

    /// The same with more headers, each ending in CRLF, whatever comes of it.
    pub(crate) fn try_upgrade(address: SocketAddr, target: &str, headers: &str) -> (Self, Answer) {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        let mut request = Request::raw(address, request.as_bytes());
        let answer = request.answer();
        let stream = request.into_stream();
        (Self { stream }, answer)
    }

    /// Bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Bytes as they are; false if the server has closed the connection.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        self.stream.write_all(bytes).is_ok()
    }

    /// One frame, masked as clients must.
    pub(crate) fn send(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        self.send_raw(&frame(fin, opcode, payload, Some([1, 2, 3, 4])));
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(true, 1, text.as_bytes());
    }

    /// The next frame, whatever it is; none where the connection ended.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(head[0] & 0xf0, 0x80, "a whole frame without extensions");
        assert_eq!(head[1] & 0x80, 0, "servers do not mask");
        let length = match head[1] {
            126 => {
                let mut more = [0; 2];
                self.stream.read_exact(&mut more).unwrap();
                usize::from(u16::from_be_bytes(more))
            }
            127 => {
                let mut more = [0; 8];
                self.stream.read_exact(&mut more).unwrap();
                usize::try_from(u64::from_be_bytes(more)).unwrap()
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Frame {
            opcode: head[0] & 0x0f,
            payload,
        })
    }

    /// The next text message; pings are answered on the way.
    pub(crate) fn text(&mut self) -> String {
        loop {
            let frame = self.frame().expect("the connection ended");
            assert_eq!(frame.opcode, 1, "{frame:?}");
            let text = String::from_utf8(frame.payload).unwrap();
            if text != "2" {
                return text;
            }
            self.send_text("3");
        }
    }

    /// The session ends; its close code, if it said one.
    pub(crate) fn closed(&mut self) -> Option<u16> {
        while let Some(frame) = self.frame() {
            if frame.opcode == 8 {
                assert!(self.frame().is_none(), "a frame after Close");
                return Some(u16::from_be_bytes([frame.payload[0], frame.payload[1]]));
            }
        }
        None
    }
}

/// A client's frame.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    if let Ok(short @ 0..=125) = u8::try_from(payload.len()) {
        bytes.push(masked | short);
    } else if let Ok(medium) = u16::try_from(payload.len()) {
        bytes.push(masked | 0x7e);
        bytes.extend(medium.to_be_bytes());
    } else {
        bytes.push(masked | 0x7f);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    match mask {
        Some(mask) => {
            bytes.extend(mask);
            bytes.extend(
                payload
                    .iter()
                    .zip(mask.iter().cycle())
                    .map(|(byte, mask)| byte ^ mask),
            );
        }
        None => bytes.extend(payload),
    }
    bytes
}
