//! What surrounds every request: its id, its span in the log, its time limit, and the body of its refusal.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use confab_shared::model::error::ErrorCode;
use confab_shared::model::trace::TraceParent;
use confab_shared::telemetry::{Kind, Span, Traces, scope};
use tracing::{Instrument, info_span};

use super::Rest;
use super::error::ApiError;
use crate::metrics::Counted;
use crate::transport::connection::ConnectionId;
use crate::transport::request_id;

/// What says which trace a request belongs to (W3C Trace Context).
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Gives a request its id, and its answer the id and, if it is a refusal, its body. It is traced if chance has it, or, where that is trusted,
/// if its `traceparent` says so.
pub(super) async fn identify(
    State(rest): State<Arc<Rest>>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id::of(request.headers()).into_owned();
    let mut span = traced(&rest.node.traces, &request);
    let trace = span.context();
    let log = info_span!(
        "request",
        %id,
        connection = request
            .extensions()
            .get::<ConnectionId>()
            .map(|connection| connection.0),
        method = %request.method(),
        route = route(&request),
        trace = trace.map(|trace| display(format!("{:032x}", trace.trace()))),
    );
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
    let mut response = scope(span.parent(), pin!(answered.instrument(log))).await;
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status);
    }
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        *response.body_mut() = Body::from(error.body(&id));
    }
    let headers = response.headers_mut();
    // Answers are somebody's own: no cache between us may keep them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    request_id::put(headers, &id);
    response
}

/// Which of our routes a request is for.
fn route(request: &Request) -> &str {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("none", MatchedPath::as_str)
}

/// From when a request has come to when it is answered.
fn traced(traces: &Traces, request: &Request) -> Span {
    if !traces.are_on() {
        return Span::default();
    }
    let parent = request.headers().get(TRACE_PARENT);
    let parent = parent
        .and_then(|parent| parent.to_str().ok())
        .and_then(TraceParent::parse);
    let mut span = traces.continued(parent, "request", Kind::Server);
    if span.is_recorded() {
        let (method, route) = (method_label(request.method()), route(request).to_owned());
        span.rename(format!("{method} {route}"));
        span.set("http.request.method", method);
        span.set("http.route", route);
    }
    span
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
