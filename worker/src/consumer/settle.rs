//! The end of an entry: acknowledged, or set aside; counted in either case.

use std::collections::HashMap;

use confab_shared::id::{NodeId, Partition};
use confab_shared::model::command::{Outcome, Reply};
use confab_shared::model::error::Rejection;
use futures_util::future::join_all;

use super::batch::{Aftermath, Entry, Processor};
use super::dead_letter;

impl Processor {
    /// Takes processed entries out of their streams. What cannot be is handed out again.
    pub(super) async fn acknowledge(
        &self,
        done: HashMap<Partition, Vec<&str>>,
        aftermath: &mut Aftermath,
    ) {
        let acks = done
            .iter()
            .map(async |(partition, ids)| (*partition, self.acknowledged(*partition, ids).await));
        for (partition, result) in join_all(acks).await {
            if let Err(error) = result {
                tracing::warn!(%error, %partition, "commands cannot be acknowledged; they will be handed out again");
                aftermath.unsettled.insert(partition);
            }
        }
    }

    async fn acknowledged(
        &self,
        partition: Partition,
        ids: &[&str],
    ) -> Result<(), fred::error::Error> {
        let call = self.reader.ack(partition, ids);
        self.context.metrics.redis.time("acknowledge", call).await
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
        self.sign.give();
        let buried = dead_letter::bury(&self.client, partition, id, payload, reason);
        if let Err(error) = self.context.metrics.redis.time("bury", buried).await {
            tracing::warn!(%error, %partition, id, reason, "a dead letter cannot be kept; its command will be handed out again");
            aftermath.unsettled.insert(partition);
            return;
        }
        tracing::error!(%partition, id, reason, "a command cannot be processed; it is set aside");
        self.context.metrics.dead_letters_total.inc();
        if let Some(reply) = reply {
            self.broadcast.notices_and_replies(&[], vec![reply]).await;
        }
        self.acknowledge(HashMap::from([(partition, vec![id])]), aftermath)
            .await;
    }

    /// Counts an entry that was processed.
    pub(super) fn count(&self, entry: &Entry, outcome: &Result<Outcome, Rejection>) {
        let outcome = outcome
            .as_ref()
            .map_or_else(|rejection| rejection.code.as_str(), |_| "ok");
        self.context
            .metrics
            .commands_total
            .with_label_values(&[entry.envelope.command.name(), outcome])
            .inc();
        if entry.redelivered {
            self.context.metrics.redelivered_total.inc();
        }
    }
}
