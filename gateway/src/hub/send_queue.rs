//! What waits to be written to one session: bounded, shared bytes, one waker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::session::DisconnectReason;

/// How long a queue may stay over its limit before its session is closed.
const GRACE: Duration = Duration::from_secs(5);
/// How many times its limit a queue may hold at all: one burst of large messages makes nobody a slow consumer.
const BURST: usize = 8;

/// A bounded queue from anybody who has something for the session to the session's writer.
///
/// Its items are whole WebSocket frames, one or several, so that what is encoded once serves every queue. A queue that stays over
/// its limit, or would pass [`BURST`] times its limit, closes the session instead: a client that reads too slowly is cut off
/// and comes back, and hurts nobody.
#[derive(Debug)]
pub struct SendQueue {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// Since when it is over its limit.
    over_since: Option<Instant>,
    /// The same, as it was before what was queued was taken the last time.
    over_before: Option<Instant>,
    closing: Option<DisconnectReason>,
    /// When the ping was queued that awaits its pong.
    pinged_at: Option<Instant>,
    /// When the last ping was queued that got its pong.
    received_until: Option<Instant>,
    writer: Option<Waker>,
}

/// Bytes that wait in all queues of this process.
static QUEUED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes that wait in all queues of this process.
pub fn queued_bytes() -> u64 {
    QUEUED_BYTES.load(Ordering::Relaxed)
}

impl SendQueue {
    /// An empty queue that may hold `limit` bytes for any time, and more for a short one.
    pub fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            limit,
        }
    }

    /// Adds frames. False if the session is closing, or is now, because they did not fit.
    pub fn push(&self, chunk: Bytes) -> bool {
        self.add(chunk, None)
    }

    /// Adds the last frames, and ends the session once they are written: nobody else's come behind them. False as [`push`](Self::push).
    pub fn push_last(&self, chunk: Bytes, reason: DisconnectReason) -> bool {
        self.add(chunk, Some(reason))
    }

    fn add(&self, chunk: Bytes, last: Option<DisconnectReason>) -> bool {
        let mut state = self.state.lock();
        if state.closing.is_some() {
            return false;
        }
        let fits = state.fits(chunk.len(), self.limit);
        if fits {
            state.bytes += chunk.len();
            QUEUED_BYTES.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            state.chunks.push_back(chunk);
            state.closing = last;
        } else {
            state.closing = Some(DisconnectReason::SlowConsumer);
            state.forget();
        }
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        fits
    }

    /// Adds the heartbeat's ping, and remembers when.
    pub fn ping(&self, frame: Bytes) -> bool {
        // Taken before the ping is queued: whatever was queued until then goes out before it.
        self.state.lock().pinged_at = Some(Instant::now());
        self.push(frame)
    }

    /// The client answered the ping: it has received all that was queued before it.
    pub fn ponged(&self) {
        let mut state = self.state.lock();
        if let Some(at) = state.pinged_at.take() {
            state.received_until = Some(at);
        }
    }

    /// When the last ping that the client has answered was queued.
    pub fn received_until(&self) -> Option<Instant> {
        self.state.lock().received_until
    }

    /// Ends the session once what is queued is written. The first reason stands.
    pub fn close(&self, reason: DisconnectReason) {
        let mut state = self.state.lock();
        state.closing.get_or_insert(reason);
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Why the session is ending, if it is.
    pub fn closing(&self) -> Option<DisconnectReason> {
        self.state.lock().closing
    }

    /// Waits until there is something to write or the session is to end.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.chunks.is_empty() || state.closing.is_some() {
            return Poll::Ready(());
        }
        state.wake_later(cx);
        Poll::Pending
    }

    /// Waits until the session is to end, however much is queued.
    pub fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<DisconnectReason> {
        let mut state = self.state.lock();
        if let Some(reason) = state.closing {
            return Poll::Ready(reason);
        }
        state.wake_later(cx);
        Poll::Pending
    }

    /// Whether the session is to end because its client reads too slowly: the one end that does not wait for the writer.
    pub fn is_overrun(&self) -> bool {
        self.closing() == Some(DisconnectReason::SlowConsumer)
    }

    /// Whether the session is to end because its client has come back elsewhere: whatever it still says here is older than what it says there.
    pub fn is_superseded(&self) -> bool {
        self.closing() == Some(DisconnectReason::Superseded)
    }

    /// Takes all that is queued.
    pub fn take(&self, into: &mut VecDeque<Bytes>) {
        let mut state = self.state.lock();
        QUEUED_BYTES.fetch_sub(state.bytes as u64, Ordering::Relaxed);
        state.bytes = 0;
        state.over_before = state.over_since.take();
        if into.is_empty() {
            std::mem::swap(&mut state.chunks, into);
        } else {
            into.append(&mut state.chunks);
        }
    }

    /// Gives back what was taken last and did not fit where it was to go: it stays the first to leave, and a queue that is still over its limit
    /// has been so all the time.
    pub fn put_back(&self, mut rest: VecDeque<Bytes>) {
        let mut state = self.state.lock();
        if state.closing == Some(DisconnectReason::SlowConsumer) {
            return;
        }
        let bytes: usize = rest.iter().map(Bytes::len).sum();
        state.bytes += bytes;
        QUEUED_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
        rest.append(&mut state.chunks);
        state.chunks = rest;
        if state.bytes > self.limit {
            state.over_since = state.over_before.take().or(state.over_since);
        }
    }
}

impl State {
    /// There is one writer; whoever asked last is woken.
    fn wake_later(&mut self, cx: &Context<'_>) {
        match &self.writer {
            Some(writer) if writer.will_wake(cx.waker()) => {}
            _ => self.writer = Some(cx.waker().clone()),
        }
    }

    /// Whether so many bytes more may wait. The clock is looked at only where the limit is passed.
    fn fits(&mut self, more: usize, limit: usize) -> bool {
        let bytes = self.bytes + more;
        if bytes <= limit {
            return true;
        }
        let since = *self.over_since.get_or_insert_with(Instant::now);
        bytes <= limit.saturating_mul(BURST) && since.elapsed() < GRACE
    }

    fn forget(&mut self) {
        QUEUED_BYTES.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        self.bytes = 0;
        self.chunks = VecDeque::new();
    }
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        self.state.get_mut().forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &SendQueue) -> Vec<Bytes> {
        let mut into = VecDeque::new();
        queue.take(&mut into);
        into.into()
    }

    #[test]
    fn order_is_kept_and_the_bound_holds() {
        let queue = SendQueue::new(4);
        assert!(queue.push(Bytes::from_static(b"ab")));
        assert!(queue.push(Bytes::from_static(b"cd")));
        assert_eq!(taken(&queue), ["ab", "cd"]);
        // Over the limit for a moment, but never beyond a burst.
        for _ in 0..BURST {
            assert!(queue.push(Bytes::from_static(b"efgh")));
        }
        assert!(!queue.push(Bytes::from_static(b"i")));
        assert_eq!(queue.closing(), Some(DisconnectReason::SlowConsumer));
        assert!(taken(&queue).is_empty(), "an overrun queue keeps nothing");
    }

    #[test]
    fn what_is_put_back_is_the_first_to_leave() {
        let queue = SendQueue::new(16);
        for chunk in ["a", "b", "c"] {
            queue.push(Bytes::from_static(chunk.as_bytes()));
        }
        let mut rest = VecDeque::new();
        queue.take(&mut rest);
        rest.pop_front();
        queue.push(Bytes::from_static(b"d"));
        queue.put_back(rest);
        assert_eq!(queue.state.lock().bytes, 3);
        assert_eq!(taken(&queue), ["b", "c", "d"]);
    }

    #[test]
    fn a_queue_that_stays_over_its_limit_closes_its_session() {
        let queue = SendQueue::new(4);
        assert!(queue.push(Bytes::from_static(b"abcdef")));
        queue.state.lock().over_since = Instant::now().checked_sub(GRACE);
        assert!(!queue.push(Bytes::from_static(b"g")));
        assert_eq!(queue.closing(), Some(DisconnectReason::SlowConsumer));
    }

    #[test]
    fn nothing_comes_behind_the_last_words_and_they_are_said_once() {
        let queue = SendQueue::new(64);
        queue.push(Bytes::from_static(b"before"));
        assert!(queue.push_last(Bytes::from_static(b"last"), DisconnectReason::Refused));
        assert!(!queue.push(Bytes::from_static(b"behind")));
        assert!(!queue.push_last(Bytes::from_static(b"again"), DisconnectReason::Draining));
        assert_eq!(queue.closing(), Some(DisconnectReason::Refused));
        assert_eq!(taken(&queue), ["before", "last"]);
    }

    #[test]
    fn a_queue_that_gets_back_more_than_its_limit_has_been_over_it_all_the_time() {
        let queue = SendQueue::new(4);
        queue.push(Bytes::from_static(b"ab"));
        queue.push(Bytes::from_static(b"cdef"));
        queue.push(Bytes::from_static(b"gh"));
        let since = Instant::now().checked_sub(GRACE);
        queue.state.lock().over_since = since;
        let mut rest = VecDeque::new();
        queue.take(&mut rest);
        assert_eq!(queue.state.lock().over_since, None);
        rest.pop_front();
        queue.put_back(rest);
        assert_eq!(queue.state.lock().over_since, since);
        // Until little enough is left.
        let mut rest = VecDeque::new();
        queue.take(&mut rest);
        rest.pop_front();
        queue.put_back(rest);
        assert_eq!(queue.state.lock().over_since, None);
        assert!(queue.push(Bytes::from_static(b"ijk")));
    }

    #[test]
    fn what_was_queued_before_a_close_is_still_written() {
        let queue = SendQueue::new(16);
        queue.push(Bytes::from_static(b"bye"));
        queue.close(DisconnectReason::Draining);
        queue.close(DisconnectReason::PingTimeout);
        assert!(!queue.push(Bytes::from_static(b"late")));
        assert_eq!(queue.closing(), Some(DisconnectReason::Draining));
        assert_eq!(taken(&queue), ["bye"]);
    }
}
