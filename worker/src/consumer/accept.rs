//! What was read becomes entries of a batch; what is no command, or was handed out too often, is set aside.

use confab_shared::id::{NodeId, Partition};
use confab_shared::model::command::{CommandEnvelope, Reply};
use confab_shared::model::error::{ErrorCode, Rejection};

use super::batch::{Aftermath, Entry, Processor};
use super::read::RawEntry;
use super::traced;

impl Processor {
    /// Sorts what was read of a partition into the batch, or among the dead letters: so is what was handed out more than `most` times.
    pub(super) async fn accept(
        &self,
        partition: Partition,
        entries: Vec<RawEntry>,
        redelivered: bool,
        most: u64,
        batch: &mut Vec<Entry>,
        aftermath: &mut Aftermath,
    ) {
        let keyspace = self.context.keyspace;
        for RawEntry {
            id,
            payload,
            deliveries,
        } in entries
        {
            let (reason, reply) = match serde_json::from_str::<CommandEnvelope>(&payload) {
                Ok(envelope) if deliveries > most => {
                    let reason = format!("handed out {deliveries} times without an end");
                    (
                        reason,
                        Some(refuse(
                            &envelope,
                            ErrorCode::Timeout,
                            "not confirmed; it may have happened",
                        )),
                    )
                }
                Ok(envelope) if keyspace.partition(envelope.conversation) != partition => {
                    let reason = "not of this partition".to_owned();
                    (
                        reason,
                        Some(refuse(&envelope, ErrorCode::Internal, "internal error")),
                    )
                }
                Ok(envelope) => {
                    let span = traced::command(&self.context.traces, &envelope, partition);
                    batch.push(Entry {
                        partition,
                        id,
                        payload,
                        envelope,
                        redelivered,
                        span,
                    });
                    continue;
                }
                // The parser's own words quote what it read, and message texts are nothing for a log.
                Err(error) => (
                    format!(
                        "not a command: {:?} error in column {}",
                        error.classify(),
                        error.column()
                    ),
                    None,
                ),
            };
            // One dead letter that could not be kept is enough to know about the partition: those behind it are handed out again as well.
            if aftermath.unsettled.contains(&partition) {
                continue;
            }
            self.give_up(partition, &id, &payload, &reason, reply, aftermath)
                .await;
        }
    }
}

/// A refusal of a command, for the node that waits for it.
fn refuse(envelope: &CommandEnvelope, code: ErrorCode, message: &str) -> (NodeId, Reply) {
    (
        envelope.node,
        Reply {
            id: envelope.id,
            outcome: Err(Rejection::new(code, message)),
        },
    )
}
