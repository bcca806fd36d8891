//! Sockets that see conversations of their user without entering them: all of them, or all of a kind.
//!
//! They listen to each from when they are connected, or from when the user came into it (see `notices`): what was said in a new
//! conversation before this node knew of it is shown first.

use confab_shared::id::{ConversationId, Seq};
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::model::event::Event;
use confab_shared::postgres::{changes, memberships};

use crate::dialect::Called;
use crate::hub::socket::SocketRef;
use crate::hub::{Backlog, HubClosed, JoinOutcome, Joining};
use crate::node::Node;

/// How often a membership is read again because memberships changed meanwhile.
const ATTEMPTS: usize = 8;

/// Why a conversation is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The node is shutting down.
    #[error(transparent)]
    Closed(#[from] HubClosed),
    /// Memberships change faster than they are read.
    #[error("memberships change faster than they are read")]
    Unsettled,
}

impl From<FollowError> for RequestError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Database(error) => Self::from(error),
            FollowError::Closed(_) | FollowError::Unsettled => {
                Rejection::new(ErrorCode::Overloaded, "try again").into()
            }
        }
    }
}

/// Listens to all conversations of the socket's user that its dialect sees, from now on.
pub(super) async fn follow_all(node: &Node, socket: &SocketRef) -> Result<(), FollowError> {
    socket.begin_following();
    let (user, most) = (socket.user(), node.config.sockets.max_followed);
    let only = socket.dialect().sight().only();
    let conversations = memberships::of_user(&node.database, user, only, most).await?;
    let mut outcomes = Vec::with_capacity(conversations.len());
    for (conversation, as_of, _) in conversations {
        if !socket.follow(conversation) {
            return Ok(());
        }
        let outcome = node.hub.begin_join(conversation, joining(socket, as_of));
        outcomes.push((conversation, outcome.await));
    }
    for (conversation, outcome) in outcomes {
        match outcome.await {
            Ok(JoinOutcome::Recheck) => follow(node, socket, conversation).await?,
            Ok(JoinOutcome::Joined(_) | JoinOutcome::AlreadyIn(_)) => {}
            Err(_) if socket.follows() => return Err(HubClosed.into()),
            // It has ended, and left what it waited for.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Listens to one of the conversations, whose memberships have changed since they were read.
async fn follow(
    node: &Node,
    socket: &SocketRef,
    conversation: ConversationId,
) -> Result<(), FollowError> {
    for _ in 0..ATTEMPTS {
        let user = socket.user();
        let Some(access) = memberships::access(&node.database, conversation, user).await? else {
            return Ok(());
        };
        if !socket.follow(conversation) {
            return Ok(());
        }
        let wish = joining(socket, access.last_seq);
        match node.hub.join(conversation, wish).await {
            Ok(JoinOutcome::Recheck) => {}
            Ok(JoinOutcome::Joined(_) | JoinOutcome::AlreadyIn(_)) => {
                if !socket.follows() {
                    // It ended meanwhile, and may have left before it joined.
                    node.hub.leave(socket.key(), conversation).await;
                }
                return Ok(());
            }
            Err(closed) if socket.follows() => return Err(closed.into()),
            Err(_) => return Ok(()),
        }
    }
    Err(FollowError::Unsettled)
}

/// Listens to no conversation any more without having entered it.
pub(super) async fn unfollow(node: &Node, socket: &SocketRef) {
    let (hub, key, conversations) = (node.hub.clone(), socket.key(), socket.end_following());
    if conversations.is_empty() {
        return;
    }
    // On a task of its own: nobody else knows them any more, should whoever waits for this be gone.
    let leaving = tokio::spawn(async move {
        for conversation in conversations {
            hub.leave(key, conversation).await;
        }
    });
    if let Err(error) = leaving.await {
        tracing::error!(%error, "conversations were not left");
    }
}

fn joining(socket: &SocketRef, as_of: Seq) -> Joining {
    Joining {
        socket: socket.clone(),
        called: Called::ById,
        as_of,
        backlog: None,
    }
}

/// What happened in a conversation after a change: all of it, or the latest.
pub(super) async fn backlog(
    node: &Node,
    conversation: ConversationId,
    since: Seq,
) -> Result<Backlog, sqlx::Error> {
    let (mut events, mut up_to): (Vec<Event>, Seq) = (Vec::new(), since);
    loop {
        let page = changes::since(&node.database, conversation, up_to).await?;
        events.extend(page.events);
        up_to = page.up_to.max(up_to);
        if page.complete {
            return Ok(Backlog { events, up_to });
        }
        let most = node.config.recovery.max_events;
        if events.len() > most {
            // A user who has just come into a conversation is not flooded with what happened since.
            events.drain(..events.len() - most);
        }
    }
}
