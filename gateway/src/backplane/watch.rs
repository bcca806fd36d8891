//! Watches Redis's epoch: FLUSHALL drops no connection, so only a vanished name tells that the memory is gone.

use std::time::Duration;

use confab_shared::redis::keyspace::Keyspace;
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, SetOptions};
use uuid::Uuid;

use super::Shared;

/// Runs until told to stop.
pub(super) async fn run(shared: Shared, redis: Client, every: Duration) {
    let mut known: Option<String> = None;
    loop {
        match epoch(&redis).await {
            Ok(found) => {
                if known.as_ref().is_some_and(|known| *known != found) {
                    tracing::warn!("redis lost its memory; rebuilding");
                    shared.ingress.readd_all();
                    shared.resync.notify_one();
                }
                known = Some(found);
            }
            Err(error) => tracing::debug!(%error, "epoch not read"),
        }
        tokio::time::sleep(every).await;
    }
}

/// The epoch that Redis has; it is given one if it has none.
async fn epoch(redis: &Client) -> Result<String, fred::error::Error> {
    if let Some(found) = redis.get::<Option<String>, _>(Keyspace::epoch()).await? {
        return Ok(found);
    }
    let fresh = Uuid::new_v4().simple().to_string();
    let _: Option<String> = redis
        .set(
            Keyspace::epoch(),
            fresh,
            None::<Expiration>,
            Some(SetOptions::NX),
            false,
        )
        .await?;
    Ok(redis
        .get::<Option<String>, _>(Keyspace::epoch())
        .await?
        .unwrap_or_default())
}
