//! One user under faults: sends, edits, deletes and reads, comes back by another gateway, is recovered or else reads what it
//! missed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confab_loadtest::client::{ClientError, Connection, Dial, Kind, Route};
use confab_loadtest::clock;
use confab_loadtest::http::Endpoint;
use confab_loadtest::log::{ChangeKind, ClientLog, Outcome};
use confab_loadtest::member::{Answer, Member};
use confab_loadtest::queries;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;

const BUFFER: usize = 16 << 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Between attempts to connect, to join, or to read the history.
const BACK_OFF: Duration = Duration::from_millis(150);
/// Between a failed send and its repetition.
const RETRY_AFTER: Duration = Duration::from_millis(300);
/// How long a client stays with another gateway than its own: later faults must find clients on both.
const AWAY: Duration = Duration::from_secs(3);
/// How often a message is sent at the most.
const ATTEMPTS: u16 = 40;
/// Clients whose connections are cut come back within so many milliseconds.
const CUT_SPREAD: u64 = 400;

/// What all clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Connect and join, no more.
    Gather = 1,
    /// Everything.
    Flow,
    /// Finish what was begun.
    Silence,
    /// Some mark everything read, once.
    LastReading,
}

/// What all clients of a scenario share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) endpoints: Arc<[Endpoint]>,
    /// How clients reach them, in turns.
    pub(crate) kinds: Vec<Kind>,
    /// The mean time between two things that a client does.
    pub(crate) pace: Duration,
    /// Raised to have all clients cut their connections.
    pub(crate) cuts: watch::Receiver<u32>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) finish: CancellationToken,
    /// Why connections could not be opened.
    pub(crate) refused: Mutex<Vec<ClientError>>,
    /// By client: the phase in which it is present and has nothing left to do; 0 while it has.
    pub(crate) quiet: Vec<AtomicU8>,
}

/// How a connection ended that did not break.
enum End {
    Finished,
    /// Without a word to the server.
    Cut,
    /// To the gateway where it began.
    GoesHome,
}

/// A user.
pub(crate) struct Client {
    index: usize,
    member: Member,
    stage: Arc<Stage>,
    dice: Dice,
    kind: Kind,
    /// Where its sessions begin when all is well, and where the present one did.
    home: usize,
    gateway: usize,
    /// Where it reads histories.
    library: usize,
    cuts: watch::Receiver<u32>,
    /// A connection that it turned its back on without a word: to the server it may well live.
    left_behind: Option<Connection>,
    /// Messages to send again, and when.
    retries: VecDeque<(Instant, usize)>,
    read_last: bool,
}

impl Client {
    pub(crate) fn new(index: usize, member: Member, stage: Arc<Stage>) -> Self {
        let kind = stage.kinds[index % stage.kinds.len()];
        let home = index / stage.kinds.len() % stage.endpoints.len();
        let dice = Dice::new(index as u64);
        let cuts = stage.cuts.clone();
        Self {
            index,
            member,
            stage,
            dice,
            kind,
            home,
            gateway: home,
            library: home,
            cuts,
            left_behind: None,
            retries: VecDeque::new(),
            read_last: false,
        }
    }

    /// Until the scenario is finished.
    pub(crate) async fn run(mut self) -> ClientLog {
        let finish = self.stage.finish.clone();
        while !finish.is_cancelled() {
            let dial = self.dial();
            let (token, recovery) = (self.member.token(), self.member.recovery());
            match Connection::open(&dial, token, recovery).await {
                Ok(mut connection) => {
                    let gateway = u32::try_from(self.gateway).unwrap();
                    self.member
                        .connected(&mut connection, gateway, self.kind, clock::now());
                    self.left_behind = None;
                    let ended = self.serve(&mut connection).await;
                    if matches!(ended, Ok(End::Finished)) {
                        break;
                    }
                    for send in self.member.disconnected(clock::now()) {
                        self.retry(send);
                    }
                    if matches!(ended, Ok(End::Cut)) {
                        if self.dice.below(2) == 0 {
                            self.left_behind = Some(connection);
                        }
                        sleep(Duration::from_millis(self.dice.below(CUT_SPREAD))).await;
                    }
                }
                Err(error) => {
                    self.stage.refused.lock().unwrap().push(error);
                    sleep(BACK_OFF + Duration::from_millis(self.dice.below(150))).await;
                }
            }
            self.note_quiet(None);
            self.gateway = (self.gateway + 1) % self.stage.endpoints.len();
        }
        self.member.into_log()
    }

    fn dial(&self) -> Dial {
        let endpoints = &self.stage.endpoints;
        let route = match self.kind {
            Kind::WebSocket => Route::direct(endpoints[self.gateway].clone()),
            Kind::Polling | Kind::Upgraded => {
                Route::round_robin(Arc::clone(endpoints), self.gateway).unwrap()
            }
        };
        Dial {
            kind: self.kind,
            route,
            buffer: BUFFER,
            within: CONNECT_LIMIT,
        }
    }

    /// Until the connection breaks (an error) or is not wanted any more.
    async fn serve(&mut self, connection: &mut Connection) -> Result<End, ClientError> {
        let stage = Arc::clone(&self.stage);
        let mut cuts = self.cuts.clone();
        let mut next = Instant::now()
            + stage
                .pace
                .mul_f64(f64::from(u32::try_from(self.index % 16).unwrap()) / 16.0);
        let mut again = Instant::now();
        let go_home = Instant::now() + AWAY;
        let is_away = self.gateway != self.home;
        loop {
            while let Some(packet) = connection.packet()? {
                if let Answer::Unsure(send) = self.member.receive(&packet, clock::now()) {
                    self.retry(send);
                }
            }
            let phase = *stage.phase.borrow();
            if is_away && phase == Phase::Flow && Instant::now() >= go_home {
                return Ok(End::GoesHome);
            }
            if Instant::now() >= again {
                again = Instant::now() + BACK_OFF;
                self.member.join_missing(connection);
                self.catch_up().await;
            }
            if self.is_present() {
                self.send_again(connection);
                if phase == Phase::Flow && Instant::now() >= next {
                    next += stage.pace.mul_f64(0.8 + 0.4 * self.dice.fraction());
                    self.act(connection);
                }
                if phase == Phase::LastReading && !self.read_last {
                    self.read_last = true;
                    self.read_everything(connection);
                }
            }
            let idle =
                self.member.unanswered() == 0 && self.retries.is_empty() && self.is_present();
            // Later a probe may fall to a fault, which leaves the session as it was.
            let carried =
                phase != Phase::Gather || self.kind != Kind::Upgraded || connection.is_websocket();
            self.note_quiet((idle && carried).then_some(phase));
            connection.flush()?;
            let wake = self
                .retries
                .front()
                .map_or(next.max(Instant::now()), |(at, _)| *at);
            let wake = wake
                .min(Instant::now() + BACK_OFF)
                .max(Instant::now() + Duration::from_millis(5));
            tokio::select! {
                came = connection.turn() => came?,
                () = sleep_until(wake) => {}
                () = stage.finish.cancelled() => return Ok(End::Finished),
                changed = cuts.changed() => {
                    changed.map_err(|_| ClientError::Closed(" with the scenario".into()))?;
                    self.cuts = cuts;
                    return Ok(End::Cut);
                }
            }
        }
    }

    /// Whether it has joined everything and missed nothing.
    fn is_present(&self) -> bool {
        self.member.has_joined()
            && (0..self.member.places()).all(|place| !self.member.needs_history(place))
    }

    fn note_quiet(&self, phase: Option<Phase>) {
        self.stage.quiet[self.index].store(phase.map_or(0, |phase| phase as u8), Ordering::Relaxed);
    }

    /// Reads the histories that a reconnection left open. One that cannot be read now is read later.
    async fn catch_up(&mut self) {
        let stage = Arc::clone(&self.stage);
        for place in 0..self.member.places() {
            if self.member.needs_history(place) {
                let endpoint = &stage.endpoints[self.library];
                let (id, covered) = (self.member.place_id(place), self.member.covered(place));
                let history = queries::history(endpoint, self.member.token(), &id, covered);
                if let Ok(Ok(messages)) = timeout(CONNECT_LIMIT, history).await {
                    self.member.read_history(place, messages);
                } else {
                    self.library = (self.library + 1) % stage.endpoints.len();
                }
            }
        }
    }

    /// Every fourth message is not sent again: it stays unknown whether it is stored.
    fn retry(&mut self, send: usize) {
        if send % 4 != 3 && self.member.log().sends[send].attempts < ATTEMPTS {
            self.retries.push_back((Instant::now() + RETRY_AFTER, send));
        }
    }

    fn send_again(&mut self, connection: &mut Connection) {
        while let Some((_, send)) = self.retries.pop_front_if(|(at, _)| *at <= Instant::now()) {
            self.member.resend(connection, send);
        }
    }

    fn act(&mut self, connection: &mut Connection) {
        let place = usize::try_from(self.dice.below(self.member.places() as u64)).unwrap();
        let now = clock::now();
        match self.dice.below(100) {
            0..75 => self.member.send(connection, place, now),
            // Twice at once.
            75 => {
                self.member.send(connection, place, now);
                self.member
                    .resend(connection, self.member.log().sends.len() - 1);
            }
            // As a client that missed the acknowledgement would.
            76..78 => {
                if let Some(send) = self.own_message() {
                    self.member.resend(connection, send);
                }
            }
            78..87 => {
                if let Some(send) = self.own_message() {
                    self.member.edit(connection, send, now);
                }
            }
            87..92 => {
                if let Some(send) = self.own_message() {
                    self.member.delete(connection, send, now);
                }
            }
            92..98 => {
                if let Some(message) = self.member.newest_message(place) {
                    self.member.read(connection, place, message, now);
                }
            }
            _ => self.member.read_all(connection, place, now),
        }
    }

    /// One of its latest messages of which everything is known, and that it did not delete.
    fn own_message(&mut self) -> Option<usize> {
        let log = self.member.log();
        let back = usize::try_from(self.dice.below(12)).unwrap();
        let send = log.sends.len().checked_sub(back + 1)?;
        let Outcome::Done { value, .. } = log.sends[send].outcome else {
            return None;
        };
        let is_open = log
            .changes
            .iter()
            .filter(|change| {
                change.message == value
                    && matches!(change.kind, ChangeKind::Edit(_) | ChangeKind::Delete)
            })
            .any(|change| {
                change.kind == ChangeKind::Delete || !matches!(change.outcome, Outcome::Done { .. })
            });
        (!is_open).then_some(send)
    }

    /// Every room has a client with such an index among its members; see `Scenario::begin`.
    fn read_everything(&mut self, connection: &mut Connection) {
        if self.index.is_multiple_of(3) {
            for place in 0..self.member.places() {
                self.member.read_all(connection, place, clock::now());
            }
        }
    }
}
