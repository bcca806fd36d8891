//! Finds out which conversations sockets watch: those of their users.
//!
//! After they are connected, and one batch after the other: however many connect at once, it is theirs to wait, and neither PostgreSQL nor the hub
//! is asked for more at a time.

use std::collections::HashMap;
use std::time::Duration;

use confab_shared::id::UserId;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::unread::{self, Watchable};
use tokio::sync::mpsc;

use super::Shared;
use crate::hub::Watched;
use crate::hub::socket::SocketRef;

/// How many sockets are looked after at a time.
const BATCH: usize = 64;
/// How long a batch is waited for whose rooms do not open.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody's wish to watch.
#[derive(Debug)]
pub(super) enum WatchRequest {
    /// A socket that is connected now, and may not know what has happened since this moment.
    Begin(SocketRef, Timestamp),
    /// Memberships have changed since they were read that this user's sockets were to watch this by.
    Again(UserId, Watched),
}

/// Serves wishes until nobody has any more. There are no more of them than sockets that have connected, and rooms that they were to watch.
pub(super) async fn run(
    shared: Shared,
    mut requests: mpsc::UnboundedReceiver<WatchRequest>,
    most: usize,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let (mut sockets, mut again) = (Vec::new(), Vec::new());
        for request in batch.drain(..) {
            match request {
                // Those that are gone already are not asked for.
                WatchRequest::Begin(socket, since) if socket.is_watching() => {
                    sockets.push((socket, since));
                }
                WatchRequest::Begin(..) => {}
                WatchRequest::Again(user, watched) => again.push((user, watched)),
            }
        }
        let mut opening = begin(&shared, sockets, most).await;
        opening.extend(begin_again(&shared, &again).await);
        let open = async {
            for open in opening {
                // It is closed, not answered, when the rooms are open.
                let _ = open.await;
            }
        };
        if tokio::time::timeout(PATIENCE, open).await.is_err() {
            tracing::debug!("rooms that are to be watched are slow to open");
        }
    }
}

type Opening = tokio::sync::oneshot::Receiver<()>;

async fn begin(shared: &Shared, sockets: Vec<(SocketRef, Timestamp)>, most: usize) -> Vec<Opening> {
    let mut users: Vec<UserId> = sockets.iter().map(|(socket, _)| socket.user()).collect();
    users.sort_unstable();
    users.dedup();
    if users.is_empty() {
        return Vec::new();
    }
    let read = || unread::watchable(&shared.database, &users, most);
    let found = shared
        .until_answered("unread", "memberships not listed", read)
        .await;
    let mut conversations: HashMap<UserId, Vec<Watchable>> = HashMap::new();
    for one in found {
        conversations.entry(one.user).or_default().push(one);
    }
    let mut opening = Vec::with_capacity(sockets.len());
    for (socket, since) in sockets {
        let Some(own) = conversations.get(&socket.user()) else {
            continue;
        };
        let watched = own
            .iter()
            .map(|one| Watched {
                conversation: one.conversation,
                as_of: one.last_seq,
                owed: one.changed_at >= since,
            })
            .collect();
        opening.push(shared.hub.watch(socket, watched).await);
    }
    opening
}

async fn begin_again(shared: &Shared, again: &[(UserId, Watched)]) -> Vec<Opening> {
    if again.is_empty() {
        return Vec::new();
    }
    let former: HashMap<_, _> = again
        .iter()
        .map(|(user, watched)| ((watched.conversation, *user), watched.as_of))
        .collect();
    let pairs: Vec<_> = former.keys().copied().collect();
    let read = || unread::still_watchable(&shared.database, &pairs);
    let found = shared
        .until_answered("unread", "memberships not read", read)
        .await;
    let mut opening = Vec::new();
    for one in found {
        let before = former.get(&(one.conversation, one.user));
        if before.is_some_and(|as_of| one.last_seq <= *as_of) {
            // A change was announced that PostgreSQL does not have (it was set back?): asking again would not help.
            tracing::error!(conversation = %one.conversation, "a change of memberships that PostgreSQL knows nothing of");
            continue;
        }
        let watched = Watched {
            conversation: one.conversation,
            as_of: one.last_seq,
            owed: true,
        };
        for socket in shared.hub.users().sockets(one.user) {
            if socket.is_watching() {
                opening.push(shared.hub.watch(socket, vec![watched]).await);
            }
        }
    }
    opening
}
