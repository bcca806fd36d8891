//! Watches Redis's epoch: FLUSHALL drops no connection, so only a vanished name tells that the memory is gone.

use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::Shared;

/// Runs until told to stop.
pub(super) async fn run(shared: Shared, redis: Client, every: Duration) {
    let mut known: Option<String> = None;
    loop {
        let asked = memory_name(&redis, shared.keyspace);
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

/// What Redis's memory is called, `<microseconds when it was named>:…`; it is given a name if it has none. On a cluster the servers' memories
/// have one name together: it changes when one of them loses its own, and begins with when the youngest was named.
pub async fn memory_name(redis: &Client, keyspace: Keyspace) -> Result<String, fred::error::Error> {
    let mut names = memory_names(redis, keyspace, keyspace.memories()).await?;
    if names.len() == 1
        && let Some(name) = names.pop()
    {
        return Ok(name);
    }
    let youngest = names.iter().filter_map(|name| named_at(name)).max();
    let youngest = youngest.unwrap_or(0);
    Ok(format!("{youngest}:{}", names.join("/")))
}

/// What the memories of these partitions are called, in their order.
pub async fn memory_names(
    redis: &Client,
    keyspace: Keyspace,
    partitions: impl Iterator<Item = Partition>,
) -> Result<Vec<String>, fred::error::Error> {
    let script = scripts::epoch();
    let names = partitions.map(async |partition| {
        let fresh = Uuid::new_v4().simple().to_string();
        let keys = vec![keyspace.memory(partition), keyspace.position(partition)];
        scripts::run::<String, _, _>(&script, redis, keys, vec![fresh]).await
    });
    try_join_all(names).await
}

/// When a memory was named, in microseconds of its server's clock.
pub fn named_at(name: &str) -> Option<u64> {
    name.split(':').next()?.parse().ok()
}
