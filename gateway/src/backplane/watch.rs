//! Watches Redis's epoch: FLUSHALL drops no connection, so only a vanished name tells that the memory is gone.

use std::time::Duration;

use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::types::scripts::Script;
use uuid::Uuid;

use super::Shared;

/// Runs until told to stop.
pub(super) async fn run(shared: Shared, redis: Client, every: Duration) {
    let script = scripts::epoch();
    let mut known: Option<String> = None;
    loop {
        match epoch(&redis, &script).await {
            Ok(found) => {
                if known.as_ref().is_some_and(|known| *known != found) {
                    tracing::warn!("redis lost its memory; rebuilding");
                    shared.ingress.readd_all();
                    shared.resync().await;
                    shared.lost_memory.notify_one();
                }
                known = Some(found);
            }
            Err(error) => tracing::debug!(%error, "epoch not read"),
        }
        tokio::time::sleep(every).await;
    }
}

/// The epoch that Redis has; it is given one if it has none.
async fn epoch(redis: &Client, script: &Script) -> Result<String, fred::error::Error> {
    let name = Uuid::new_v4().simple().to_string();
    script
        .evalsha_with_reload(redis, vec![Keyspace::epoch()], vec![name])
        .await
}
