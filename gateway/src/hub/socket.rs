//! A socket as the rest of the node sees it: somebody to send to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use confab_shared::auth::Claims;
use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::conversation::{ConversationKind, ConversationView, Subject};
use confab_shared::model::event::Event;
use parking_lot::Mutex;

use super::send_queue::SendQueue;
use crate::dialect::{Called, Dialect, Namespace, Shown};
use crate::session::DisconnectReason;
use crate::session::stomp::Subscription;

/// The most that is held back for a socket that is being connected.
const MAX_HELD: usize = 8_192;

/// What came for a socket before it was told that it is connected.
#[derive(Debug)]
pub enum Held {
    /// An event of a room.
    Event {
        /// Which conversation,
        subject: Arc<Subject>,
        /// which the socket calls thus.
        called: Called,
        /// What happened.
        event: Event,
        /// As its frame would have carried it.
        offset: Option<Box<str>>,
    },
    /// Its user has become a member of a conversation.
    Joined {
        /// By which change.
        seq: Seq,
        /// The conversation.
        view: Box<ConversationView>,
        /// As its frames would have carried it.
        offset: Option<Box<str>>,
    },
    /// Anything else.
    Frames(Bytes),
}

/// How what a dialect wrote becomes what a socket's client gets.
#[derive(Debug)]
pub enum Carrier {
    /// It is an event of Socket.IO already.
    SocketIo,
    /// It would be of a STOMP session as such, whose client is told nothing but by its subscriptions.
    Stomp,
    /// It is addressed to a subscription.
    Subscription(Arc<Subscription>),
}

/// One socket: a session in a namespace, speaking one dialect, belonging to one user. A STOMP session is one, and so is each of its
/// subscriptions.
#[derive(Debug)]
pub struct Socket {
    key: u64,
    user: UserId,
    /// Whose it has turned out to be, if that was not known when it was made.
    revealed: Option<Revealed>,
    carrier: Carrier,
    /// What its token says; guests have none.
    token: Option<Claims>,
    namespace: Namespace,
    default_dialect: &'static dyn Dialect,
    dialect: OnceLock<&'static dyn Dialect>,
    queue: Arc<SendQueue>,
    in_flight: AtomicUsize,
    holds_back: AtomicBool,
    /// What is held back; none once the socket is connected.
    held: Mutex<Option<Vec<Held>>>,
    /// The conversations that it listens to without having entered them; none if it listens to those alone that it enters.
    followed: Mutex<Option<BTreeSet<ConversationId>>>,
    /// Whether it is told how much is unread in conversations that it has not joined.
    watching: AtomicU8,
    /// When it was looked up which of its user's contacts are online, as it was shown that last.
    contacts_as_of: AtomicU64,
}

/// It does not watch yet.
const BEFORE: u8 = 0;
/// It watches.
const WATCHING: u8 = 1;
/// It watches no more, and never will again.
const OVER: u8 = 2;

/// Whose the sockets are that a session made before it was known whose it is. They share it; it is set once.
pub type Revealed = Arc<OnceLock<UserId>>;

/// A shared reference to a socket.
pub type SocketRef = Arc<Socket>;

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Socket {
    /// A socket of a user, who came with this token. Until it is [released](Self::release), whatever comes for it is held back. It speaks `dialect` if that is given, else the one of its first event, and `default_dialect` until then.
    pub fn new(
        user: UserId,
        token: Option<Claims>,
        namespace: Namespace,
        dialect: Option<&'static dyn Dialect>,
        default_dialect: &'static dyn Dialect,
        queue: Arc<SendQueue>,
    ) -> SocketRef {
        let socket = Self::unsettled(user, token, namespace, default_dialect, queue);
        if let Some(dialect) = dialect {
            socket.dialect.get_or_init(|| dialect);
        }
        Arc::new(socket)
    }

    /// A STOMP session, or one of its subscriptions, which have no token of their own: they end with their session.
    pub fn stomp(
        user: UserId,
        token: Option<Claims>,
        dialect: &'static dyn Dialect,
        carrier: Carrier,
        queue: Arc<SendQueue>,
    ) -> SocketRef {
        let mut socket = Self::unsettled(user, token, Namespace::Root, dialect, queue);
        socket.carrier = carrier;
        socket.dialect.get_or_init(|| dialect);
        Arc::new(socket)
    }

    /// A subscription of a STOMP session that has not said whose it is: it counts as this nobody's, and is shown what is for whoever it
    /// will be revealed to be.
    pub fn stomp_unknown(
        nobody: UserId,
        revealed: Revealed,
        dialect: &'static dyn Dialect,
        carrier: Carrier,
        queue: Arc<SendQueue>,
    ) -> SocketRef {
        let mut socket = Self::unsettled(nobody, None, Namespace::Root, dialect, queue);
        socket.carrier = carrier;
        socket.revealed = Some(revealed);
        socket.dialect.get_or_init(|| dialect);
        Arc::new(socket)
    }

    fn unsettled(
        user: UserId,
        token: Option<Claims>,
        namespace: Namespace,
        default_dialect: &'static dyn Dialect,
        queue: Arc<SendQueue>,
    ) -> Self {
        Self {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            user,
            revealed: None,
            carrier: Carrier::SocketIo,
            token,
            namespace,
            default_dialect,
            dialect: OnceLock::new(),
            queue,
            in_flight: AtomicUsize::new(0),
            holds_back: AtomicBool::new(true),
            held: Mutex::new(Some(Vec::new())),
            followed: Mutex::new(None),
            watching: AtomicU8::new(BEFORE),
            contacts_as_of: AtomicU64::new(u64::MAX),
        }
    }

    /// What tells this socket from all others of this process.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Who sees what it is shown. What it is registered by is [`user`](Self::user), which never changes.
    pub fn audience(&self) -> UserId {
        let revealed = self.revealed.as_ref().and_then(|revealed| revealed.get());
        revealed.copied().unwrap_or(self.user)
    }

    /// How what is written for it becomes what its client gets.
    pub fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// The subscription that it is, if it is one.
    pub fn subscription(&self) -> Option<&Arc<Subscription>> {
        match &self.carrier {
            Carrier::Subscription(subscription) => Some(subscription),
            Carrier::SocketIo | Carrier::Stomp => None,
        }
    }

    /// What its dialect wrote for it alone, as its client gets it.
    pub fn addressed(&self, frames: Bytes) -> Bytes {
        match self.subscription() {
            Some(subscription) if !frames.is_empty() => subscription.address(frames),
            Some(_) | None => frames,
        }
    }

    /// What its user's token says; guests have none.
    pub fn token(&self) -> Option<&Claims> {
        self.token.as_ref()
    }

    /// Whether it sees its user's conversations of this kind without having entered them, as far as it follows them.
    pub fn sees(&self, kind: ConversationKind) -> bool {
        self.dialect().sight().includes(kind)
    }

    /// From here on it listens to all conversations of its user that it [sees](Self::sees).
    pub fn begin_following(&self) {
        self.followed.lock().get_or_insert_default();
    }

    /// It listens to no conversation any more without having entered it. Those it did.
    pub fn end_following(&self) -> BTreeSet<ConversationId> {
        self.followed.lock().take().unwrap_or_default()
    }

    /// It is about to listen to this one. False if it does not, or no longer, listen to all of them.
    pub fn follow(&self, conversation: ConversationId) -> bool {
        match self.followed.lock().as_mut() {
            Some(followed) => {
                followed.insert(conversation);
                true
            }
            None => false,
        }
    }

    /// Whether it listens to all conversations of its user that it sees.
    pub fn follows(&self) -> bool {
        self.followed.lock().is_some()
    }

    /// From here on it is told how much is unread in conversations that it has not joined. False if it was already, or is over.
    pub fn begin_watching(&self) -> bool {
        self.watching
            .compare_exchange(BEFORE, WATCHING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether it is.
    pub fn is_watching(&self) -> bool {
        self.watching.load(Ordering::Acquire) == WATCHING
    }

    /// It is not any more, for good. Whether it was.
    pub fn end_watching(&self) -> bool {
        self.watching.swap(OVER, Ordering::AcqRel) == WATCHING
    }

    /// When it was looked up which of its user's contacts are online, as it was shown that last, in microseconds of Redis's clock: what is
    /// older is no news to it. Until it is shown that for the first time nothing is.
    pub fn contacts_as_of(&self) -> u64 {
        self.contacts_as_of.load(Ordering::Relaxed)
    }

    /// It is shown which of them were online then.
    pub fn set_contacts_as_of(&self, position: u64) {
        self.contacts_as_of.store(position, Ordering::Relaxed);
    }

    /// The namespace it joined.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The dialect it speaks.
    pub fn dialect(&self) -> &'static dyn Dialect {
        self.dialect.get().copied().unwrap_or(self.default_dialect)
    }

    /// The dialect that it speaks, once that is settled.
    pub fn settled_dialect(&self) -> Option<&'static dyn Dialect> {
        self.dialect.get().copied()
    }

    /// Fixes the dialect at the socket's first event, if nothing fixed it before. `spoken` is the dialect that knows the event.
    pub fn settle_dialect(&self, spoken: Option<&'static dyn Dialect>) -> &'static dyn Dialect {
        *self
            .dialect
            .get_or_init(|| spoken.unwrap_or(self.default_dialect))
    }

    /// Queues frames for the client. False if its session is ending.
    pub fn push(&self, frames: Bytes) -> bool {
        if self.holds_back() {
            let mut held = self.held.lock();
            if let Some(held) = held.as_mut() {
                return self.keep(held, Held::Frames(frames));
            }
        }
        self.queue.push(frames)
    }

    /// The frames that show it a conversation that its user has come into. None, if its dialect has no word for that.
    pub fn joined(&self, view: &ConversationView, offset: Option<&str>) -> Bytes {
        self.addressed(self.dialect().joined(self.namespace(), view, offset))
    }

    /// Whether what comes may have to be held back: its client has not been told yet that it is connected.
    pub fn holds_back(&self) -> bool {
        self.holds_back.load(Ordering::Acquire)
    }

    /// Holds events of a room back. False if the socket has been released meanwhile: then they are to be shown.
    pub fn hold(&self, subject: &Arc<Subject>, called: Called, events: &[Shown<'_>]) -> bool {
        let mut held = self.held.lock();
        let Some(held) = held.as_mut() else {
            return false;
        };
        for shown in events {
            let event = Held::Event {
                subject: Arc::clone(subject),
                called,
                event: shown.event.clone(),
                offset: shown.offset.map(Box::from),
            };
            self.keep(held, event);
        }
        true
    }

    /// Holds back that its user has come into a conversation, by the change `seq`. False as [`hold`](Self::hold).
    pub fn hold_joined(&self, seq: Seq, view: &ConversationView, offset: Option<&str>) -> bool {
        let mut held = self.held.lock();
        let Some(held) = held.as_mut() else {
            return false;
        };
        let (view, offset) = (Box::new(view.clone()), offset.map(Box::from));
        self.keep(held, Held::Joined { seq, view, offset });
        true
    }

    fn keep(&self, held: &mut Vec<Held>, one: Held) -> bool {
        if held.len() >= MAX_HELD {
            // It never became ready; its client comes back and tries again.
            self.queue.close(DisconnectReason::Unavailable);
            return false;
        }
        held.push(one);
        true
    }

    /// The client knows that it is connected. `encode` makes frames of what was held back; they go out before anything that comes
    /// later.
    pub fn release(&self, encode: impl FnOnce(Vec<Held>) -> Vec<Bytes>) {
        let mut held = self.held.lock();
        let Some(waiting) = held.take() else { return };
        for frames in encode(waiting) {
            if !frames.is_empty() {
                self.queue.push(frames);
            }
        }
        self.holds_back.store(false, Ordering::Release);
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
