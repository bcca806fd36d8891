//! What surrounds every request: its id, its span in the log, its time limit, and the body of its refusal.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use confab_shared::model::error::ErrorCode;
use tracing::Instrument;
use uuid::Uuid;

use super::Rest;
use super::error::ApiError;
use crate::metrics::Counted;

/// The header that carries a request's id, both ways.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client.
const MAX_ID_BYTES: usize = 128;

/// Gives a request its id, and its answer the id and, if it is a refusal, its body.
pub(super) async fn identify(request: Request, next: Next) -> Response {
    let id = request_id(request.headers().get(REQUEST_ID));
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!("request", id = %id, method = %request.method(), route);
    let answered = async {
        let started = Instant::now();
        let response = next.run(request).await;
        let elapsed_ms = started.elapsed().as_secs_f64() * 1_000.0;
        tracing::debug!(
            status = response.status().as_u16(),
            elapsed_ms,
            "request answered"
        );
        response
    };
    let mut response = answered.instrument(span).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        *response.body_mut() = Body::from(error.body(&id));
    }
    let headers = response.headers_mut();
    // Answers are somebody's own: no cache between us may keep them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Counts a request and what came of it, by the route's template: what clients write into paths is no label, nor are methods that no
/// route has.
pub(super) async fn count(
    State(rest): State<Arc<Rest>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let metrics = &rest.node.metrics.rest;
    let method = method_label(request.method());
    let _under_way = Counted::new(metrics.in_flight.clone());
    let started = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let labels = [route, method, status_class(response.status())];
    metrics.requests_total.with_label_values(&labels).inc();
    metrics
        .seconds
        .with_label_values(&[route])
        .observe(started.elapsed().as_secs_f64());
    response
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// The client's id if it is fit for logs, else one of ours.
fn request_id(given: Option<&HeaderValue>) -> String {
    given
        .and_then(|id| id.to_str().ok())
        .filter(|id| {
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Answers what is asked in a way that is not for this path; the router says which ones are. To ask for them is fine.
pub(super) async fn wrong_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        ApiError::wrong_method().into_response()
    }
}

/// Answers TIMEOUT when a request takes too long. What it asked for may yet happen.
pub(super) async fn limit_time(
    State(rest): State<Arc<Rest>>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(rest.time_limit(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            ApiError::new(ErrorCode::Timeout, "not confirmed in time; try again").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_fit_for_logs_are_taken() {
        let taken =
            |id: &[u8]| request_id(Some(&HeaderValue::from_bytes(id).unwrap())).as_bytes() == id;
        assert!(taken(b"abc-123"));
        assert!(taken(&[b'x'; 128]));
        assert!(!taken(&[b'x'; 129]));
        assert!(!taken(b""));
        assert!(!taken(b"two words"));
        assert!(!taken("é".as_bytes()));
        assert_ne!(request_id(None), request_id(None));
    }
}
