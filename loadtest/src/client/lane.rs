//! HTTP requests one after the other, over connections that are kept.
//!
//! Owns the connections of one kind of request of one client (those that wait, or those that carry something), one for each
//! address, and the request under way. A request is never repeated once a byte of it was written: what became of it is unknown.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::ReusableBoxFuture;

use super::route::{Purpose, Route};
use crate::http::{self, Endpoint, Status};

/// How long connecting to one address may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) path: &'a str,
    /// What a request carries; nothing, if it waits.
    pub(super) body: &'a [u8],
    /// Of the route's addresses, where it goes; to another one only if nobody listens there.
    pub(super) to: usize,
    /// How long its answer may take.
    pub(super) within: Duration,
}

/// See the module.
pub(super) struct Lane {
    state: State,
    under_way: ReusableBoxFuture<'static, (Box<Wires>, io::Result<u16>)>,
}

enum State {
    Idle(Box<Wires>),
    Busy,
}

/// The connections, and the bytes of one exchange.
struct Wires {
    purpose: Purpose,
    route: Route,
    streams: Vec<Option<TcpStream>>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Lane {
    pub(super) fn new(route: Route, purpose: Purpose) -> Self {
        let wires = Wires {
            purpose,
            streams: route.addresses().iter().map(|_| None).collect(),
            route,
            request: Vec::new(),
            answer: Vec::new(),
        };
        Self {
            state: State::Idle(Box::new(wires)),
            under_way: ReusableBoxFuture::new(std::future::pending()),
        }
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.state, State::Busy)
    }

    /// Begins a request; none may be under way. It gets on while [`answered`](Self::answered) is waited for.
    pub(super) fn begin(&mut self, request: &Request<'_>) {
        let State::Idle(mut wires) = std::mem::replace(&mut self.state, State::Busy) else {
            return;
        };
        wires.write_down(request);
        let (to, within) = (request.to, request.within);
        self.under_way.set(async move {
            let answered = tokio::time::timeout(within, wires.exchange(to)).await;
            let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            (wires, answered)
        });
    }

    /// Waits for the answer to the request under way, forever if there is none: its status. Safe to cancel.
    pub(super) async fn answered(&mut self) -> io::Result<u16> {
        if !self.is_busy() {
            std::future::pending::<()>().await;
        }
        let (wires, status) = std::future::poll_fn(|context| self.under_way.poll(context)).await;
        // The future has ended: it must not be waited for again.
        self.state = State::Idle(wires);
        status
    }

    /// The body of the last answer, which can be taken away.
    pub(super) fn body(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Idle(wires) => Some(&mut wires.answer),
            State::Busy => None,
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("busy", &self.is_busy())
            .finish_non_exhaustive()
    }
}

impl Wires {
    fn write_down(&mut self, request: &Request<'_>) {
        let length = request.body.len();
        self.request.clear();
        for part in [
            match self.purpose {
                Purpose::Carry => b"POST ".as_slice(),
                Purpose::Wait => b"GET ",
            },
            request.path.as_bytes(),
            // Every gateway of a cluster answers for the same host.
            b" HTTP/1.1\r\nHost: confab.test\r\n",
        ] {
            self.request.extend_from_slice(part);
        }
        if self.purpose == Purpose::Carry {
            let head =
                format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n");
            self.request.extend_from_slice(head.as_bytes());
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(request.body);
    }

    async fn exchange(&mut self, to: usize) -> io::Result<u16> {
        let (at, mut stream) = self.reach(to).await?;
        http::write_all(&mut stream, &self.request).await?;
        self.answer.clear();
        let Status { code, keeps } = http::read_answer(&mut stream, &mut self.answer).await?;
        self.streams[at] = keeps.then_some(stream);
        Ok(code)
    }

    /// A connection to an address, or, as a load balancer would have it, to the next one where somebody listens.
    async fn reach(&mut self, to: usize) -> io::Result<(usize, TcpStream)> {
        let mut at = to;
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..=self.streams.len() {
            if let Some(stream) = self.streams[at].take().filter(is_open) {
                return Ok((at, stream));
            }
            match connect(&self.route.addresses()[at]).await {
                Ok(stream) => return Ok((at, stream)),
                Err(error) => refused = error,
            }
            at = self.route.after(at, self.purpose);
        }
        Err(refused)
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect(endpoint.authority());
    let stream = tokio::time::timeout(CONNECT_LIMIT, connecting)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a kept connection was neither closed nor written to by the server meanwhile.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
