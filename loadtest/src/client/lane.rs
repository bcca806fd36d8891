//! HTTP requests one after the other, over connections that are kept.
//!
//! Owns the connections of one kind of request of one client (those that wait, or those that carry something), one for each
//! address, and the request under way. A connection is made when there is a request for it. A request is never repeated once a byte of
//! it was written: what became of it is unknown.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
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
        let (at, mut stream) = self.send(to).await?;
        self.answer.clear();
        let Status { code, keeps } = http::read_answer(&mut stream, &mut self.answer).await?;
        self.streams[at] = keeps.then_some(stream);
        Ok(code)
    }

    /// Writes the request. The server may have closed a kept connection since it was looked at: if that takes not a byte, nobody has
    /// seen anything of the request, and it goes out by another one, once.
    async fn send(&mut self, to: usize) -> io::Result<(usize, TcpStream)> {
        let (mut at, mut stream, is_kept) = self.reach(to).await?;
        let begun = match stream.write(&self.request).await {
            Err(_) if is_kept => {
                (at, stream, _) = self.reach(at).await?;
                stream.write(&self.request).await?
            }
            begun => begun?,
        };
        http::write_all(&mut stream, &self.request[begun..]).await?;
        Ok((at, stream))
    }

    /// A connection to an address, or, as a load balancer would have it, to the next one where somebody listens; and whether it was
    /// kept.
    async fn reach(&mut self, to: usize) -> io::Result<(usize, TcpStream, bool)> {
        let mut at = to;
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..=self.streams.len() {
            if let Some(stream) = self.streams[at].take().filter(is_open) {
                return Ok((at, stream, true));
            }
            match connect(&self.route.addresses()[at]).await {
                Ok(stream) => return Ok((at, stream, false)),
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    /// A whole request, as far as its server cares.
    const BODY: &[u8] = b"a body";

    async fn lane() -> (Lane, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let route = Route::direct(Endpoint::parse(&url).unwrap());
        (Lane::new(route, Purpose::Carry), listener)
    }

    /// Has the lane carry something while the server does something.
    async fn carry<T>(lane: &mut Lane, server: impl Future<Output = T>) -> (io::Result<u16>, T) {
        lane.begin(&Request {
            path: "/",
            body: BODY,
            to: 0,
            within: PATIENCE,
        });
        tokio::join!(lane.answered(), server)
    }

    async fn take_request(stream: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(BODY) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
    }

    async fn answer(stream: &mut TcpStream) {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    }

    /// Takes one connection, and answers one request by it.
    async fn serve_one(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        take_request(&mut stream).await;
        answer(&mut stream).await;
        stream
    }

    /// The connection that is kept.
    fn kept(lane: &mut Lane) -> &mut TcpStream {
        let State::Idle(wires) = &mut lane.state else {
            panic!("busy");
        };
        wires.streams[0].as_mut().expect("none is kept")
    }

    #[tokio::test]
    async fn a_connection_is_made_with_its_first_request_and_kept() {
        let (mut lane, listener) = lane().await;
        let early = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
        assert!(early.is_err(), "nothing was to be said yet");
        let (status, mut stream) = carry(&mut lane, serve_one(&listener)).await;
        assert_eq!(status.unwrap(), 200);
        let again = async {
            take_request(&mut stream).await;
            answer(&mut stream).await;
        };
        assert_eq!(carry(&mut lane, again).await.0.unwrap(), 200);
    }

    #[tokio::test]
    async fn one_that_the_server_closed_between_two_requests_is_made_anew() {
        let (mut lane, listener) = lane().await;
        let (status, stream) = carry(&mut lane, serve_one(&listener)).await;
        assert_eq!(status.unwrap(), 200);
        drop(stream);
        kept(&mut lane).readable().await.unwrap();
        let (status, _stream) = carry(&mut lane, serve_one(&listener)).await;
        assert_eq!(status.unwrap(), 200);
    }

    #[tokio::test]
    async fn a_request_of_which_a_kept_connection_took_nothing_goes_out_by_another() {
        let (mut lane, listener) = lane().await;
        let (status, _first) = carry(&mut lane, serve_one(&listener)).await;
        assert_eq!(status.unwrap(), 200);
        // It looks open, and takes nothing.
        kept(&mut lane).shutdown().await.unwrap();
        let (status, _second) = carry(&mut lane, serve_one(&listener)).await;
        assert_eq!(status.unwrap(), 200);
    }

    #[tokio::test]
    async fn a_request_that_was_written_is_not_repeated() {
        let (mut lane, listener) = lane().await;
        let (status, mut stream) = carry(&mut lane, serve_one(&listener)).await;
        assert_eq!(status.unwrap(), 200);
        let vanish = async {
            take_request(&mut stream).await;
            drop(stream);
        };
        let (status, ()) = carry(&mut lane, vanish).await;
        assert_eq!(status.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let again = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(again.is_err(), "it came again");
    }
}
