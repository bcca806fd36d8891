//! Who is connected to this node, and by which sockets.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::timestamp::Timestamp;
use parking_lot::Mutex;

use super::order::UNPROVEN;
use super::send_queue::SendQueue;
use super::socket::SocketRef;

/// For how long notices are remembered, so that a repeated one is not shown twice: longer than any sweep looks back.
const REMEMBERED: Duration = Duration::from_secs(180);
/// How many are remembered at the most, per user.
const MOST_REMEMBERED: usize = 4_096;

/// The connected users of this node.
#[derive(Debug)]
pub struct Users {
    shards: Box<[Mutex<HashMap<UserId, Entry>>]>,
    hasher: std::hash::RandomState,
}

#[derive(Debug)]
struct Entry {
    connected_at: Timestamp,
    sockets: Vec<SocketRef>,
    /// The last beat of the node's own when the user's channel had been subscribed to.
    heard_since: u64,
    seen: VecDeque<(Instant, ConversationId, Seq)>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            connected_at: Timestamp::now(),
            sockets: Vec::new(),
            heard_since: UNPROVEN,
            seen: VecDeque::new(),
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self {
            shards: (0..16).map(|_| Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
        }
    }
}

impl Users {
    fn shard(&self, user: UserId) -> &Mutex<HashMap<UserId, Entry>> {
        let hash =
            usize::try_from(self.hasher.hash_one(user) % self.shards.len() as u64).unwrap_or(0);
        &self.shards[hash]
    }

    /// A socket connected.
    pub fn add(&self, socket: SocketRef) {
        self.shard(socket.user())
            .lock()
            .entry(socket.user())
            .or_default()
            .sockets
            .push(socket);
    }

    /// A socket is gone. True if it was its user's last one.
    pub fn remove(&self, socket: &SocketRef) -> bool {
        let mut shard = self.shard(socket.user()).lock();
        let Some(entry) = shard.get_mut(&socket.user()) else {
            return false;
        };
        entry.sockets.retain(|other| other.key() != socket.key());
        let last = entry.sockets.is_empty();
        if last {
            shard.remove(&socket.user());
        }
        last
    }

    /// A user's sockets on this node.
    pub fn sockets(&self, user: UserId) -> Vec<SocketRef> {
        self.shard(user)
            .lock()
            .get(&user)
            .map(|entry| entry.sockets.clone())
            .unwrap_or_default()
    }

    /// How many sessions a user had on this node when this one came, or has, if no socket of it is there: so of two that come at once only one
    /// finds the other.
    pub fn sessions_before(&self, user: UserId, session: &Arc<SendQueue>) -> usize {
        let shard = self.shard(user).lock();
        let mut queues: Vec<*const SendQueue> = shard
            .get(&user)
            .into_iter()
            .flat_map(|entry| &entry.sockets)
            .take_while(|socket| !Arc::ptr_eq(socket.queue(), session))
            .filter(|socket| socket.queue().closing().is_none())
            .map(|socket| Arc::as_ptr(socket.queue()))
            .collect();
        queues.sort_unstable();
        queues.dedup();
        queues.len()
    }

    /// Whether a user has a socket on this node.
    pub fn is_connected(&self, user: UserId) -> bool {
        self.shard(user).lock().contains_key(&user)
    }

    /// A user's channel is subscribed to; `beat` was the node's last one then.
    pub fn heard(&self, user: UserId, beat: u64) {
        if let Some(entry) = self.shard(user).lock().get_mut(&user) {
            entry.heard_since = beat.min(entry.heard_since);
        }
    }

    /// The beat since which the channel of a user that is connected has been listened to.
    pub fn heard_since(&self, user: UserId) -> Option<u64> {
        let shard = self.shard(user).lock();
        shard.get(&user).map(|entry| entry.heard_since)
    }

    /// All connected users, each with the moment since which it has been connected.
    pub fn connected(&self) -> Vec<(UserId, Timestamp)> {
        let mut users = Vec::new();
        for shard in &self.shards {
            users.extend(
                shard
                    .lock()
                    .iter()
                    .map(|(user, entry)| (*user, entry.connected_at)),
            );
        }
        users
    }

    /// Remembers a notice for a connected user. False if it was shown before, or nobody is there to see it.
    pub fn first_sight(&self, user: UserId, conversation: ConversationId, seq: Seq) -> bool {
        let mut shard = self.shard(user).lock();
        let Some(entry) = shard.get_mut(&user) else {
            return false;
        };
        if entry
            .seen
            .iter()
            .any(|(_, shown, at)| (*shown, *at) == (conversation, seq))
        {
            return false;
        }
        let now = Instant::now();
        while entry.seen.len() >= MOST_REMEMBERED
            || entry
                .seen
                .front()
                .is_some_and(|(since, ..)| now.duration_since(*since) > REMEMBERED)
        {
            entry.seen.pop_front();
        }
        entry.seen.push_back((now, conversation, seq));
        true
    }

    /// Shows a user something about a conversation as it stood at `seq`, unless a later change to the user's membership has been
    /// shown already.
    pub fn show_unless_outdated(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
        show: impl Fn(&SocketRef),
    ) {
        let shard = self.shard(user).lock();
        let Some(entry) = shard.get(&user) else {
            return;
        };
        let outdated = entry
            .seen
            .iter()
            .any(|(_, shown, at)| *shown == conversation && *at > seq);
        if !outdated {
            entry.sockets.iter().for_each(show);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Namespace;
    use crate::dialect::conversations::Conversations;
    use crate::hub::socket::Socket;
    use crate::session::DisconnectReason;

    static DIALECT: Conversations = Conversations;

    fn come(users: &Users, user: UserId, session: &Arc<SendQueue>) -> SocketRef {
        let queue = session.clone();
        let socket = Socket::new(user, None, Namespace::Chat, Some(&DIALECT), &DIALECT, queue);
        users.add(socket.clone());
        socket
    }

    #[test]
    fn of_sessions_that_come_at_once_each_finds_those_before_it() {
        let (users, user) = (Users::default(), UserId::generate());
        let sessions = [(); 3].map(|()| Arc::new(SendQueue::new(100)));
        let before = || {
            let each = sessions.each_ref();
            each.map(|session| users.sessions_before(user, session))
        };
        assert_eq!(before(), [0, 0, 0]);
        let sockets = sessions.each_ref().map(|one| come(&users, user, one));
        assert_eq!(before(), [0, 1, 2]);
        // A session's second socket makes it no later one, and no second one either.
        come(&users, user, &sessions[0]);
        come(&users, user, &sessions[1]);
        come(&users, UserId::generate(), &sessions[1]);
        assert_eq!(before(), [0, 1, 2]);
        users.remove(&sockets[1]);
        assert_eq!(
            before(),
            [0, 2, 1],
            "it is there by its second socket alone"
        );
        sessions[0].close(DisconnectReason::Superseded);
        assert_eq!(before(), [0, 1, 0]);
    }
}
