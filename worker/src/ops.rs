//! The internal listener: is it alive, is it ready, what did it count, what does it log. For operators only; it speaks plain HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use confab_shared::lifecycle::{Readiness, Shutdown, Vitals};
use confab_shared::metrics::CONTENT_TYPE as CONTENT_TYPE_OF_METRICS;
use confab_shared::telemetry::{LevelError, Levels, MAX_FILTER_BYTES};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;

/// More at a time than any set of probes and scrapers opens.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What operators are shown, and may change.
#[derive(Clone)]
pub struct Operations {
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the worker does its work.
    pub readiness: Readiness,
    /// Whether its parts get anywhere.
    pub vitals: Vitals,
    /// What is logged.
    pub levels: Levels,
}

/// Serves until the process leaves: probes want their answer while it drains, too.
pub async fn serve(
    listener: TcpListener,
    operations: Operations,
    shutdown: Shutdown,
    tasks: TaskTracker,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.abort.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: accepting again at once would spin.
                tracing::warn!(%error, "the internal listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (operations, abort) = (operations.clone(), shutdown.abort.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let operations = operations.clone();
                async move { Ok::<_, Infallible>(answer(request, &operations).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                result = connection => if let Err(error) = result {
                    tracing::debug!(%error, "a connection to the internal listener broke");
                },
                () = abort.cancelled() => {}
            }
        });
    }
}

async fn answer(request: Request<Incoming>, operations: &Operations) -> Response<Full<Bytes>> {
    let Operations {
        metrics,
        readiness,
        vitals,
        levels,
    } = operations;
    if request.uri().path() == "/log" {
        return log(request, levels).await;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    }
    match request.uri().path() {
        "/livez" => live(vitals),
        "/readyz" => ready(vitals, readiness),
        "/metrics" => match scrape(metrics, readiness, vitals) {
            Ok(body) => {
                let mut response = Response::new(Full::from(body));
                let format = HeaderValue::from_static(CONTENT_TYPE_OF_METRICS);
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            Err(error) => {
                tracing::warn!(%error, "the metrics cannot be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
            }
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn live(vitals: &Vitals) -> Response<Full<Bytes>> {
    match vitals.stuck() {
        None => text(StatusCode::OK, "alive\n"),
        Some(part) => unavailable(format!("no sign of life from: {part}\n")),
    }
}

fn ready(vitals: &Vitals, readiness: &Readiness) -> Response<Full<Bytes>> {
    match (vitals.stuck(), readiness.awaited()) {
        (Some(part), _) => unavailable(format!("no sign of life from: {part}\n")),
        (None, Some(what)) => unavailable(format!("waiting for {what}\n")),
        (None, None) if readiness.get() => text(StatusCode::OK, "ready\n"),
        (None, None) => unavailable("not ready\n".to_owned()),
    }
}

fn unavailable(why: String) -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn scrape(
    metrics: &Metrics,
    readiness: &Readiness,
    vitals: &Vitals,
) -> prometheus::Result<Vec<u8>> {
    let is_ready = readiness.get() && vitals.stuck().is_none();
    metrics.ready.set(i64::from(is_ready));
    metrics.render()
}

/// What is logged, or what is to be from now on.
async fn log(request: Request<Incoming>, levels: &Levels) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answered = match head.method {
        Method::GET | Method::HEAD => Ok(levels.status()),
        Method::PUT => {
            let body = Limited::new(body, MAX_FILTER_BYTES).collect();
            match tokio::time::timeout(BODY_TIMEOUT, body).await {
                Ok(Ok(filter)) => levels.change(&filter.to_bytes(), head.uri.query()),
                Ok(Err(_)) | Err(_) => Err(LevelError::NotText),
            }
        }
        Method::DELETE => levels.restore(),
        _ => return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
    };
    match answered {
        Ok(status) => {
            let mut response = text(StatusCode::OK, status.to_string());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(error) if error.is_asked_wrongly() => {
            text(StatusCode::BAD_REQUEST, format!("{error}\n"))
        }
        Err(error) => {
            tracing::error!(%error, "what is logged was not changed");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_is_lost_by_a_part_that_gives_no_sign() {
        let (readiness, vitals) = (Readiness::default(), Vitals::default());
        readiness.set(true);
        let lane = vitals.part("lane");
        assert_eq!(live(&vitals).status(), StatusCode::OK);
        assert_eq!(ready(&vitals, &readiness).status(), StatusCode::OK);
        drop(lane);
        let vitals = Vitals::with_patience(Duration::ZERO);
        let lane = vitals.part("lane");
        std::thread::sleep(Duration::from_millis(5));
        for answer in [live(&vitals), ready(&vitals, &readiness)] {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        drop(lane);
        assert_eq!(live(&vitals).status(), StatusCode::OK);
    }
}
