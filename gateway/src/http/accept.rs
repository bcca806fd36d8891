//! Accepts connections: a permit before each, back-off on errors, time-outs, and a graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::transport::endpoint::ConnectionGuard;

/// How a listener treats its connections.
#[derive(Debug, Clone)]
pub struct AcceptConfig {
    /// The most connections at a time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
}

/// A connection's permit and its place in the gauge, given back when whoever serves it is done.
struct Guard {
    gauge: Option<IntGauge>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.dec();
        }
    }
}

/// Serves a listener until `stop`; then no more connections are accepted, and those without a request end. Upgraded connections are
/// their session's business.
pub async fn serve<S, F>(
    listener: TcpListener,
    config: AcceptConfig,
    gauge: Option<IntGauge>,
    respond: S,
    stop: CancellationToken,
    tasks: TaskTracker,
) where
    S: Fn(Request<Incoming>, SocketAddr, ConnectionGuard) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let mut backoff = Duration::from_millis(5);
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
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
                let guard = Arc::new(Guard {
                    gauge: gauge.clone(),
                    _permit: permit,
                });
                tasks.spawn(connection(
                    stream,
                    remote,
                    guard,
                    config.header_timeout,
                    respond.clone(),
                    stop.clone(),
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
    remote: SocketAddr,
    guard: ConnectionGuard,
    header_timeout: Duration,
    respond: S,
    stop: CancellationToken,
) where
    S: Fn(Request<Incoming>, SocketAddr, ConnectionGuard) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Small frames are the whole point: without this they wait for each other's acknowledgements.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a client left at once");
        return;
    }
    let service = service_fn(move |request| {
        let answer = respond(request, remote, guard.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
