//! Entries that cannot be processed: set aside with the reason, so that they block nothing and an operator can look at them.

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::StreamsInterface;

/// How many a partition keeps, about. Dead letters are for reading, not for piling up.
const KEPT: i64 = 10_000;

/// Sets an entry aside. It stays in the ingress stream until it is acknowledged there.
pub(super) async fn bury(
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
