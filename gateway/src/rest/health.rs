//! /health: whether this gateway and what it depends on work, for anybody who asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use confab_shared::postgres;
use serde::Serialize;

use super::Rest;

/// How long a dependency may take to give a sign of life.
const PATIENCE: Duration = Duration::from_secs(2);

/// Up or down.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Check {
    Up,
    Down,
}

impl From<bool> for Check {
    fn from(alive: bool) -> Self {
        if alive { Self::Up } else { Self::Down }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Error,
}

impl Health {
    fn of(checks: &[Check]) -> (StatusCode, Self) {
        if checks.contains(&Check::Down) {
            (StatusCode::SERVICE_UNAVAILABLE, Self::Error)
        } else {
            (StatusCode::OK, Self::Ok)
        }
    }
}

#[derive(Serialize)]
struct HealthJson {
    status: Health,
    version: &'static str,
    /// In seconds.
    uptime: u64,
    checks: ChecksJson,
}

#[derive(Serialize)]
struct ChecksJson {
    redis: Check,
    database: Check,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DatabaseJson {
    status: Health,
    response_time_ms: u64,
}

/// GET /health
pub(super) async fn all(State(rest): State<Arc<Rest>>) -> Response {
    let (redis, database) = tokio::join!(redis_check(&rest), database_check(&rest));
    let (status, health) = Health::of(&[redis, database]);
    let uptime = rest.started.elapsed().as_secs();
    let checks = ChecksJson { redis, database };
    (
        status,
        Json(HealthJson {
            status: health,
            version: env!("CARGO_PKG_VERSION"),
            uptime,
            checks,
        }),
    )
        .into_response()
}

/// GET /health/db
pub(super) async fn database(State(rest): State<Arc<Rest>>) -> Response {
    let started = Instant::now();
    let (status, health) = Health::of(&[database_check(&rest).await]);
    let response_time_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    (
        status,
        Json(DatabaseJson {
            status: health,
            response_time_ms,
        }),
    )
        .into_response()
}

async fn redis_check(rest: &Rest) -> Check {
    tokio::time::timeout(PATIENCE, rest.node.redis_alive())
        .await
        .unwrap_or(false)
        .into()
}

async fn database_check(rest: &Rest) -> Check {
    tokio::time::timeout(PATIENCE, postgres::ping(rest.database()))
        .await
        .is_ok_and(|answer| answer.is_ok())
        .into()
}
