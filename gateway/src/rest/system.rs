//! /api/rooms/system: how the whole deployment does, and tidying up.

use std::sync::Arc;

use axum::extract::State;
use confab_shared::model::account::AccountRole;
use confab_shared::model::error::Rejection;
use confab_shared::postgres::rooms;
use serde::Serialize;
use utoipa::ToSchema;

use super::Rest;
use super::answer::{Shape, Shown};
use super::error::ApiError;
use super::extract::{Caller, Reader};
use crate::registry::{Census, census};

/// How the deployment does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stats)]
pub(super) struct StatsJson {
    /// Public rooms.
    total_rooms: i64,
    /// Public rooms that somebody is present in.
    active_rooms: u64,
    /// Accounts.
    total_users: i64,
    /// Users who are connected, guests among them.
    online_users: u64,
    /// Messages ever stored, roughly.
    total_messages: i64,
    /// Messages of the last minute, roughly.
    messages_per_minute: f64,
    /// Live gateways.
    gateways: u64,
    /// Live workers.
    workers: u64,
    /// For how long this gateway has been running, in seconds.
    uptime_seconds: u64,
}

/// What was tidied up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Cleanup)]
pub(super) struct CleanupJson {
    /// Guests who are gone and left nothing behind.
    removed_sessions: u64,
    /// Rooms that have ended.
    removed_rooms: u64,
}

impl Shape for StatsJson {
    type Named = Self;
}

impl Shape for CleanupJson {
    type Named = Self;
}

/// GET /api/rooms/system/stats
pub(super) async fn stats(
    State(rest): State<Arc<Rest>>,
    _reader: Reader,
) -> Result<Shown<StatsJson>, ApiError> {
    let stored = rooms::stats(rest.database()).await?;
    let presence = &rest.node.presence;
    let active_rooms = presence.active_rooms().await?;
    let online_users = presence.online_count().await?;
    let Census { gateways, workers } = census(&rest.node.redis).await?;
    Ok(Shown::of(&StatsJson {
        total_rooms: stored.total_rooms,
        active_rooms,
        total_users: stored.total_users,
        online_users,
        total_messages: stored.total_messages,
        messages_per_minute: stored.messages_per_minute,
        gateways,
        workers,
        uptime_seconds: rest.started.elapsed().as_secs(),
    }))
}

/// POST /api/rooms/system/cleanup
pub(super) async fn cleanup(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
) -> Result<Shown<CleanupJson>, ApiError> {
    if caller.account.role != AccountRole::Admin {
        return Err(Rejection::forbidden("only admins tidy up").into());
    }
    let cleaned = rooms::cleanup(rest.database()).await?;
    Ok(Shown::of(&CleanupJson {
        removed_sessions: cleaned.removed_sessions,
        removed_rooms: cleaned.removed_rooms,
    }))
}
