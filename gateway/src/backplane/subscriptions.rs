//! Which channels this node listens to. Each order of announcements has a task that decides and executes, so that subscribing and leaving keep
//! their order, and a server of a cluster that says nothing holds up nobody who has nothing there.

use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{ConversationId, NodeId, Partition, UserId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};

use super::Shared;
use super::channels::Channels;
use super::listening::{self, Mending, Place};

/// A wish to listen to a room of the hub's, or to listen to it no more.
#[derive(Debug)]
pub(super) enum RoomRequest {
    /// From now on.
    Listen(ConversationId),
    /// Nobody is there any more.
    Idle(ConversationId),
}

/// A wish to listen to a user's own channel, or to listen to it no more.
#[derive(Debug)]
pub(super) enum UserRequest {
    /// A connected user; answered when it is done.
    Listen(UserId, oneshot::Sender<()>),
    /// That user's last socket is gone.
    Idle(UserId),
}

/// What is wished, `Deaf` being whatever names where nothing is heard. Each kind has a queue of its own: whoever connects waits for its user's
/// channel, and not for all the rooms that others have something to do with.
pub(super) struct Wishes<Deaf = Vec<Partition>> {
    pub(super) rooms: mpsc::UnboundedReceiver<RoomRequest>,
    pub(super) users: mpsc::UnboundedReceiver<UserRequest>,
    /// Partitions on whose slots nothing is heard.
    pub(super) deaf: mpsc::Receiver<Deaf>,
    /// Reconnections.
    pub(super) broken: watch::Receiver<()>,
}

/// The way to one order's task.
struct Order {
    rooms: mpsc::UnboundedSender<RoomRequest>,
    users: mpsc::UnboundedSender<UserRequest>,
    deaf: mpsc::Sender<()>,
}

/// Runs until told to stop. Inputs: wishes, which are passed on to the orders that they concern; partitions that are not heard; the orders'
/// tasks, none of which ends by itself.
pub(super) async fn run(shared: Shared, node: NodeId, wishes: Wishes, linger: Duration) {
    let keyspace = shared.keyspace;
    let subscriber = shared.subscriber.clone();
    let channels = Channels::new(subscriber, keyspace, shared.metrics.clone());
    let (channels, mending) = (Arc::new(channels), Arc::<Mending>::default());
    let Wishes {
        mut rooms,
        mut users,
        mut deaf,
        broken,
    } = wishes;
    let (mut orders, mut tasks) = (Vec::new(), JoinSet::new());
    for order in keyspace.memories() {
        let (wanted_rooms, rooms) = mpsc::unbounded_channel();
        let (wanted_users, users) = mpsc::unbounded_channel();
        let (deafness, deaf) = mpsc::channel(1);
        orders.push(Order {
            rooms: wanted_rooms,
            users: wanted_users,
            deaf: deafness,
        });
        let wishes = Wishes {
            rooms,
            users,
            deaf,
            broken: broken.clone(),
        };
        let place = Place {
            order,
            node,
            channels: channels.clone(),
            mending: mending.clone(),
        };
        tasks.spawn(listening::run(shared.clone(), place, wishes, linger));
    }
    let of = |partition: Partition| orders.get(usize::from(keyspace.memory_of(partition).0));
    loop {
        tokio::select! {
            request = users.recv() => {
                let Some(request) = request else { return };
                let (UserRequest::Listen(user, _) | UserRequest::Idle(user)) = &request;
                let order = of(keyspace.home_of_user(*user));
                if order.is_none_or(|order| order.users.send(request).is_err()) {
                    return;
                }
            }
            request = rooms.recv() => {
                let Some(request) = request else { return };
                let (RoomRequest::Listen(room) | RoomRequest::Idle(room)) = &request;
                let order = of(keyspace.partition(*room));
                if order.is_none_or(|order| order.rooms.send(request).is_err()) {
                    return;
                }
            }
            Some(partitions) = deaf.recv() => {
                mend(&channels, partitions.into_iter().filter_map(of));
            }
            ended = tasks.join_next() => {
                if let Some(Err(panicked)) = ended.map(|ended| ended.map_err(JoinError::try_into_panic))
                    && let Ok(panicked) = panicked
                {
                    std::panic::resume_unwind(panicked);
                }
                return;
            }
        }
    }
}

/// Slots have moved: what is said there is listened to where they are now. What is being mended already is left alone; if it is not mended by
/// that, that will be found again.
fn mend<'o>(channels: &Arc<Channels>, deaf: impl Iterator<Item = &'o Order>) {
    let free = deaf.filter_map(|order| order.deaf.clone().try_reserve_owned().ok());
    let free: Vec<_> = free.collect();
    if free.is_empty() {
        return;
    }
    let channels = channels.clone();
    // Off this task: others want to subscribe.
    tokio::spawn(async move {
        // Or the commands would go to where they were.
        channels.find_slots().await;
        for one in free {
            one.send(());
        }
    });
}
