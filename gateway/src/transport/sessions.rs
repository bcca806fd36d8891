//! The sessions of this node, for when all of them are to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;

/// The node's open sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    draining: AtomicBool,
    open: Mutex<HashMap<u64, Weak<SendQueue>>>,
}

/// A session's entry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registration {
    inner: Arc<Inner>,
    key: u64,
}

impl Sessions {
    /// Enters a session.
    pub fn register(&self, queue: &Arc<SendQueue>) -> Registration {
        let key = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.open.lock().insert(key, Arc::downgrade(queue));
        if self.inner.draining.load(Ordering::SeqCst) {
            // Its upgrade was under way when the others were told.
            queue.close(DisconnectReason::Draining);
        }
        Registration {
            inner: self.inner.clone(),
            key,
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.inner.open.lock().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all of them, evenly over a time, so that their clients do not all reconnect at once.
    pub async fn drain(&self, over: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        self.inner.draining.store(true, Ordering::SeqCst);
        let mut queues: Vec<_> = self.inner.open.lock().values().cloned().collect();
        let steps = (over.as_millis() / STEP.as_millis()).max(1);
        let per_step = queues
            .len()
            .div_ceil(usize::try_from(steps).unwrap_or(1))
            .max(1);
        while !queues.is_empty() {
            for queue in queues
                .drain(queues.len().saturating_sub(per_step)..)
                .filter_map(|queue| queue.upgrade())
            {
                queue.close(DisconnectReason::Draining);
            }
            if !queues.is_empty() {
                tokio::time::sleep(STEP).await;
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.inner.open.lock().remove(&self.key);
    }
}
