//! Entries that cannot be processed: set aside with the reason, so that they block nothing and an operator can look at them.

use std::collections::HashMap;

use confab_shared::id::{NodeId, Partition};
use confab_shared::model::command::Reply;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::StreamsInterface;

use super::batch::{Aftermath, Entry, Processor};

/// How many a partition keeps, about. Dead letters are for reading, not for piling up.
const KEPT: i64 = 10_000;

impl Processor {
    /// Halves a batch that cannot be stored, or gives a single command up.
    pub(super) async fn divide(
        &mut self,
        mut entries: Vec<Entry>,
        reason: &str,
        waiting: &mut Vec<Vec<Entry>>,
        aftermath: &mut Aftermath,
    ) {
        if entries.len() > 1 {
            let rest = entries.split_off(entries.len() / 2);
            waiting.push(rest);
            waiting.push(entries);
        } else if let Some(mut entry) = entries.pop() {
            entry.span.fail("set aside");
            let outcome = Err(Rejection::new(ErrorCode::Internal, "internal error"));
            let reply = Reply {
                id: entry.envelope.id,
                outcome,
            };
            let reply = Some((entry.envelope.node, reply));
            self.give_up(
                entry.partition,
                &entry.id,
                &entry.payload,
                reason,
                reply,
                aftermath,
            )
            .await;
        }
    }

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
        let buried = bury(&self.client, partition, id, payload, reason);
        if let Err(error) = self.context.metrics.redis.time("bury", buried).await {
            tracing::warn!(%error, %partition, "a dead letter cannot be kept; its command will be handed out again");
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
