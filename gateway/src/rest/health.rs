//! /health: whether this gateway and what it depends on work, for anybody who asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use confab_shared::postgres;
use serde::Serialize;
use utoipa::ToSchema;

use super::Rest;
use super::describe::{Answer, Draft};

/// How long a dependency may take to give a sign of life.
const PATIENCE: Duration = Duration::from_secs(2);

/// Up or down.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Check {
    Up,
    Down,
}

impl From<bool> for Check {
    fn from(alive: bool) -> Self {
        if alive { Self::Up } else { Self::Down }
    }
}

/// How it is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthStatus)]
pub(super) enum Health {
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

/// How this gateway is.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthJson {
    status: Health,
    version: &'static str,
    /// In seconds.
    uptime: u64,
    checks: ChecksJson,
}

/// What it depends on.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthChecks)]
pub(super) struct ChecksJson {
    redis: Check,
    database: Check,
}

/// How PostgreSQL is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DatabaseHealth)]
pub(super) struct DatabaseJson {
    status: Health,
    response_time_ms: u64,
}

/// The same object whether things are well or not; the status tells.
pub(super) struct Examined<T>(StatusCode, T);

impl<T: Serialize> IntoResponse for Examined<T> {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl<T: ToSchema> Answer for Examined<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("200", "All is well.");
        draft.answers::<T>("503", "Something is not.");
    }
}

/// GET /health
pub(super) async fn all(State(rest): State<Arc<Rest>>) -> Examined<HealthJson> {
    let (redis, database) = tokio::join!(redis_check(&rest), database_check(&rest));
    let (code, status) = Health::of(&[redis, database]);
    Examined(
        code,
        HealthJson {
            status,
            version: env!("CARGO_PKG_VERSION"),
            uptime: rest.started.elapsed().as_secs(),
            checks: ChecksJson { redis, database },
        },
    )
}

/// GET /health/db
pub(super) async fn database(State(rest): State<Arc<Rest>>) -> Examined<DatabaseJson> {
    let started = Instant::now();
    let (code, status) = Health::of(&[database_check(&rest).await]);
    let response_time_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Examined(
        code,
        DatabaseJson {
            status,
            response_time_ms,
        },
    )
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
