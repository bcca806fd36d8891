//! What one worker does now and then for the whole deployment: forgetting.

use std::time::Duration;

use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::prune_applied;
use confab_shared::postgres::{rooms, tokens};

use crate::consumer::Context;

/// Forgets and removes what nobody will ask for again. A failure costs nothing but room until the next time, and spares none of the
/// rest.
pub(super) async fn prune(context: Context) {
    let now = Timestamp::now();
    let retention = Duration::from_secs(context.config.worker.applied_retention_seconds);
    let postgres = &context.metrics.postgres;
    let commands = prune_applied(&context.pool, now.minus(retention));
    let commands = postgres.time("prune", commands).await;
    let tokens = postgres.time("prune", tokens::prune(&context.pool)).await;
    let cleaned = postgres.time("prune", rooms::cleanup(&context.pool)).await;
    note("commands", commands);
    note("tokens", tokens);
    note(
        "guests and rooms",
        cleaned.map(|cleaned| cleaned.removed_sessions + cleaned.removed_rooms),
    );
}

fn note(what: &'static str, removed: Result<u64, sqlx::Error>) {
    match removed {
        Ok(count) => tracing::debug!(what, count, "cleaned up"),
        Err(error) => {
            tracing::warn!(%error, what, "cannot clean up; trying again in an hour");
        }
    }
}
