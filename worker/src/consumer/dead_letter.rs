//! Entries that cannot be processed: set aside with the reason, so that they block nothing and an operator can look at them.

use std::collections::HashMap;

use confab_shared::id::{NodeId, Partition};
use confab_shared::model::command::Reply;
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::StreamsInterface;

use super::batch::{Aftermath, Processor};

/// How many a partition keeps, about. Dead letters are for reading, not for piling up.
const KEPT: i64 = 10_000;

impl Processor {
    /// Sets an entry aside, tells who waits for it, and acknowledges it.
    pub(super) async fn give_up(
        &self,
        partition: Partition,
        id: &str,
        payload: &str,
        reason: &str,
        reply: Option<(NodeId, Reply)>,
        aftermath: &mut Aftermath,
    ) {
        tracing::error!(%partition, id, reason, "a command cannot be processed; it is set aside");
        self.context.metrics.dead_letters_total.inc();
        if let Err(error) = bury(&self.client, partition, id, payload, reason).await {
            tracing::warn!(%error, %partition, "a dead letter cannot be kept; its command will be handed out again");
            self.context.metrics.redis_errors_total.inc();
            aftermath.unsettled.insert(partition);
            return;
        }
        if let Some(reply) = reply {
            self.broadcast.notices_and_replies(&[], vec![reply]).await;
        }
        self.acknowledge(HashMap::from([(partition, vec![id])]), aftermath)
            .await;
    }
}

/// Sets an entry aside. It stays in the ingress stream until it is acknowledged there.
async fn bury(
    client: &Client,
    partition: Partition,
    id: &str,
    payload: &str,
    reason: &str,
) -> Result<(), Error> {
    let fields = vec![("reason", reason), ("id", id), (COMMAND_FIELD, payload)];
    client
        .xadd(
            Keyspace::dead(partition),
            false,
            ("MAXLEN", "~", KEPT),
            "*",
            fields,
        )
        .await
}
