//! What becomes of a client that has come back: its record is handed over, and what was announced meanwhile is read.
//!
//! Knows records and histories; which rooms the socket is still in, and what its client is sent, is for those who ask.

use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{ConversationId, Partition, Seq, UserId};
use confab_shared::redis::scripts;

use super::fence::Claim;
use super::history::{self, Histories, Wanted};
use super::{Record, Recovery, RecoveryError, Refusal};
use crate::backplane::Beat;
use crate::dialect::Namespace;
use crate::hub::offset::Offset;
use crate::hub::places::Places;

/// Of how many nodes, beside its present one, a record says that they may still have something of its socket. They become more only where one
/// attempt after the other to end that fails.
const MOST_FORMER: usize = 8;
/// How long the hub may take to show what a socket was told already.
const SHOWN_PATIENCE: Duration = Duration::from_secs(6);

/// A socket's record that was handed over to this node.
pub struct Adopted {
    /// The record as it was.
    pub record: Record,
    /// Up to where the client has seen everything.
    pub since: Offset,
    pub(super) claim: Claim,
}

impl Recovery {
    /// Takes over the record of a socket whose client has come back, and ends what is left of the socket elsewhere.
    pub async fn adopt(
        &self,
        pid: &str,
        offset: Option<&str>,
        user: UserId,
        namespace: Namespace,
    ) -> Result<Adopted, RecoveryError> {
        if !self.is_enabled() {
            return Err(Refusal::Unknown.into());
        }
        let offset = match offset.map(str::parse::<Offset>) {
            Some(Err(_)) => return Err(Refusal::Unknown.into()),
            Some(Ok(offset)) => Some(offset),
            None => None,
        };
        let claim = self.claim(pid);
        let arguments = vec![
            user.to_string(),
            namespace.as_str().to_owned(),
            self.shared.node.to_string(),
            self.time_to_live().to_string(),
            MOST_FORMER.to_string(),
        ];
        let (answer, fields): (String, Vec<String>) = scripts::run(
            &self.shared.adopt,
            &self.shared.redis,
            vec![self.shared.keyspace.session(pid)],
            arguments,
        )
        .await?;
        if answer != "ok" {
            return Err(Refusal::Unknown.into());
        }
        let record = Record::parse(&fields).ok_or(Refusal::Unknown)?;
        // If this fails, or nobody here hears what came of it, whoever tries next finds the same nodes in the record, and this one.
        let turn = record.next_turn();
        match self.fence(pid, turn, record.nodes()).await {
            // Nor could they be asked the last time: their server is away for longer, and the client is not to stay out for that.
            Err(RecoveryError::Redis(error)) if !record.former.is_empty() => {
                tracing::debug!(%error, "nodes that may have something of a socket cannot be asked");
                return Err(Refusal::Unsettled.into());
            }
            fenced => fenced?,
        }
        let since = match offset {
            Some(offset) if !record.seen.is_later_than(&offset) => offset,
            Some(_) | None => record.seen.clone(),
        };
        if !since.is_certain() {
            return Err(Refusal::Uncertain.into());
        }
        if !since.places.are_in(self.shared.hub.orders()) {
            // From before Redis was a cluster, or was none any more.
            return Err(Refusal::Unknown.into());
        }
        Ok(Adopted {
            record,
            since,
            claim,
        })
    }

    /// Where announcements are. To be asked after the rooms were joined: whatever comes later is held back. It is heard behind everything
    /// that was announced before it: see [`shown`](Self::shown).
    pub async fn cut(&self) -> Result<Arc<Beat>, RecoveryError> {
        Ok(self.shared.backplane.beat().await?)
    }

    /// What was announced since, in these rooms and for this user, up to the cut.
    pub async fn histories(
        &self,
        adopted: &Adopted,
        beat: &Beat,
        rooms: &[ConversationId],
        user: UserId,
    ) -> Result<Histories, RecoveryError> {
        let shared = &self.shared;
        let orders = shared.hub.orders();
        let mut asked: Vec<Partition> = rooms.iter().map(|room| orders.of_room(*room)).collect();
        asked.push(orders.of_user(user));
        asked.sort_unstable();
        asked.dedup();
        let mut cut = adopted.since.places.clone();
        for order in &asked {
            let position = beat.position(*order)?;
            if position < cut.of(*order) {
                // The memory that gave out the client's place is gone.
                return Err(Refusal::Forgotten.into());
            }
            cut.advance(*order, position);
        }
        let wanted = Wanted {
            orders,
            asked,
            rooms,
            user,
            since: &adopted.since,
            cut,
            max_events: shared.config.max_events,
            slack: shared.config.cluster_slack(),
        };
        let reading = Box::pin(history::read(&shared.redis, shared.keyspace, wanted));
        // That somebody has to begin anew is no failure of Redis's.
        let read = shared.metrics.redis.time("history", async {
            match reading.await {
                Err(RecoveryError::Refused(refusal)) => Ok(Err(refusal)),
                read => read.map(Ok),
            }
        });
        Ok(read.await??)
    }

    /// Waits until the hub has shown whatever was announced up to where these histories are complete, and these rooms up to these changes. Until then a socket
    /// that was told all this has to be held back, or it would be shown it twice.
    pub async fn shown(
        &self,
        asked: &[Partition],
        cut: &Places,
        user: UserId,
        rooms: Vec<(ConversationId, Seq)>,
    ) -> Result<(), RecoveryError> {
        let places = asked.iter().map(|order| (*order, cut.of(*order)));
        let shown = self.shared.hub.shown(places.collect(), user, rooms);
        match tokio::time::timeout(SHOWN_PATIENCE, shown).await {
            Ok(shown) => Ok(shown?),
            Err(_) => Err(Refusal::Unsettled.into()),
        }
    }
}
