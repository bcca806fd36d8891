//! Shows users what concerns them whatever they have joined: conversations they came into, or were put out of.

use std::sync::Arc;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::event::{Event, Fact, UserNotice};
use confab_shared::postgres::{conversations, until_answered};
use tokio::sync::{Semaphore, mpsc};

use crate::backplane::Notice;
use crate::node::Node;

/// How many conversations are read at a time to be shown.
const CONCURRENCY: usize = 8;

/// Shows notices until there are no more. A user's notices about one conversation stay in order by their `seq`: a membership that
/// has ended again is no longer found.
pub async fn show_notices(node: Arc<Node>, mut notices: mpsc::Receiver<Notice>) {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    while let Some((user, notice)) = notices.recv().await {
        match notice {
            UserNotice::Joined { conversation, seq } => {
                if !node.hub.users().first_sight(user, conversation, seq) {
                    continue;
                }
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let node = node.clone();
                tokio::spawn(async move {
                    show_joined(&node, user, conversation).await;
                    drop(permit);
                });
            }
            UserNotice::Removed {
                conversation,
                seq,
                by,
                at,
            } => {
                let event = Event {
                    seq: Some(seq),
                    at,
                    fact: Fact::MemberRemoved { user, by },
                };
                node.hub.removed(user, conversation, event).await;
            }
        }
    }
}

async fn show_joined(node: &Node, user: UserId, conversation: ConversationId) {
    let read = || conversations::view(&node.database, conversation, user);
    let patience = node.config.database.patience();
    let view = until_answered(patience, "a new conversation not shown", read).await;
    // None: the user is gone from the conversation again already.
    let Some(view) = view else { return };
    node.hub
        .users()
        .show_unless_outdated(user, conversation, view.last_seq, |socket| {
            socket.push(socket.dialect().joined(socket.namespace(), &view));
        });
}
