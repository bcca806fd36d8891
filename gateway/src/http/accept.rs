//! Accepts connections: a permit before each, back-off on errors, a handshake where there is TLS, time-outs, and a graceful end.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use futures_util::future::Either;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::Tls;
use crate::transport::connection::{ConnectionId, tend};
use crate::transport::endpoint::ConnectionGuard;
use crate::transport::stream::Stream;

/// How much of one peer's request may be under way over HTTP/2, and of all its requests together.
const PEER_WINDOWS: (u32, u32) = (1 << 20, 16 << 20);
/// The most requests of one peer at a time: every poll that waits is one.
const PEER_STREAMS: u32 = 100_000;
/// How many requests a peer may abort before they were looked at. Clients that leave abort their polls; that is no attack, and to
/// end the connection for it would abort all others.
const PEER_RESETS: usize = PEER_STREAMS as usize;

/// The largest head of a peer's request: far above what peers send, which is a target of 4 KiB and a few short headers. A larger one
/// would end the connection.
const PEER_HEADERS: u32 = 64 * 1024;

/// Upgrades leave one in so many of a listener's connections to others: tunnels last, and requests, probes and metrics must get in.
const PEER_RESERVE: usize = 16;

/// How long after its closing began the first request may come on a connection that was accepted before: a round trip or two. Nobody else would
/// answer it.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// How a listener treats its connections.
#[derive(Clone)]
pub struct AcceptConfig {
    /// What is spoken on them.
    pub protocols: Protocols,
    /// The most connections at a time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a new connection may take for its first request's head, and for the handshake before it.
    pub header_timeout: Duration,
    /// How long a later request's head may take: so long a connection may be idle, too. One that takes all of it for its head costs
    /// no more than one that is idle.
    pub idle_timeout: Duration,
    /// How long the peer may leave unacknowledged what it was sent, or keep silent to probes.
    pub peer_timeout: Duration,
    /// What clients are shown before anything is said, if that.
    pub tls: Option<Arc<Tls>>,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1, as clients do.
    Http1,
    /// HTTP/1.1 or HTTP/2 in the clear, as peers do; limits are a peer's, not a client's.
    Http1AndHttp2,
}

/// How a listener's connections come to their end.
#[derive(Debug, Clone)]
pub struct Closing {
    /// From here on no more are accepted, and each answer is the last one on its connection. Those on which nothing is under way stay: the next
    /// request may be on its way, and nobody says a POST twice that was cut off.
    pub begins: CancellationToken,
    /// From here on those end that still wait for a request.
    pub ends: CancellationToken,
}

/// All of it at once.
impl From<CancellationToken> for Closing {
    fn from(stop: CancellationToken) -> Self {
        Self {
            begins: stop.clone(),
            ends: stop,
        }
    }
}

/// A connection's permit and its place in the gauge, given back when whoever serves it is done.
struct Guard {
    gauge: Option<IntGauge>,
    /// Whether a request has come, and whom to tell when one does.
    begun: AtomicBool,
    begins: Notify,
    /// Whether an answer is its last.
    closes: AtomicBool,
    /// Whether it may become something that lasts.
    takes_upgrades: bool,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.dec();
        }
    }
}

/// Serves a listener until its closing begins; then no more connections are accepted, and those that there are come to their end. Upgraded
/// connections are their session's business.
pub async fn serve<S, F>(
    listener: TcpListener,
    config: AcceptConfig,
    gauge: Option<IntGauge>,
    respond: S,
    closing: impl Into<Closing>,
    tasks: TaskTracker,
) where
    S: Fn(Request<Incoming>, SocketAddr, ConnectionGuard) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let closing = closing.into();
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let mut backoff = Duration::from_millis(5);
    let mut accepted_before = 0;
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = closing.begins.cancelled() => return,
        };
        let (Ok(permit), accepted) = (permit, accepted) else {
            return;
        };
        match accepted {
            Ok((stream, remote)) => {
                backoff = Duration::from_millis(5);
                if let Some(gauge) = &gauge {
                    gauge.inc();
                }
                let is_crowded = config.protocols == Protocols::Http1AndHttp2
                    && permits.available_permits() < config.max_connections / PEER_RESERVE;
                let guard = Arc::new(Guard {
                    takes_upgrades: !is_crowded,
                    gauge: gauge.clone(),
                    begun: AtomicBool::new(false),
                    begins: Notify::new(),
                    closes: AtomicBool::new(false),
                    _permit: permit,
                });
                accepted_before += 1;
                tasks.spawn(connection(
                    stream,
                    (ConnectionId(accepted_before), remote),
                    guard,
                    config.clone(),
                    respond.clone(),
                    closing.clone(),
                ));
            }
            Err(error) => {
                // Out of files, most likely: wait until some are given back rather than spin.
                tracing::warn!(%error, "no connection accepted");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(Duration::from_secs(1));
            }
        }
    }
}

async fn connection<S, F>(
    stream: TcpStream,
    (id, remote): (ConnectionId, SocketAddr),
    guard: Arc<Guard>,
    config: AcceptConfig,
    respond: S,
    closing: Closing,
) where
    S: Fn(Request<Incoming>, SocketAddr, ConnectionGuard) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Small frames are the whole point: without TCP_NODELAY they wait for each other's acknowledgements.
    if let Err(error) = tend(&stream, config.peer_timeout) {
        tracing::debug!(connection = id.0, %error, "a client left at once");
        return;
    }
    let first_head = Instant::now() + config.header_timeout;
    let stream = match &config.tls {
        None => Stream::from(stream),
        // On the connection's own time and permit: others are accepted meanwhile.
        Some(tls) => match Box::pin(tls.handshake(stream, first_head)).await {
            Some(stream) => Stream::from(stream),
            None => return,
        },
    };
    let served = guard.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(id);
        if !served.begun.swap(true, Ordering::Relaxed) {
            served.begins.notify_one();
        }
        if !served.takes_upgrades && request.headers().contains_key(UPGRADE) {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Either::Left(ready(Ok(refusal)));
        }
        // On HTTP/2 the connection says so itself.
        let may_close = request.version() < Version::HTTP_2;
        let mut answer = Box::pin(respond(request, remote, served.clone()));
        // A request whose client closes the connection behind it is dropped before anybody has looked at it. One look is what it
        // takes for a POST to be read and processed all the same.
        let first = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let served = served.clone();
        Either::Right(async move {
            let mut answer = match first {
                Poll::Ready(answer) => answer,
                Poll::Pending => answer.await,
            };
            let is_last = may_close && served.closes.load(Ordering::Relaxed);
            if is_last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(answer)
        })
    });
    let never_began = async {
        tokio::time::sleep_until(first_head).await;
        if guard.begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let mut never_began = pin!(never_began);
    let stream = TokioIo::new(stream);
    // The two builders make connections of two types, which end the same way.
    macro_rules! until_ended {
        ($connection:expr) => {{
            let mut connection = pin!($connection);
            tokio::select! {
                ended = connection.as_mut() => ended.map_err(Into::into),
                () = never_began.as_mut() => Ok(()),
                () = closing.begins.cancelled() => {
                    guard.closes.store(true, Ordering::Relaxed);
                    // Asked to end, hyper closes a connection on which nothing is under way, though a request may be on its way here.
                    tokio::select! {
                        ended = connection.as_mut() => ended.map_err(Into::into),
                        () = never_began.as_mut() => Ok(()),
                        () = last_request(&guard, &closing.ends) => {
                            connection.as_mut().graceful_shutdown();
                            tokio::select! {
                                ended = connection.as_mut() => ended.map_err(Into::into),
                                () = never_began.as_mut() => Ok(()),
                            }
                        }
                    }
                }
            }
        }};
    }
    let ended: Result<(), Box<dyn Error + Send + Sync>> = match config.protocols {
        Protocols::Http1 => {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(config.idle_timeout)
                .max_buf_size(64 * 1024);
            until_ended!(builder.serve_connection(stream, service).with_upgrades())
        }
        Protocols::Http1AndHttp2 => {
            let builder = peer_builder(&config);
            until_ended!(builder.serve_connection_with_upgrades(stream, service))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(connection = id.0, %error, "a connection ended");
    }
}

/// Waits until a connection may end: when it has had the time for its last request. One that has begun ends with its next answer, or here.
async fn last_request(guard: &Guard, ends: &CancellationToken) {
    if guard.begun.load(Ordering::Relaxed) {
        ends.cancelled().await;
    } else {
        // Whichever it is, the connection may end now.
        let _ = tokio::time::timeout(LAST_REQUEST, guard.begins.notified()).await;
    }
}

/// For connections from peers, which carry many sessions' requests each.
fn peer_builder(config: &AcceptConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(PEER_WINDOWS.0)
        .initial_connection_window_size(PEER_WINDOWS.1)
        .max_concurrent_streams(PEER_STREAMS)
        .max_pending_accept_reset_streams(PEER_RESETS)
        // It would count for all of the connection's life, and end it in the end; peers are trusted not to make errors on purpose.
        .max_local_error_reset_streams(None)
        .max_header_list_size(PEER_HEADERS)
        .keep_alive_interval(config.peer_timeout / 2)
        .keep_alive_timeout(config.peer_timeout / 2);
    builder
}
