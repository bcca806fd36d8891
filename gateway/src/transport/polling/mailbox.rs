//! What the HTTP requests of a polling session hand to its task: at most one poll, one POST and one upgrade at a time.
//!
//! The slots are the bound: a request that finds its slot taken breaks the protocol. It must never know what is in a body.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::ticket::{PostTicket, UpgradeTicket, WaitingPoll};
use crate::hub::send_queue::SendQueue;
use crate::session::DisconnectReason;
use crate::transport::endpoint::ConnectionGuard;
use crate::transport::stream::Stream;

/// The body of an answer that says nothing: it makes the client ask again.
pub(super) const NOOP: Bytes = Bytes::from_static(b"6");

/// Where a polling session's requests meet its task.
pub(crate) struct Mailbox {
    queue: Arc<SendQueue>,
    slots: Mutex<Slots>,
    polled: Notify,
    posted: Notify,
    connected: Notify,
}

#[derive(Default)]
struct Slots {
    stage: Stage,
    poll: Option<Poll>,
    /// The answer to the last poll, until the client asks for the next one.
    given: Option<Given>,
    post: PostSlot,
    upgrade: UpgradeSlot,
}

/// A poll that waits.
struct Poll {
    since: Instant,
    /// What the client calls it: the query's `t`, another one for every request.
    name: Option<String>,
    carrier: Carrier,
    answer: oneshot::Sender<Bytes>,
}

/// An answer that was given.
struct Given {
    name: String,
    carrier: Carrier,
    body: Bytes,
}

/// The connection that carries a request; gone when that is.
pub(crate) type Carrier = Weak<dyn Send + Sync>;

/// What is still taken in.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Everything.
    #[default]
    Open,
    /// One more poll, to be told that the session is over.
    Farewell,
    /// Nothing.
    Closed,
}

#[derive(Default)]
enum PostSlot {
    #[default]
    Free,
    /// Its body is being read.
    Reading,
    Ready(Post),
    /// Its packets are being processed.
    Processing,
}

#[derive(Default)]
enum UpgradeSlot {
    #[default]
    Free,
    /// A connection is being made, or probed.
    Claimed,
    Ready(Connection),
}

/// The body of a POST that was read to its end.
pub(super) struct Post {
    /// Its packets.
    pub(super) body: Bytes,
    /// Whoever waits for them to be processed hears whether they were in order.
    pub(super) done: oneshot::Sender<bool>,
}

/// A WebSocket connection that wants to carry the session.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    /// What the client sent behind its handshake.
    pub(crate) prefix: Bytes,
    /// What the connection holds while it is open.
    pub(crate) guard: ConnectionGuard,
}

/// Why a request is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is one of its kind already.
    Overlap,
    /// The session is over, or carried by a WebSocket.
    Closed,
}

impl Mailbox {
    pub(crate) fn new(queue: Arc<SendQueue>) -> Self {
        Self {
            queue,
            slots: Mutex::default(),
            polled: Notify::new(),
            posted: Notify::new(),
            connected: Notify::new(),
        }
    }

    pub(crate) fn queue(&self) -> &Arc<SendQueue> {
        &self.queue
    }

    /// Whether a GET of this name was answered over a connection that is still there, as far as this node knows.
    pub(super) fn was_answered(&self, name: &str) -> bool {
        let slots = self.slots.lock();
        let given = slots.given.as_ref().filter(|given| given.name == name);
        given.is_some_and(|given| given.carrier.strong_count() > 0)
    }

    /// A GET came, and this is what its client calls it.
    ///
    /// One that was answered already over a connection that has broken since came again because its answer was lost on the way: proxies
    /// repeat a GET when the gateway that had passed it on died under it. It gets the same answer; what was in that is nowhere else any
    /// more. While the connection lives it is a new one: there are clients that use a name twice.
    pub(super) fn poll(
        self: &Arc<Self>,
        name: Option<String>,
        carrier: Carrier,
    ) -> Result<WaitingPoll, Refused> {
        let mut slots = self.slots.lock();
        if slots.stage == Stage::Closed {
            return Err(Refused::Closed);
        }
        if slots.poll.is_some() {
            return Err(Refused::Overlap);
        }
        let (sender, answer) = oneshot::channel();
        let again = slots.given.as_mut().filter(|given| {
            Some(&given.name) == name.as_ref() && given.carrier.strong_count() == 0
        });
        if let Some(given) = again {
            given.carrier = carrier;
            // Whoever should receive it is the return value.
            let _sent = sender.send(given.body.clone());
        } else {
            slots.given = None;
            slots.poll = Some(Poll {
                since: Instant::now(),
                name,
                carrier,
                answer: sender,
            });
            drop(slots);
            self.polled.notify_one();
        }
        Ok(WaitingPoll::new(self.clone(), answer))
    }

    /// A POST came.
    pub(super) fn begin_post(self: &Arc<Self>) -> Result<PostTicket, Refused> {
        let mut slots = self.slots.lock();
        match (slots.stage, &slots.post) {
            (Stage::Open, PostSlot::Free) => {}
            (Stage::Open, _) => return Err(Refused::Overlap),
            _ => return Err(Refused::Closed),
        }
        slots.post = PostSlot::Reading;
        Ok(PostTicket::new(self.clone()))
    }

    /// A WebSocket handshake came.
    pub(crate) fn claim_upgrade(self: &Arc<Self>) -> Result<UpgradeTicket, Refused> {
        let mut slots = self.slots.lock();
        match (slots.stage, &slots.upgrade) {
            (Stage::Open, UpgradeSlot::Free) => {}
            (Stage::Open, _) => return Err(Refused::Overlap),
            _ => return Err(Refused::Closed),
        }
        slots.upgrade = UpgradeSlot::Claimed;
        Ok(UpgradeTicket::new(self.clone()))
    }

    /// Lets a waiting poll go with nothing. False if none waits.
    pub(crate) fn release(&self) -> bool {
        self.answer(NOOP)
    }

    /// Resolves when a poll waits.
    pub(super) async fn poll_waits(&self) {
        loop {
            let polled = self.polled.notified();
            if self.slots.lock().poll.is_some() {
                return;
            }
            polled.await;
        }
    }

    /// Whether a poll waits.
    pub(super) fn has_poll(&self) -> bool {
        self.slots.lock().poll.is_some()
    }

    /// Whether a poll waits that came before this moment.
    pub(super) fn has_poll_of_before(&self, moment: Instant) -> bool {
        matches!(&self.slots.lock().poll, Some(poll) if poll.since < moment)
    }

    /// Answers the waiting poll. False if there is none, or it has gone.
    pub(super) fn answer(&self, body: Bytes) -> bool {
        let mut slots = self.slots.lock();
        let Some(poll) = slots.poll.take() else {
            return false;
        };
        let (carrier, body_given) = (poll.carrier, body.clone());
        slots.given = poll.name.map(|name| Given {
            name,
            carrier,
            body: body_given,
        });
        drop(slots);
        poll.answer.send(body).is_ok()
    }

    /// A POST was read to its end.
    pub(super) fn put_post(&self, post: Post) {
        {
            let mut slots = self.slots.lock();
            if slots.stage == Stage::Open {
                slots.post = PostSlot::Ready(post);
            }
        }
        self.posted.notify_one();
    }

    /// The next POST that was read to its end.
    pub(super) async fn next_post(&self) -> Post {
        loop {
            let posted = self.posted.notified();
            if let Some(post) = self.take_post() {
                return post;
            }
            posted.await;
        }
    }

    fn take_post(&self) -> Option<Post> {
        let mut slots = self.slots.lock();
        match std::mem::replace(&mut slots.post, PostSlot::Processing) {
            PostSlot::Ready(post) => Some(post),
            other => {
                slots.post = other;
                None
            }
        }
    }

    /// The POST's packets are processed; the next one may come.
    pub(super) fn post_done(&self) {
        self.slots.lock().post = PostSlot::Free;
    }

    /// A connection that wants to carry the session is made.
    pub(super) fn put_connection(&self, connection: Connection) {
        {
            let mut slots = self.slots.lock();
            if slots.stage == Stage::Open {
                slots.upgrade = UpgradeSlot::Ready(connection);
            }
        }
        self.connected.notify_one();
    }

    /// The next connection that wants to carry the session.
    pub(super) async fn next_connection(&self) -> Connection {
        loop {
            let connected = self.connected.notified();
            if let Some(connection) = self.take_connection() {
                return connection;
            }
            connected.await;
        }
    }

    fn take_connection(&self) -> Option<Connection> {
        let mut slots = self.slots.lock();
        match std::mem::replace(&mut slots.upgrade, UpgradeSlot::Claimed) {
            UpgradeSlot::Ready(connection) => Some(connection),
            other => {
                slots.upgrade = other;
                None
            }
        }
    }

    /// The upgrade came to nothing; another may be tried.
    pub(super) fn upgrade_failed(&self) {
        self.slots.lock().upgrade = UpgradeSlot::Free;
    }

    /// Takes nothing in any more, but one poll to be told so.
    pub(super) fn close_but_for_farewell(&self) {
        let refused = {
            let mut slots = self.slots.lock();
            slots.stage = Stage::Farewell;
            (
                std::mem::take(&mut slots.post),
                std::mem::take(&mut slots.upgrade),
            )
        };
        drop(refused);
    }

    /// Takes nothing in any more: a WebSocket carries the session. A POST that was read to its end may still be taken out.
    pub(super) fn close_but_for_post(&self) {
        let refused = {
            let mut slots = self.slots.lock();
            slots.stage = Stage::Closed;
            slots.given = None;
            (slots.poll.take(), std::mem::take(&mut slots.upgrade))
        };
        drop(refused);
    }

    /// A request's client has gone before it was answered: that ends the session, unless a WebSocket carries it by now.
    pub(super) fn abandoned(&self) {
        let slots = self.slots.lock();
        // Under the lock: the session must not move to a WebSocket in between.
        if slots.stage == Stage::Open {
            self.queue.close(DisconnectReason::TransportClosed);
        }
    }

    /// Takes nothing in any more. Whoever waits hears nothing else.
    pub(super) fn close(&self) {
        let refused = {
            let mut slots = self.slots.lock();
            let waiting = std::mem::take(&mut *slots);
            slots.stage = Stage::Closed;
            waiting
        };
        drop(refused);
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
