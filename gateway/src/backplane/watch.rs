//! Watches Redis's epoch: FLUSHALL drops no connection, so only a vanished name tells that the memory is gone.

use std::time::Duration;

use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use uuid::Uuid;

use super::Shared;

/// Runs until told to stop.
pub(super) async fn run(shared: Shared, redis: Client, every: Duration) {
    let mut known: Option<String> = None;
    loop {
        let asked = memory_name(&redis);
        match shared.metrics.redis.time("epoch", asked).await {
            Ok(found) => {
                if known.as_ref().is_some_and(|known| *known != found) {
                    tracing::warn!("redis lost its memory; rebuilding");
                    shared.ingress.readd_all();
                    shared.resync().await;
                    shared.lost_memory.notify_one();
                }
                if known.as_ref() != Some(&found) {
                    shared.memory.send_replace(Some(found.as_str().into()));
                }
                known = Some(found);
            }
            Err(error) => tracing::debug!(%error, "epoch not read"),
        }
        tokio::time::sleep(every).await;
    }
}

/// What Redis's memory is called, `<microseconds when it was named>:…`; it is given a name if it has none.
pub async fn memory_name(redis: &Client) -> Result<String, fred::error::Error> {
    let name = Uuid::new_v4().simple().to_string();
    scripts::epoch()
        .evalsha_with_reload(
            redis,
            vec![Keyspace::epoch(), Keyspace::position()],
            vec![name],
        )
        .await
}
