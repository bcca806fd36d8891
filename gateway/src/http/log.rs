//! What is logged, shown and changed over the internal listener.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use confab_shared::telemetry::{LevelError, LevelStatus, Levels, MAX_FILTER_BYTES};
use http::StatusCode;
use http::header::CONTENT_TYPE;

/// `/log`: GET says what is logged; PUT changes it, for a while with `?for=10m`; DELETE brings the configured filter back.
pub fn router(levels: Levels) -> Router {
    let route = get(show).put(change).delete(restore);
    Router::new()
        .route("/log", route)
        .layer(DefaultBodyLimit::max(MAX_FILTER_BYTES))
        .with_state(levels)
}

async fn show(State(levels): State<Levels>) -> Response {
    answer(Ok(levels.status()))
}

async fn change(
    State(levels): State<Levels>,
    RawQuery(options): RawQuery,
    filter: Result<Bytes, BytesRejection>,
) -> Response {
    answer(match filter {
        Ok(filter) => levels.change(&filter, options.as_deref()),
        Err(_) => Err(LevelError::NotText),
    })
}

async fn restore(State(levels): State<Levels>) -> Response {
    answer(levels.restore())
}

fn answer(answered: Result<LevelStatus, LevelError>) -> Response {
    match answered {
        Ok(status) => ([(CONTENT_TYPE, "application/json")], status.to_string()).into_response(),
        Err(error) if error.is_asked_wrongly() => {
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "what is logged was not changed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
