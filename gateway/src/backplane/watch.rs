//! Watches Redis's epoch: FLUSHALL drops no connection, so only a vanished name tells that the memory is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::Error;
use fred::types::scripts::Script;
use futures_util::future::{join_all, try_join_all};
use uuid::Uuid;

use super::Shared;

/// Runs until told to stop. What those servers say that answer counts, whichever of a cluster's do not.
pub(super) async fn run(shared: Shared, redis: Client, every: Duration) {
    let (script, mut known) = (scripts::epoch(), BTreeMap::new());
    loop {
        let asked = shared.keyspace.memories().map(async |partition| {
            let asked = name(&script, &redis, shared.keyspace, partition);
            (partition, shared.metrics.redis.time("epoch", asked).await)
        });
        let mut is_lost = false;
        for (partition, found) in join_all(asked).await {
            match found {
                Ok(found) => {
                    let former = known.insert(partition, found.clone());
                    is_lost |= former.is_some_and(|former| former != found);
                }
                Err(error) => tracing::debug!(%error, %partition, "epoch not read"),
            }
        }
        if is_lost {
            tracing::warn!("redis lost its memory; rebuilding");
            shared.ingress.readd_all();
            shared.resync().await;
            shared.lost_memory.notify_one();
        }
        let names: Vec<&str> = known.values().map(String::as_str).collect();
        if !names.is_empty() {
            let name = together(&names);
            shared.memory.send_if_modified(|former| {
                let is_another = former.as_deref() != Some(name.as_str());
                if is_another {
                    *former = Some(name.into());
                }
                is_another
            });
        }
        tokio::time::sleep(every).await;
    }
}

/// What Redis's memory is called, `<microseconds when it was named>:…`; it is given a name if it has none. On a cluster the servers' memories
/// have one name together: it changes when one of them loses its own, and begins with when the youngest was named.
pub async fn memory_name(redis: &Client, keyspace: Keyspace) -> Result<String, Error> {
    let names = memory_names(redis, keyspace, keyspace.memories()).await?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(together(&names))
}

/// The one name of all these memories.
fn together(names: &[&str]) -> String {
    if let [name] = names {
        return (*name).to_owned();
    }
    let youngest = names.iter().filter_map(|name| named_at(name)).max();
    let youngest = youngest.unwrap_or(0);
    format!("{youngest}:{}", names.join("/"))
}

/// What the memories of these partitions are called, in their order.
pub async fn memory_names(
    redis: &Client,
    keyspace: Keyspace,
    partitions: impl Iterator<Item = Partition>,
) -> Result<Vec<String>, Error> {
    let script = scripts::epoch();
    let names = partitions.map(|partition| name(&script, redis, keyspace, partition));
    try_join_all(names).await
}

async fn name(
    script: &Script,
    redis: &Client,
    keyspace: Keyspace,
    partition: Partition,
) -> Result<String, Error> {
    let fresh = Uuid::new_v4().simple().to_string();
    let keys = vec![keyspace.memory(partition), keyspace.position(partition)];
    scripts::run(script, redis, keys, vec![fresh]).await
}

/// When a memory was named, in microseconds of its server's clock.
pub fn named_at(name: &str) -> Option<u64> {
    name.split(':').next()?.parse().ok()
}
