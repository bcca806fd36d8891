//! A socket as the rest of the node sees it: somebody to send to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use confab_shared::id::UserId;

use super::send_queue::SendQueue;
use crate::dialect::{Dialect, Namespace};

/// One socket: a session in a namespace, speaking one dialect, belonging to one user.
#[derive(Debug)]
pub struct Socket {
    key: u64,
    user: UserId,
    namespace: Namespace,
    default_dialect: &'static dyn Dialect,
    dialect: OnceLock<&'static dyn Dialect>,
    queue: Arc<SendQueue>,
    in_flight: AtomicUsize,
}

/// A shared reference to a socket.
pub type SocketRef = Arc<Socket>;

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Socket {
    /// A socket of a user. It speaks `dialect` if that is given, else the one of its first event, and `default_dialect` until then.
    pub fn new(
        user: UserId,
        namespace: Namespace,
        dialect: Option<&'static dyn Dialect>,
        default_dialect: &'static dyn Dialect,
        queue: Arc<SendQueue>,
    ) -> SocketRef {
        let socket = Self {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            user,
            namespace,
            default_dialect,
            dialect: OnceLock::new(),
            queue,
            in_flight: AtomicUsize::new(0),
        };
        if let Some(dialect) = dialect {
            socket.dialect.get_or_init(|| dialect);
        }
        Arc::new(socket)
    }

    /// What tells this socket from all others of this process.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The namespace it joined.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The dialect it speaks.
    pub fn dialect(&self) -> &'static dyn Dialect {
        self.dialect.get().copied().unwrap_or(self.default_dialect)
    }

    /// Fixes the dialect at the socket's first event, if nothing fixed it before. `spoken` is the dialect that knows the event.
    pub fn settle_dialect(&self, spoken: Option<&'static dyn Dialect>) -> &'static dyn Dialect {
        *self
            .dialect
            .get_or_init(|| spoken.unwrap_or(self.default_dialect))
    }

    /// Queues frames for the client. False if its session is ending.
    pub fn push(&self, frames: Bytes) -> bool {
        self.queue.push(frames)
    }

    /// The queue of its session.
    pub fn queue(&self) -> &Arc<SendQueue> {
        &self.queue
    }

    /// Counts a request that waits for its confirmation, unless there are `limit` already.
    pub fn begin_request(&self, limit: usize) -> bool {
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < limit).then_some(waiting + 1)
            })
            .is_ok()
    }

    /// A request got its confirmation.
    pub fn end_request(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
