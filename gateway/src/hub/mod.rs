//! The hub: rooms → sockets on this node.
//!
//! Shows each conversation's events to everybody who listens here, once, in order of `seq`, without gaps. Owns the rooms, the
//! connected users and the send queues. It does no I/O: what it needs from Redis or PostgreSQL it asks for by [`HubRequest`]s.

pub mod room;
pub mod send_queue;
mod shard;
pub mod socket;
pub mod users;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::lifecycle::spawn_vital;
use confab_shared::model::event::Event;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::HubConfig;
pub use room::JoinOutcome;
use shard::Shard;
pub use shard::{HubRequest, ShardInput};
use socket::SocketRef;
use users::Users;

/// How many inputs may wait for one shard. Those who feed it wait when it is full.
const MAILBOX: usize = 8_192;

/// The node's shards and users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    shards: Arc<[mpsc::Sender<ShardInput>]>,
    users: Arc<Users>,
}

/// The hub is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the hub is shutting down")]
pub struct HubClosed;

impl Hub {
    /// Starts the shards, which run until `stop`. Their requests come out of the receiver.
    pub fn start(
        config: &HubConfig,
        stop: &CancellationToken,
    ) -> (Self, mpsc::UnboundedReceiver<HubRequest>) {
        let users = Arc::new(Users::default());
        let (requests, receiver) = mpsc::unbounded_channel();
        let linger = Duration::from_secs(config.linger_seconds);
        let shards = (0..config.shards)
            .map(|_| {
                let (mailbox, inputs) = mpsc::channel(MAILBOX);
                let shard = Shard::new(
                    users.clone(),
                    requests.clone(),
                    linger,
                    config.max_held_events,
                );
                spawn_vital("hub shard", stop, shard.run(inputs));
                mailbox
            })
            .collect();
        (Self { shards, users }, receiver)
    }

    /// The connected users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    fn shard(&self, conversation: ConversationId) -> &mpsc::Sender<ShardInput> {
        let index =
            usize::try_from(conversation.0.as_u64_pair().1 >> 7).unwrap_or(0) % self.shards.len();
        &self.shards[index]
    }

    async fn send(&self, conversation: ConversationId, input: ShardInput) {
        if self.shard(conversation).send(input).await.is_err() {
            tracing::debug!(%conversation, "the hub is shutting down; an input is dropped");
        }
    }

    /// Lets a socket listen to a room. `as_of` is where the conversation stood when the membership was read.
    pub async fn join(
        &self,
        socket: SocketRef,
        conversation: ConversationId,
        as_of: Seq,
    ) -> Result<JoinOutcome, HubClosed> {
        let (done, outcome) = oneshot::channel();
        self.send(
            conversation,
            ShardInput::Join {
                socket,
                conversation,
                as_of,
                done,
            },
        )
        .await;
        outcome.await.map_err(|_| HubClosed)
    }

    /// A socket listens no more. Takes effect before any later [`join`](Self::join) of it.
    pub async fn leave(&self, socket: u64, conversation: ConversationId) {
        self.send(
            conversation,
            ShardInput::Leave {
                socket,
                conversation,
            },
        )
        .await;
    }

    /// A room channel carried this.
    pub async fn published(&self, conversation: ConversationId, payload: Bytes) {
        self.send(conversation, ShardInput::Published(payload))
            .await;
    }

    /// A room is subscribed, and stood at `seq` after that.
    pub async fn opened(&self, conversation: ConversationId, seq: Seq) {
        self.send(conversation, ShardInput::Opened { conversation, seq })
            .await;
    }

    /// What a room had missed, up to and including `up_to`; unless `complete`, more follows.
    pub async fn repaired(
        &self,
        conversation: ConversationId,
        events: Vec<Event>,
        up_to: Seq,
        complete: bool,
    ) {
        let input = ShardInput::Repaired {
            conversation,
            events,
            up_to,
            complete,
        };
        self.send(conversation, input).await;
    }

    /// PostgreSQL says how far a conversation has come.
    pub async fn checked(&self, conversation: ConversationId, seq: Seq) {
        self.send(conversation, ShardInput::Checked { conversation, seq })
            .await;
    }

    /// A user was removed from a conversation.
    pub async fn removed(&self, user: UserId, conversation: ConversationId, event: Event) {
        self.send(
            conversation,
            ShardInput::Removed {
                user,
                conversation,
                event,
            },
        )
        .await;
    }

    /// The rooms that are open on this node.
    pub async fn rooms(&self) -> Vec<ConversationId> {
        let mut rooms = Vec::new();
        for shard in self.shards.iter() {
            let (answer, receiver) = oneshot::channel();
            if shard.send(ShardInput::Rooms(answer)).await.is_ok()
                && let Ok(mut some) = receiver.await
            {
                rooms.append(&mut some);
            }
        }
        rooms
    }
}
