//! Where the requests of a session meet its task: at most one that receives, and a bounded line of those that bring messages.
//!
//! It must never know what is in a message, nor whether a request came from a client or was passed on.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::form::Form;
use crate::hub::send_queue::SendQueue;

/// How many bodies may wait while one is processed. sockjs-client sends the next one when it has the answer to the last.
const WAITING: usize = 2;
/// How many chunks may be on their way between a session and its receiver's connection: the prelude, and one more.
const CHUNKS: usize = 2;

/// A session's side of a request that receives. Dropped, it ends the answer in good order.
pub(super) struct Outlet {
    pub(super) form: Form,
    pub(super) chunks: mpsc::Sender<Bytes>,
    /// How many bytes more it may carry.
    pub(super) left: usize,
}

/// What a request brings.
pub(super) struct Delivery {
    /// All of its messages, found to be in order.
    pub(super) body: Bytes,
    /// Whoever brought them waits here until they are processed.
    pub(super) done: oneshot::Sender<()>,
}

/// Why a request is not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turned {
    /// Another one receives already.
    Overlap,
    /// The session is over, and this frame says why.
    Over(Bytes),
}

/// Why messages are not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// The session is over.
    Gone,
    /// Too much waits to be processed.
    Overloaded,
}

/// What a session's requests find.
pub(super) struct Door {
    queue: Arc<SendQueue>,
    receiver: Mutex<Receiver>,
    came: Notify,
    released: Notify,
    deliveries: mpsc::Sender<Delivery>,
}

enum Receiver {
    /// None.
    None,
    /// One that the session has not seen yet.
    Waiting(Outlet),
    /// One that the session writes to.
    Taken,
    /// None any more.
    Over(Bytes),
}

impl Door {
    /// The door to a session that is about to begin, and what is brought through it.
    pub(super) fn new(queue: Arc<SendQueue>) -> (Self, mpsc::Receiver<Delivery>) {
        let (deliveries, brought) = mpsc::channel(WAITING);
        let door = Self {
            queue,
            receiver: Mutex::new(Receiver::None),
            came: Notify::new(),
            released: Notify::new(),
            deliveries,
        };
        (door, brought)
    }

    pub(super) fn queue(&self) -> &Arc<SendQueue> {
        &self.queue
    }

    /// A request came that receives, up to `limit` bytes. What comes out is its answer's body; to drop that before it has ended means that the
    /// client has gone.
    pub(super) fn receive(
        &self,
        form: Form,
        limit: usize,
    ) -> Result<mpsc::Receiver<Bytes>, Turned> {
        let mut receiver = self.receiver.lock();
        match &*receiver {
            Receiver::None => {}
            Receiver::Waiting(_) | Receiver::Taken => return Err(Turned::Overlap),
            Receiver::Over(close) => return Err(Turned::Over(close.clone())),
        }
        let (chunks, body) = mpsc::channel(CHUNKS);
        if let Some(prelude) = form.prelude() {
            // There is room: nothing else is in there yet.
            let _sent = chunks.try_send(prelude);
        }
        *receiver = Receiver::Waiting(Outlet {
            form,
            chunks,
            left: limit,
        });
        drop(receiver);
        self.came.notify_one();
        Ok(body)
    }

    /// Messages came. What comes out resolves when they are processed, or breaks off if the session ends before.
    pub(super) fn bring(&self, body: Bytes) -> Result<oneshot::Receiver<()>, Undelivered> {
        let (done, processed) = oneshot::channel();
        self.deliveries
            .try_send(Delivery { body, done })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Undelivered::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Undelivered::Gone,
            })?;
        Ok(processed)
    }

    /// Lets a request that receives go, so that its client comes again, perhaps by another way.
    pub(super) fn release(&self) {
        if matches!(
            *self.receiver.lock(),
            Receiver::Taken | Receiver::Waiting(_)
        ) {
            self.released.notify_one();
        }
    }

    /// The next request that receives. The session has it until [`done`](Self::done).
    pub(super) async fn next(&self) -> Outlet {
        loop {
            let came = self.came.notified();
            if let Some(outlet) = self.take() {
                return outlet;
            }
            came.await;
        }
    }

    fn take(&self) -> Option<Outlet> {
        let mut receiver = self.receiver.lock();
        match std::mem::replace(&mut *receiver, Receiver::Taken) {
            Receiver::Waiting(outlet) => Some(outlet),
            other => {
                *receiver = other;
                None
            }
        }
    }

    /// Resolves when the request that receives is to be let go.
    pub(super) async fn let_go(&self) {
        self.released.notified().await;
    }

    /// The request has its answer, and the next one may come. This is said before the end of the answer goes out: whoever has read that
    /// comes again at once.
    pub(super) fn done(&self) {
        let mut receiver = self.receiver.lock();
        if matches!(*receiver, Receiver::Taken) {
            *receiver = Receiver::None;
        }
    }

    /// What whoever comes to receive is told, if the session is over.
    pub(super) fn last_word(&self) -> Option<Bytes> {
        match &*self.receiver.lock() {
            Receiver::Over(close) => Some(close.clone()),
            Receiver::None | Receiver::Waiting(_) | Receiver::Taken => None,
        }
    }

    /// The session is over: whoever waits or still comes to receive is told by this frame.
    pub(super) fn close(&self, close: Bytes) {
        let word = close.clone();
        let before = std::mem::replace(&mut *self.receiver.lock(), Receiver::Over(close));
        if let Receiver::Waiting(outlet) = before
            && outlet.form.streams()
        {
            // Its answer has begun, and has room for this behind its prelude. Whose has not finds the frame here.
            let _gone = outlet.chunks.try_send(outlet.form.dress(&word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> (Door, mpsc::Receiver<Delivery>) {
        Door::new(Arc::new(SendQueue::new(1_000)))
    }

    #[tokio::test]
    async fn one_receives_at_a_time() {
        let (door, _brought) = door();
        let mut body = door.receive(Form::EventSource, 9).unwrap();
        assert_eq!(body.recv().await.unwrap(), "\r\n");
        assert_eq!(door.receive(Form::Xhr, 9).unwrap_err(), Turned::Overlap);
        let outlet = door.next().await;
        assert_eq!((outlet.form, outlet.left), (Form::EventSource, 9));
        assert_eq!(door.receive(Form::Xhr, 9).unwrap_err(), Turned::Overlap);
        drop(outlet);
        door.done();
        assert_eq!(body.recv().await, None);
        door.receive(Form::Xhr, 9).unwrap();
    }

    #[tokio::test]
    async fn whoever_comes_too_late_is_told_why() {
        let (door, _brought) = door();
        let mut waiting = door.receive(Form::Xhr, 9).unwrap();
        let close = Bytes::from_static(b"c[1000,\"\"]");
        door.close(close.clone());
        assert_eq!(waiting.recv().await, None);
        for _ in 0..2 {
            let turned = door.receive(Form::Xhr, 9).unwrap_err();
            assert_eq!(turned, Turned::Over(close.clone()));
        }
    }

    #[tokio::test]
    async fn whose_answer_has_begun_is_told_in_it() {
        for form in [Form::XhrStreaming, Form::EventSource] {
            let (door, _brought) = door();
            let mut waiting = door.receive(form, 9).unwrap();
            let close = Bytes::from_static(b"c[1000,\"\"]");
            door.close(close.clone());
            assert_eq!(waiting.recv().await, form.prelude());
            assert_eq!(waiting.recv().await.unwrap(), form.dress(&close));
            assert_eq!(waiting.recv().await, None);
        }
    }

    #[tokio::test]
    async fn what_waits_to_be_processed_is_bounded() {
        let (door, mut brought) = door();
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| door.bring(Bytes::new()).unwrap())
            .collect();
        let refused = door.bring(Bytes::new()).unwrap_err();
        assert_eq!(refused, Undelivered::Overloaded);
        drop(brought.recv().await.unwrap());
        door.bring(Bytes::new()).unwrap();
        drop(brought);
        let refused = door.bring(Bytes::new()).unwrap_err();
        assert_eq!(refused, Undelivered::Gone);
        for one in waiting {
            assert!(one.await.is_err());
        }
    }
}
