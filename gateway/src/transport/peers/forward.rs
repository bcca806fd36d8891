//! Passes a polling request on and its answer back.
//!
//! Whole bodies only, both ways, but for answers that are streams to their clients as well. With HTTP/2 all of a pair of nodes' requests share one connection, so a vanished host is noticed
//! once for all of them, and a waiting poll costs a stream instead of a connection at both ends.

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{ANSWER, CONNECT, Hop, PROBE, PassOnError, PeersConfig, SILENCE};
use crate::config::PeerProtocol;

/// How much of one answer may be under way: the largest one by default.
const STREAM_WINDOW: u32 = 1 << 20;
/// And of all answers of one peer.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How many requests may be under way before a peer has said how many it takes.
const FIRST_STREAMS: usize = 1_024;
/// How many aborted requests are remembered until the peer has heard of it: a proxy that restarts aborts all of its at once.
const RESET_STREAMS: usize = 100_000;
/// How long an unused connection is kept. The internal listener keeps them longer, so that none is used as it closes.
const IDLE: Duration = Duration::from_secs(30);

/// One request to another node.
pub(super) struct Exchange {
    request: Request<Full<Bytes>>,
    /// Whether its answer comes when there is something to say.
    waits: bool,
}

impl Exchange {
    pub(super) fn new(owner: &Authority, head: Parts, body: Bytes, client: IpAddr) -> Self {
        let headers = Hop::of_request(client, &head.headers);
        let path = head.uri.into_parts().path_and_query;
        Self {
            waits: head.method == Method::GET,
            request: request(head.method, uri(owner, path), headers, body),
        }
    }

    /// A request that receives, whatever its method.
    pub(super) fn receiving(owner: &Authority, head: Parts, client: IpAddr) -> Self {
        Self {
            waits: true,
            ..Self::new(owner, head, Bytes::new(), client)
        }
    }

    /// A word to the owner of the session that a request was for, instead of the request.
    pub(super) fn broken(owner: &Authority, target: Uri) -> Self {
        let target = uri(owner, target.into_parts().path_and_query);
        Self {
            request: request(Method::POST, target, Hop::of_broken(), Bytes::new()),
            waits: false,
        }
    }
}

/// The connections to other nodes that polling requests take.
pub(super) struct Forwarder {
    client: Client<HttpConnector, Full<Bytes>>,
    max_answer: usize,
    patience: Duration,
}

impl Forwarder {
    pub(super) fn new(config: &PeersConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_tcp_user_timeout(Some(SILENCE));
        connector.set_keepalive(Some(PROBE));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(3));
        let mut client = Client::builder(TokioExecutor::new());
        client
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            // Not even a request that was never written: its session is better off with an answer at once.
            .retry_canceled_requests(false);
        match config.protocol {
            PeerProtocol::H2c => client
                .http2_only(true)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_initial_max_send_streams(FIRST_STREAMS)
                .http2_max_concurrent_reset_streams(RESET_STREAMS)
                // It would count for all of the connection's life, and end it in the end.
                .http2_max_local_error_reset_streams(None)
                .http2_keep_alive_interval(PROBE)
                .http2_keep_alive_timeout(ANSWER),
            PeerProtocol::H1 => client.http1_max_buf_size(64 * 1024),
        };
        Self {
            client: client.build(connector),
            max_answer: config.max_answer,
            patience: config.patience,
        }
    }

    /// Runs an exchange to its end. Once `leaving` resolves, a poll that waits is not waited for any longer: its session's owner
    /// is asked to answer it. To abort it would close the session.
    pub(super) async fn run(
        &self,
        exchange: Exchange,
        leaving: impl Future<Output = ()>,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        if !exchange.waits {
            return self.answer(exchange.request).await;
        }
        let poll = exchange.request.uri().clone();
        let mut answer = pin!(self.answer(exchange.request));
        tokio::select! {
            biased;
            answered = &mut answer => return answered,
            () = leaving => {}
        }
        let (answered, ()) = tokio::join!(answer, self.release(poll));
        answered
    }

    /// Asks an owner to let a request to `target` go that was passed on to it.
    async fn release(&self, target: Uri) {
        let release = request(Method::POST, target, Hop::of_release(), Bytes::new());
        if let Err(error) = self.answer(release).await {
            tracing::debug!(%error, "a poll was not released");
        }
    }

    /// Begins an exchange whose answer comes bit by bit, and is over once it has `most` bytes: its last bit may pass that by one answer's size.
    /// Once `leaving` resolves, the owner is asked to end it.
    pub(super) async fn begin(
        self: &Arc<Self>,
        exchange: Exchange,
        most: usize,
        leaving: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(StatusCode, Stream), PassOnError> {
        let target = exchange.request.uri().clone();
        let response = tokio::time::timeout(SILENCE, self.client.request(exchange.request))
            .await
            .map_err(|_| PassOnError::OwnerSilent)?
            .map_err(|error| silent(&error))?;
        let (head, body) = response.into_parts();
        let most = most.saturating_add(self.max_answer);
        let source = Source {
            body,
            forwarder: self.clone(),
            target,
            leaving: Some(Box::pin(leaving)),
        };
        Ok((head.status, Stream::read_ahead(source, most)))
    }

    async fn answer(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| silent(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.max_answer)
                .collect()
                .await
                .map_err(|error| {
                    tracing::warn!(error, "a peer's answer broke off");
                    PassOnError::OwnerSilent
                })?
                .to_bytes();
            Ok(whole(head, body))
        };
        tokio::time::timeout(self.patience, exchange)
            .await
            .unwrap_or(Err(PassOnError::OwnerSilent))
    }
}

/// An answer that comes bit by bit. Dropped before its end, it is given up at its owner, too.
///
/// It is read as it comes, however slowly its client reads: what is unread counts against the window of the connection between the nodes, which
/// all of their exchanges share. The room that this takes is bounded; an owner that says more than that at once is broken off.
pub struct Stream {
    bits: mpsc::UnboundedReceiver<Bit>,
    unread: Arc<AtomicUsize>,
    _reading: AbortOnDropHandle<()>,
}

/// A bit of an answer; none at its end.
type Bit = Result<Option<Bytes>, PassOnError>;

impl Stream {
    fn read_ahead(mut source: Source, most: usize) -> Self {
        let (bits_in, bits) = mpsc::unbounded_channel();
        let unread = Arc::<AtomicUsize>::default();
        let counted = unread.clone();
        let reading = tokio::spawn(async move {
            loop {
                let mut bit = source.next().await;
                if let Ok(Some(bytes)) = &bit {
                    let before = counted.fetch_add(bytes.len(), Ordering::Relaxed);
                    if before.saturating_add(bytes.len()) > most {
                        tracing::warn!("a peer's answer is too large");
                        bit = Err(PassOnError::OwnerSilent);
                    }
                }
                let is_last = !matches!(bit, Ok(Some(_)));
                if bits_in.send(bit).is_err() || is_last {
                    return;
                }
            }
        });
        Self {
            bits,
            unread,
            _reading: AbortOnDropHandle::new(reading),
        }
    }

    /// The next bit; none at the end. An owner that says nothing for longer than any answer waits is taken for gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PassOnError> {
        // Only a task that panicked says nothing of an end.
        let bit = self
            .bits
            .recv()
            .await
            .unwrap_or(Err(PassOnError::OwnerSilent));
        if let Ok(Some(bytes)) = &bit {
            self.unread.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        bit
    }
}

/// Where a stream comes from.
struct Source {
    body: Incoming,
    forwarder: Arc<Forwarder>,
    target: Uri,
    /// Until the owner was asked to end it.
    leaving: Option<BoxFuture<'static, ()>>,
}

impl Source {
    async fn next(&mut self) -> Bit {
        loop {
            let let_go = async {
                match &mut self.leaving {
                    Some(leaving) => leaving.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                frame = tokio::time::timeout(self.forwarder.patience, self.body.frame()) => {
                    match frame {
                        Ok(Some(Ok(frame))) => if let Ok(bytes) = frame.into_data() {
                            return Ok(Some(bytes));
                        },
                        Ok(None) => return Ok(None),
                        Ok(Some(Err(error))) => {
                            tracing::debug!(%error, "a peer's answer broke off");
                            return Err(PassOnError::OwnerSilent);
                        }
                        Err(_) => return Err(PassOnError::OwnerSilent),
                    }
                }
                () = let_go => {
                    self.leaving = None;
                    self.forwarder.release(self.target.clone()).await;
                }
            }
        }
    }
}

fn silent(error: &hyper_util::client::legacy::Error) -> PassOnError {
    // A node that was killed is no news for every one of its polls.
    tracing::debug!(connect = error.is_connect(), error = ?error, "a peer does not answer");
    PassOnError::OwnerSilent
}

/// An owner's answer, for its client.
pub(super) fn whole(mut head: response::Parts, body: Bytes) -> Response<Full<Bytes>> {
    // What was said about the connection between the nodes is not for the client's.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::DATE] {
        head.headers.remove(name);
    }
    head.version = http::Version::HTTP_11;
    Response::from_parts(head, Full::new(body))
}

/// A request's target on the owner: the same path and query.
pub(super) fn uri(owner: &Authority, path: Option<PathAndQuery>) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(owner.clone());
    parts.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
    // All three parts are there, which is all that is asked of them.
    Uri::from_parts(parts).unwrap_or_default()
}

fn request(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}
