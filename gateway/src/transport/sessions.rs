//! The sessions of this node: by key, for the requests that name one, and all of them, for when they are to end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntGauge;

use super::polling::Mailbox;
use super::sid::SessionKey;
use crate::hub::send_queue::SendQueue;
use crate::metrics::{Counted, Metrics};
use crate::session::DisconnectReason;

/// How long a drain waits, after it has told the last session, until all have left.
pub const LAST_LEAVE: Duration = Duration::from_secs(5);

/// How long a connection may have been accepted before its first request: within a drain without sessions, at the most.
const LAST_COME: Duration = Duration::from_millis(500);
/// From one look at the clock, or at who is left, to the next.
const STEP: Duration = Duration::from_millis(50);

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
    /// How many have been entered so far.
    entered: AtomicU64,
    open: Mutex<HashMap<SessionKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// Where it stands among all that were ever entered.
    rank: u64,
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
            rank: self.inner.entered.fetch_add(1, Ordering::Relaxed),
            queue: Arc::downgrade(queue),
            mailbox,
        };
        self.inner.open.lock().insert(key, entry);
        if self.inner.draining.load(Ordering::SeqCst) {
            // It begins when the last of the others have been told.
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

    /// Those of all open sessions, the newest first.
    fn queues(&self) -> Vec<Weak<SendQueue>> {
        let open = self.inner.open.lock();
        let mut ranked: Vec<_> = open
            .values()
            .map(|entry| (entry.rank, entry.queue.clone()))
            .collect();
        drop(open);
        ranked.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        ranked.into_iter().map(|(_, queue)| queue).collect()
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
    /// left, within a bound. The oldest are first: the newest may be in the middle of joining. Those that begin meanwhile, on connections accepted before, are closed at the end of it; from then on
    /// none stays.
    pub async fn drain(&self, over: Duration) {
        let mut queues = self.queues();
        let (all, begun) = (queues.len(), Instant::now());
        // Without any there still are connections that were accepted a moment ago: what they are about to ask for is not refused.
        let over = if all == 0 { over.min(LAST_COME) } else { over };
        loop {
            let passed = begun.elapsed().as_secs_f64() / over.as_secs_f64().max(f64::EPSILON);
            for queue in queues.drain(still_open(all, passed).min(queues.len())..) {
                close(&queue);
            }
            if passed >= 1.0 {
                break;
            }
            tokio::time::sleep(STEP).await;
        }
        self.inner.draining.store(true, Ordering::SeqCst);
        self.queues().iter().for_each(close);
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

/// How many of `all` are still open when this part of the time has passed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number, between zero and it"
)]
fn still_open(all: usize, passed: f64) -> usize {
    (all as f64 * (1.0 - passed).clamp(0.0, 1.0)) as usize
}

fn close(queue: &Weak<SendQueue>) {
    if let Some(queue) = queue.upgrade() {
        queue.close(DisconnectReason::Draining);
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
