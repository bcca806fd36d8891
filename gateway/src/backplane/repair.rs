//! Makes up for what pub/sub dropped: repairs single gaps as rooms find them, and compares everything after a loss.

use std::collections::HashMap;
use std::time::Duration;

use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::event::{RoomBatch, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::{changes, conversations, memberships};
use confab_shared::redis::keyspace::BATCH_FIELD;
use fred::interfaces::StreamsInterface;
use tokio::sync::{mpsc, oneshot};

use super::counting::CountRequest;
use super::subscriptions::RoomRequest;
use super::watching::WatchRequest;
use super::{NoticeItem, Shared};
use crate::hub::HubRequest;

/// How many rooms or users one query asks about.
const BATCH: usize = 1_000;
/// A membership's time is taken before its transaction commits: look back further than any batch takes.
const OVERLAP: Duration = Duration::from_secs(20);

/// Serves the hub's requests until the hub is gone. Each room has at most one open, which bounds the tasks.
pub(super) async fn serve(shared: Shared, mut requests: mpsc::UnboundedReceiver<HubRequest>) {
    while let Some(request) = requests.recv().await {
        let is_heard = match request {
            HubRequest::Open(conversation) => {
                shared.rooms.send(RoomRequest::Listen(conversation)).is_ok()
            }
            HubRequest::Close(conversation) => {
                shared.rooms.send(RoomRequest::Idle(conversation)).is_ok()
            }
            HubRequest::Rewatch(user, watched) => shared
                .watching
                .send(WatchRequest::Again(user, watched))
                .is_ok(),
            HubRequest::Count {
                ticket,
                conversation,
                users,
                last,
            } => {
                let request = CountRequest {
                    ticket,
                    conversation,
                    users,
                    last,
                };
                shared.counting.send(request).is_ok()
            }
            HubRequest::Delivered(delivered) => shared.deliveries.send(delivered).is_ok(),
            HubRequest::Repair(conversation, after) => {
                let shared = shared.clone();
                tokio::spawn(async move { repair(&shared, conversation, after).await });
                true
            }
            HubRequest::Notice(user, position, notice) => {
                let item = NoticeItem::Show(user, Some(position), notice);
                if shared.notices.try_send(item).is_err() {
                    // Too many wait already: the sweep will bring it again, and nobody else is held up.
                    shared.resync().await;
                    shared.hub.joined(user, Some(position), Seq(0), None).await;
                }
                true
            }
        };
        if !is_heard {
            return;
        }
    }
}

/// Reads what a room missed, page by page. Retries until PostgreSQL answers.
async fn repair(shared: &Shared, conversation: ConversationId, mut after: Seq) {
    shared.metrics.gap_repairs_total.inc();
    let Ok(_permit) = shared.repairs.acquire().await else {
        return;
    };
    loop {
        let read = || changes::since(&shared.database, conversation, after);
        let changes = shared
            .until_answered("repair", "gap not repaired", read)
            .await;
        if changes.up_to <= after {
            // Something was announced that PostgreSQL does not have (it was set back?): no hot loop over that.
            tracing::error!(%conversation, %after, "a gap that PostgreSQL knows nothing of");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        after = changes.up_to.max(after);
        let complete = changes.complete;
        // After PostgreSQL was read: what it has may have been announced while nobody here heard it.
        let kept = if complete {
            last_announced(shared, conversation).await
        } else {
            None
        };
        shared
            .hub
            .repaired(conversation, changes.events, after, kept, complete)
            .await;
        if complete {
            return;
        }
    }
}

/// The last announcement of a room that Redis has. None if it has none, or does not say.
async fn last_announced(shared: &Shared, conversation: ConversationId) -> Option<(Position, Seq)> {
    let history = shared.keyspace.history(conversation);
    let last: Vec<(String, HashMap<String, String>)> = shared
        .redis
        .xrevrange(history, "+", "-", Some(1))
        .await
        .inspect_err(|error| tracing::debug!(%error, "a history not read"))
        .ok()?;
    let (id, fields) = last.first()?;
    let batch: RoomBatch = serde_json::from_str(fields.get(BATCH_FIELD)?).ok()?;
    let position: Position = id.parse().ok()?;
    let seq = batch.events.iter().filter_map(|event| event.seq).max()?;
    Some((position.plus(batch.events.len().saturating_sub(1)), seq))
}

/// Compares everything with PostgreSQL, now and then, and whenever something may have been lost.
pub(super) async fn sweep(shared: Shared, every: Duration) {
    let mut compared = Timestamp::now();
    loop {
        let lost = tokio::select! {
            () = shared.resync.notified() => true,
            () = tokio::time::sleep(every) => false,
        };
        if lost {
            shared.metrics.resyncs_total.inc();
        }
        let (began, doubt) = (Timestamp::now(), shared.hub.last_doubt());
        let since = compared.minus(OVERLAP);
        shared
            .until_answered("compare", "not compared with the database", || {
                compare(&shared, since)
            })
            .await;
        compared = began;
        if shared.notices.send(NoticeItem::CheckTokens).await.is_err() {
            return;
        }
        // What was found is shown by now, or known to be out of order.
        let (shown, waiting) = oneshot::channel();
        if shared.notices.send(NoticeItem::Flush(shown)).await.is_ok() && waiting.await.is_ok() {
            shared.hub.certain(doubt).await;
        }
    }
}

async fn compare(shared: &Shared, since: Timestamp) -> Result<(), sqlx::Error> {
    for rooms in shared.hub.rooms().await.chunks(BATCH) {
        for (conversation, seq) in conversations::last_seqs(&shared.database, rooms).await? {
            shared.hub.checked(conversation, seq).await;
        }
    }
    // What happened before a user connected is for it to ask, not for us to announce.
    let users = shared.hub.users().connected();
    let users: Vec<_> = users
        .into_iter()
        .map(|(user, connected)| (user, connected.max(since)))
        .collect();
    for users in users.chunks(BATCH) {
        for (user, conversation, seq) in memberships::joined_since(&shared.database, users).await? {
            if shared
                .notices
                .send(NoticeItem::Show(
                    user,
                    None,
                    UserNotice::Joined { conversation, seq },
                ))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
        for removed in memberships::removed_since(&shared.database, users).await? {
            let notice = UserNotice::Removed {
                conversation: removed.conversation,
                seq: removed.seq,
                by: removed.by,
                at: removed.at,
            };
            let item = NoticeItem::Show(removed.user, None, notice);
            if shared.notices.send(item).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
