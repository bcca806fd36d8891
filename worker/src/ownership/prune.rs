//! What one worker does now and then for the whole deployment: forgetting.

use std::time::Duration;

use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::prune_applied;
use confab_shared::postgres::{rooms, tokens};

use crate::consumer::Context;

/// Forgets and removes what nobody will ask for again. A failure costs nothing but room until the next time.
pub(super) async fn prune(context: Context) {
    let now = Timestamp::now();
    let retention = Duration::from_secs(context.config.worker.applied_retention_seconds);
    let pruned = async {
        let commands = prune_applied(&context.pool, now.minus(retention)).await?;
        let tokens = tokens::prune(&context.pool).await?;
        let cleaned = rooms::cleanup(&context.pool).await?;
        Ok::<_, sqlx::Error>((commands, tokens, cleaned))
    };
    match pruned.await {
        Ok((commands, tokens, cleaned)) => {
            let (guests, rooms) = (cleaned.removed_sessions, cleaned.removed_rooms);
            tracing::debug!(commands, tokens, guests, rooms, "cleaned up");
        }
        Err(error) => {
            context.metrics.postgres_errors_total.inc();
            tracing::warn!(%error, "cannot clean up; trying again in an hour");
        }
    }
}
