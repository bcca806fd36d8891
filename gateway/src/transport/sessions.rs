//! The sessions of this node: by key, for the requests that name one, and all of them, for when they are to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;

use super::polling::Mailbox;
use super::sid::SessionKey;
use crate::hub::send_queue::SendQueue;
use crate::metrics::{Counted, Metrics};
use crate::session::DisconnectReason;

/// How long a drain waits, after it has told the last session, until all have left.
const LAST_LEAVE: Duration = Duration::from_secs(5);

/// The node's open sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    draining: AtomicBool,
    /// Those that are open, and those about to open or just closed.
    places: AtomicUsize,
    open: Mutex<HashMap<SessionKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    queue: Weak<SendQueue>,
    /// Where requests for it go, while it is carried by polling.
    mailbox: Option<Arc<Mailbox>>,
}

/// What a key names.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// A session over HTTP polling.
    Polling(Arc<Mailbox>),
    /// A session over a WebSocket. No other request may touch it.
    WebSocket,
    /// Nothing.
    Nothing,
}

/// A session's place among the node's; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    inner: Arc<Inner>,
}

/// A session's entry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registration {
    inner: Arc<Inner>,
    key: SessionKey,
    carried: Option<Carried>,
}

/// A session among those that the same carries, and where it will be counted if a WebSocket takes over.
#[derive(Debug)]
struct Carried {
    counted: Counted,
    by_websocket: IntGauge,
}

impl Sessions {
    /// Takes a place for a session to come. None if `max` are taken.
    pub(super) fn claim(&self, max: usize) -> Option<Place> {
        let claim = |taken| (taken < max).then_some(taken + 1);
        self.inner
            .places
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim)
            .ok()?;
        Some(Place {
            inner: self.inner.clone(),
        })
    }

    /// Enters a session, with its mailbox if it is carried by polling.
    pub(super) fn register(
        &self,
        key: SessionKey,
        queue: &Arc<SendQueue>,
        mailbox: Option<Arc<Mailbox>>,
    ) -> Registration {
        let entry = Entry {
            queue: Arc::downgrade(queue),
            mailbox,
        };
        self.inner.open.lock().insert(key, entry);
        if self.inner.draining.load(Ordering::SeqCst) {
            // Its handshake was under way when the others were told.
            queue.close(DisconnectReason::Draining);
        }
        Registration {
            inner: self.inner.clone(),
            key,
            carried: None,
        }
    }

    /// What a key names.
    pub(super) fn find(&self, key: SessionKey) -> Found {
        match self.inner.open.lock().get(&key) {
            Some(Entry {
                mailbox: Some(mailbox),
                ..
            }) => Found::Polling(mailbox.clone()),
            Some(_) => Found::WebSocket,
            None => Found::Nothing,
        }
    }

    /// Lets a waiting poll of a session go with a packet that says nothing, so that the client asks again, perhaps elsewhere.
    /// False if none waits.
    pub fn release_poll(&self, key: SessionKey) -> bool {
        match self.find(key) {
            Found::Polling(mailbox) => mailbox.release(),
            Found::WebSocket | Found::Nothing => false,
        }
    }

    /// Ends a session whose client broke off in the middle of a polling request.
    pub(super) fn break_off(&self, key: SessionKey) {
        if let Found::Polling(mailbox) = self.find(key) {
            mailbox.queue().close(DisconnectReason::TransportError);
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

    /// Closes all of them, evenly over a time, so that their clients do not all reconnect at once, and waits until they have
    /// left, within a bound.
    pub async fn drain(&self, over: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        self.inner.draining.store(true, Ordering::SeqCst);
        let mut queues: Vec<_> = self
            .inner
            .open
            .lock()
            .values()
            .map(|entry| entry.queue.clone())
            .collect();
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
        let left = async {
            while !self.is_empty() {
                tokio::time::sleep(STEP).await;
            }
        };
        if tokio::time::timeout(LAST_LEAVE, left).await.is_err() {
            tracing::warn!(sessions = self.len(), "sessions stay though they were told");
        }
    }
}

impl Registration {
    /// The session counts among those of this protocol and transport, for as long as it is entered.
    pub(super) fn counted(
        mut self,
        metrics: &Metrics,
        protocol: &'static str,
        transport: &'static str,
    ) -> Self {
        let labels = [protocol, transport];
        metrics
            .sessions_opened_total
            .with_label_values(&labels)
            .inc();
        self.carried = Some(Carried {
            counted: Counted::new(metrics.sessions.with_label_values(&labels)),
            by_websocket: metrics.sessions.with_label_values(&[protocol, "websocket"]),
        });
        self
    }

    /// The session is carried by a WebSocket from now on.
    pub(super) fn upgraded(&self) {
        if let Some(carried) = &self.carried {
            carried.counted.move_to(carried.by_websocket.clone());
        }
        if let Some(entry) = self.inner.open.lock().get_mut(&self.key) {
            entry.mailbox = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.places.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut open = self.inner.open.lock();
        open.remove(&self.key);
        // The room of a crowd that has left is given back; a table that breathes keeps its own.
        if open.capacity() > 1_024 && open.len() < open.capacity() / 8 {
            open.shrink_to_fit();
        }
    }
}
