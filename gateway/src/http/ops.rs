//! The internal listener: is it alive, may it get traffic, what does it count.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use confab_shared::metrics;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::node::Life;

/// `/livez`, `/readyz` and `/metrics`. Neither life nor, after the start, readiness depends on Redis or PostgreSQL: all gateways share those,
/// and none would be left to say so. Both are lost by a part that is stuck, and readiness first of all when draining.
pub fn router(life: Life) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(life)
}

async fn live(State(Life { vitals, .. }): State<Life>) -> Response {
    match vitals.stuck() {
        None => "ok\n".into_response(),
        Some(part) => unavailable(format!("no sign of life from: {part}\n")),
    }
}

async fn ready(State(life): State<Life>) -> Response {
    let Life {
        readiness, vitals, ..
    } = life;
    match (vitals.stuck(), readiness.awaited()) {
        (Some(part), _) => unavailable(format!("no sign of life from: {part}\n")),
        (None, Some(what)) => unavailable(format!("waiting for {what}\n")),
        (None, None) if readiness.get() => "ready\n".into_response(),
        (None, None) => unavailable("draining\n".to_owned()),
    }
}

fn unavailable(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn scrape(State(life): State<Life>) -> Response {
    let Life {
        readiness,
        vitals,
        metrics,
    } = life;
    let is_ready = readiness.get() && vitals.stuck().is_none();
    metrics.ready.set(i64::from(is_ready));
    match metrics.scrape() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics not encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use axum::body::{Body, to_bytes};
    use confab_shared::lifecycle::Vitals;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(life: &Life, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(life.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn life_is_lost_by_one_part_that_gives_no_sign() {
        let mut life = Life::begin().unwrap();
        life.vitals = Vitals::with_patience(Duration::from_secs(1));
        let (hub, lane) = (life.vitals.part("hub"), life.vitals.part("lane"));
        // What the lane's silence cannot be the reason of: it gave a sign just before.
        let ask_alive = async |path| loop {
            let asked = Instant::now();
            lane.give();
            let answer = ask(&life, path).await;
            if asked.elapsed() < Duration::from_millis(900) {
                break answer;
            }
        };
        let dead = async {
            loop {
                let (status, said) = ask_alive("/livez").await;
                if status == 503 {
                    return said;
                }
                assert_eq!((status, said.as_str()), (200, "ok\n"));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let said = tokio::time::timeout(Duration::from_secs(60), dead).await;
        assert_eq!(said.unwrap(), "no sign of life from: hub\n");
        life.readiness.set(true);
        assert_eq!(ask_alive("/readyz").await.0, 503);
        let (_, scraped) = ask_alive("/metrics").await;
        assert!(scraped.contains("\nconfab_gateway_ready 0\n"));
        drop(hub);
        assert_eq!(ask_alive("/livez").await.0, 200);
        assert_eq!(ask_alive("/readyz").await.0, 200);
        let (_, scraped) = ask_alive("/metrics").await;
        assert!(scraped.contains("\nconfab_gateway_ready 1\n"));
    }

    #[tokio::test]
    async fn who_is_not_ready_says_why() {
        let life = Life::begin().unwrap();
        life.readiness.wait_for("Redis");
        let waiting = (503, "waiting for Redis\n".to_owned());
        assert_eq!(ask(&life, "/readyz").await, waiting);
        assert_eq!(ask(&life, "/livez").await.0, 200);
        assert_eq!(ask(&life, "/metrics").await.0, 200);
        life.readiness.set(true);
        assert_eq!(ask(&life, "/readyz").await.0, 200);
        life.readiness.set(false);
        let draining = (503, "draining\n".to_owned());
        assert_eq!(ask(&life, "/readyz").await, draining);
    }
}
