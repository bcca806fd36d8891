//! The internal listener: is it alive, may it get traffic, what does it count.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use confab_shared::lifecycle::Readiness;
use confab_shared::metrics;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::metrics::Metrics;

/// `/livez`, `/readyz` and `/metrics`. Liveness depends on nothing; readiness is lost first when draining, and does not depend on
/// Redis or PostgreSQL: all gateways share those, and none would be left to say so.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(
                |State((readiness, _)): State<(Readiness, Arc<Metrics>)>| async move {
                    if readiness.get() {
                        (StatusCode::OK, "ready\n")
                    } else {
                        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
                    }
                },
            ),
        )
        .route("/metrics", get(scrape))
        .with_state((readiness, metrics))
}

async fn scrape(State((readiness, metrics)): State<(Readiness, Arc<Metrics>)>) -> Response {
    metrics.ready.set(i64::from(readiness.get()));
    match metrics.scrape() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics not encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
