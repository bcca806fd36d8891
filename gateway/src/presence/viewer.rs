//! Shows the sockets of this node who of their users' contacts is online: all of them when a socket comes, then what changes.
//!
//! What other nodes announce and what is read for those who come overtake each other. One task shows both, so nothing comes between; the
//! [`Screen`] knows which is later. What cannot be read with others is read apart from them, and holds nobody else up.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use confab_shared::id::UserId;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::contacts::{Asked, Finder, Found, Unanswered};
use super::pieces::{Divisible, Failures, Piece};
use super::screen::Screen;
use crate::backplane::OnlineInbox;
use crate::hub::Hub;
use crate::hub::socket::{Socket, SocketRef};
use crate::metrics::Metrics;

/// The most sockets that are shown their contacts together.
const BATCH: usize = 256;
/// How many batches of those who have come are looked for at a time,
const FRESH: usize = 2;
/// and how many of what failed.
const PIECES: usize = 2;
/// How long those take a rest between two batches who are shown them once more.
const REST: Duration = Duration::from_millis(50);
/// How long it is left after it could not be found out.
const PAUSE: Duration = Duration::from_millis(500);
/// How often what was shown long ago is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Who is to be shown what. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Viewer {
    wishes: Arc<Mutex<Wishes>>,
    more: Arc<Notify>,
    everything: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Wishes {
    /// Sockets that have come,
    fresh: VecDeque<Wish>,
    /// that may have missed something,
    again: VecDeque<Wish>,
    /// and whoever just wants to know.
    questions: VecDeque<Question>,
}

/// A socket that is to be shown who is online, unless it is gone by then.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) socket: Weak<Socket>,
    /// Whose it is.
    user: UserId,
    /// Whether it may take somebody for online who is not.
    pub(super) again: bool,
}

/// Somebody who just wants to know.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) user: UserId,
    pub(super) answer: oneshot::Sender<Vec<UserId>>,
}

/// What is found out together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) wishes: Vec<Wish>,
    pub(super) questions: Vec<Question>,
    /// When it was begun to find it out.
    pub(super) began: Option<Instant>,
}

impl Batch {
    /// Whose contacts are looked for.
    pub(super) fn users(&self) -> impl Iterator<Item = UserId> {
        let wishes = self.wishes.iter().map(|wish| wish.user);
        wishes.chain(self.questions.iter().map(|question| question.user))
    }

    /// Without those who are gone.
    fn refresh(&mut self) {
        self.wishes.retain(|wish| wish.socket.strong_count() > 0);
        self.questions
            .retain(|question| !question.answer.is_closed());
    }

    fn into_some(self) -> Option<Self> {
        (self.len() > 0).then_some(self)
    }
}

impl Divisible for Batch {
    fn len(&self) -> usize {
        self.wishes.len() + self.questions.len()
    }

    fn divide(self, most: usize) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        let open = |parts: &mut Vec<Self>| {
            if parts.last().is_none_or(|part| part.len() >= most) {
                parts.push(Self::default());
            }
        };
        for wish in self.wishes {
            open(&mut parts);
            if let Some(part) = parts.last_mut() {
                part.wishes.push(wish);
            }
        }
        for question in self.questions {
            open(&mut parts);
            if let Some(part) = parts.last_mut() {
                part.questions.push(question);
            }
        }
        parts
    }
}

type Lane = JoinSet<(Piece<Batch>, Result<Found, Unanswered>)>;

/// What is being found out, in lanes that do not wait for each other, and what could not be.
#[derive(Default)]
struct Finding {
    fresh: Lane,
    again: Lane,
    pieces: Lane,
    failures: Failures<Batch>,
}

impl Viewer {
    /// These are to be shown who is online; `again`: and who is not, where that is not the same.
    pub(super) fn show(&self, sockets: &[SocketRef], again: bool) {
        if sockets.is_empty() {
            return;
        }
        let wishes = sockets.iter().map(|socket| Wish {
            socket: Arc::downgrade(socket),
            user: socket.user(),
            again,
        });
        let mut all = self.wishes.lock();
        if again {
            all.again.extend(wishes);
        } else {
            all.fresh.extend(wishes);
        }
        drop(all);
        self.more.notify_one();
    }

    /// Nobody elsewhere may have found those who are here for a while: everybody is shown everything again.
    pub(super) fn show_everything(&self) {
        self.everything.notify_one();
    }

    /// Who of a user's contacts is online. None if it cannot be found out, or the node is shutting down.
    pub(super) async fn ask(&self, user: UserId) -> Option<Vec<UserId>> {
        let (answer, found) = oneshot::channel();
        self.wishes
            .lock()
            .questions
            .push_back(Question { user, answer });
        self.more.notify_one();
        found.await.ok()
    }

    /// Some of those who have come, and of those who ask.
    fn fresh(&self) -> Option<Batch> {
        let mut wishes = self.wishes.lock();
        let questions = wishes.questions.len().min(BATCH);
        let mut batch = Batch {
            questions: wishes.questions.drain(..questions).collect(),
            ..Batch::default()
        };
        batch.refresh();
        batch.fill(&mut wishes.fresh);
        batch.into_some()
    }

    /// Some of those who are shown everything once more.
    fn again(&self) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.fill(&mut self.wishes.lock().again);
        batch.into_some()
    }

    /// Runs until told to stop. Inputs: announcements; sockets and questions; what was found for those; losses, of what was said or of who is
    /// here, after which everybody is shown everything again.
    pub(super) async fn run(
        self,
        finder: Finder,
        hub: Hub,
        metrics: Arc<Metrics>,
        mut inbox: OnlineInbox,
    ) {
        let finder = Arc::new(finder);
        let mut screen = Screen::new(hub, metrics);
        let mut finding = Finding::default();
        let mut forget = tokio::time::interval(FORGOTTEN);
        loop {
            tokio::select! {
                Some(statuses) = inbox.statuses.recv() => screen.told(statuses),
                Some(found) = finding.fresh.join_next() => finding.show(found, &mut screen),
                Some(found) = finding.again.join_next() => finding.show(found, &mut screen),
                Some(found) = finding.pieces.join_next() => finding.show(found, &mut screen),
                () = self.more.notified() => {}
                Ok(()) = inbox.losses.changed() => self.show_all_again(&screen.hub),
                () = self.everything.notified() => self.show_all_again(&screen.hub),
                _ = forget.tick() => screen.forget(),
            }
            finding.go_on(&self, &finder);
        }
    }

    fn show_all_again(&self, hub: &Hub) {
        // Those who were to be shown it again anyway are among them.
        self.wishes.lock().again.clear();
        for (user, _) in hub.users().connected() {
            let mut sockets = hub.users().sockets(user);
            sockets.retain(|socket| is_shown(socket));
            self.show(&sockets, true);
        }
    }
}

/// Whether a socket is shown who is online. Guests have no contacts.
pub(super) fn is_shown(socket: &Socket) -> bool {
    socket.dialect().shows_contacts() && socket.token().is_some()
}

impl Batch {
    /// Takes as many as there is room for.
    fn fill(&mut self, waiting: &mut VecDeque<Wish>) {
        // One that came and settled on another dialect meanwhile has two wishes.
        let mut seen = HashSet::new();
        while self.len() < BATCH
            && let Some(wish) = waiting.pop_front()
        {
            let socket = wish.socket.upgrade();
            let shown = socket.filter(|socket| socket.dialect().shows_contacts());
            if shown.is_some_and(|socket| seen.insert(socket.key())) {
                self.wishes.push(wish);
            }
        }
    }
}

impl Finding {
    /// Begins whatever there is room for.
    fn go_on(&mut self, viewer: &Viewer, finder: &Arc<Finder>) {
        while self.fresh.len() < FRESH
            && self.failures.has_room()
            && let Some(batch) = viewer.fresh()
        {
            let piece = self.failures.piece(batch);
            self.fresh
                .spawn(find(finder.clone(), piece, Duration::ZERO));
        }
        if self.again.is_empty()
            && self.failures.has_room()
            && let Some(batch) = viewer.again()
        {
            let piece = self.failures.piece(batch);
            self.again.spawn(find(finder.clone(), piece, REST));
        }
        while self.pieces.len() < PIECES
            && let Some(mut piece) = self.failures.next()
        {
            piece.batch.refresh();
            if piece.batch.len() > 0 {
                self.pieces
                    .spawn(find(finder.clone(), piece, Duration::ZERO));
            }
        }
    }

    /// Shows what was found; what was not is tried again, or given up.
    fn show(
        &mut self,
        found: Result<(Piece<Batch>, Result<Found, Unanswered>), JoinError>,
        screen: &mut Screen,
    ) {
        match found {
            Ok((piece, Ok(found))) => {
                self.failures.succeeded();
                screen.show(piece.batch, found);
            }
            Ok((piece, Err(error))) => {
                tracing::debug!(%error, "contacts not read; trying again");
                if let Some(batch) = self.failures.failed(piece) {
                    screen.give_up(&batch);
                }
            }
            Err(error) => tracing::error!(%error, "contacts were not shown"),
        }
    }
}

async fn find(
    finder: Arc<Finder>,
    mut piece: Piece<Batch>,
    rest: Duration,
) -> (Piece<Batch>, Result<Found, Unanswered>) {
    tokio::time::sleep(rest).await;
    piece.batch.began = Some(Instant::now());
    let asked = Asked {
        users: piece.batch.users().collect(),
        with_absent: piece.batch.wishes.iter().any(|wish| wish.again),
    };
    let found = finder.find(asked).await;
    if found.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    (piece, found)
}
