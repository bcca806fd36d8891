//! Taking a partition over in PostgreSQL, once its lease is held.

use confab_shared::id::Partition;
use confab_shared::postgres::{partitions, within};
use tokio_util::sync::CancellationToken;

use crate::consumer::{Assignment, Context};
use crate::pause::Pause;

/// Raises a partition's epoch, however long PostgreSQL takes to come back, unless the lease is lost meanwhile.
pub(super) async fn take_over(
    context: Context,
    partition: Partition,
    lost: CancellationToken,
) -> Option<Assignment> {
    let mut pause = Pause::default();
    let patience = context.config.database.patience();
    loop {
        let taking = partitions::take_over(&context.pool, partition, context.id);
        let taking = within(patience, taking);
        let taken = tokio::select! {
            taken = context.metrics.postgres.time("take_over", taking) => taken,
            () = lost.cancelled() => return None,
        };
        match taken {
            Ok(epoch) => {
                return Some(Assignment {
                    partition,
                    epoch,
                    lost,
                });
            }
            Err(error) => {
                if pause.first() {
                    tracing::warn!(%error, %partition, "a partition cannot be taken over; trying until PostgreSQL is back");
                }
                pause.wait().await;
            }
        }
    }
}
