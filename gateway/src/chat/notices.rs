//! Shows users what concerns them whatever they have joined: conversations they came into, or were put out of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::conversation::ConversationView;
use confab_shared::model::event::UserNotice;
use confab_shared::model::position::Position;
use confab_shared::postgres::{conversations, rooms, until_answered};
use tokio::sync::{Semaphore, mpsc};

use super::follow::backlog;
use super::revocation;
use crate::backplane::NoticeItem;
use crate::hub::socket::SocketRef;
use crate::node::Node;
use crate::session::DisconnectReason;

/// How often it is noted that guests are there: well within the time after which they are taken for gone.
const GUESTS_NOTED: Duration = Duration::from_secs(600);
/// How often a conversation is read again because it has changed meanwhile.
const ATTEMPTS: usize = 8;
/// How many conversations are read at a time to be shown.
const CONCURRENCY: u32 = 8;

/// Shows notices until there are no more. A user's notices about one conversation stay in order by their `seq`: a membership that
/// has ended again is no longer found.
pub async fn show_notices(node: Arc<Node>, mut items: mpsc::Receiver<NoticeItem>) {
    let mut guests_noted = Instant::now();
    let permits = Arc::new(Semaphore::new(CONCURRENCY as usize));
    while let Some(item) = items.recv().await {
        match item {
            NoticeItem::Show(user, position, UserNotice::Joined { conversation, seq }) => {
                if !node.hub.users().first_sight(user, conversation, seq) {
                    node.hub.joined(user, position, seq, None).await;
                    continue;
                }
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let node = node.clone();
                tokio::spawn(async move {
                    show_joined(&node, user, position, conversation, seq).await;
                    drop(permit);
                });
            }
            NoticeItem::Show(user, position, notice @ UserNotice::Removed { .. }) => {
                if let Some((conversation, event)) = notice.removal(user) {
                    node.hub.removed(user, position, conversation, event).await;
                }
            }
            NoticeItem::Signal(user, signal) => revocation::heed(&node, user, &signal),
            NoticeItem::CheckTokens => {
                let node = node.clone();
                let guests_too = guests_noted.elapsed() >= GUESTS_NOTED;
                if guests_too {
                    guests_noted = Instant::now();
                }
                tokio::spawn(async move {
                    revocation::check(&node).await;
                    if guests_too {
                        note_guests(&node).await;
                    }
                });
            }
            NoticeItem::Flush(done) => {
                // All permits are free when everybody is done.
                drop(permits.acquire_many(CONCURRENCY).await);
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }
}

/// Guests who say nothing are removed after a while, unless they are known to be there.
async fn note_guests(node: &Node) {
    let users = node.hub.users();
    let guests: Vec<UserId> = users
        .connected()
        .into_iter()
        .map(|(user, _)| user)
        .filter(|user| {
            let sockets = users.sockets(*user);
            // A user's subscriptions have no token of their own, but its session has.
            sockets.iter().all(|socket| socket.token().is_none())
        })
        .collect();
    if let Err(error) = rooms::note_guests(&node.database, &guests).await {
        tracing::debug!(%error, "guests not noted as being there");
    }
}

async fn show_joined(
    node: &Node,
    user: UserId,
    position: Option<Position>,
    conversation: ConversationId,
    seq: Seq,
) {
    let read = || conversations::view(&node.database, conversation, user);
    let patience = node.config.database.patience();
    for _ in 0..ATTEMPTS {
        // None: the user is gone from the conversation again already.
        let mut view = until_answered(patience, "a new conversation not shown", read).await;
        if let Some(view) = &mut view {
            node.presence.note_online(&mut view.participants).await;
        }
        let sockets = node.hub.users().sockets(user);
        let is_followed = |view: &ConversationView| {
            let follows = |socket: &SocketRef| socket.follows() && socket.sees(view.kind);
            sockets.iter().any(follows)
        };
        let view = match view {
            Some(view) if is_followed(&view) => view,
            view => {
                node.hub.joined(user, position, seq, view).await;
                return;
            }
        };
        let read = || backlog(node, conversation, seq);
        let backlog = until_answered(patience, "a new conversation not followed", read).await;
        let hub = &node.hub;
        match hub
            .joined_following(user, position, seq, view, backlog)
            .await
        {
            Ok(true) | Err(_) => return,
            Ok(false) => {}
        }
    }
    tracing::warn!(
        "a conversation changes faster than it is read; who would follow it has to come back"
    );
    for socket in node.hub.users().sockets(user) {
        if socket.follows() {
            socket.queue().close(DisconnectReason::Unavailable);
        }
    }
    node.hub.joined(user, position, seq, None).await;
}
