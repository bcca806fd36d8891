//! A cluster under load while something breaks: from making the users to the verdict.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confab_loadtest::checker::{Case, Recoveries};
use confab_loadtest::client::{ClientError, Kind};
use confab_loadtest::http::Endpoint;
use confab_loadtest::instruments::Instruments;
use confab_loadtest::log::{ClientLog, Outcome};
use confab_loadtest::member::{Member, Progress};
use confab_loadtest::queries;
use confab_loadtest::setup::Population;
use confab_loadtest::truth::Truth;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Phase, Stage};
use crate::harness::Harness;
use crate::injuries::{Injury, Strike};

const MEMBERS: u32 = 5;

/// Who takes part. Everybody is in two rooms.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) rooms: u32,
    /// How clients connect, in turns.
    pub(crate) kinds: Vec<Kind>,
    /// The mean time between two things that a client does.
    pub(crate) pace: Duration,
}

impl Crowd {
    /// WebSockets that do much.
    pub(crate) fn few() -> Self {
        Self {
            rooms: 30,
            kinds: vec![Kind::WebSocket],
            pace: Duration::from_millis(250),
        }
    }

    /// So many clients of each kind, which do about as much together.
    pub(crate) fn of_each(kinds: Vec<Kind>, count: u32) -> Self {
        let users = count * u32::try_from(kinds.len()).unwrap();
        Self {
            rooms: (users * 2).div_ceil(MEMBERS),
            kinds,
            pace: Duration::from_millis(250) * users.div_ceil(75),
        }
    }

    fn users(&self) -> u32 {
        self.rooms * MEMBERS / 2
    }
}

/// What is promised to clients whose connections broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Each of them is recovered: nothing that a session needs was lost.
    AllRecovered,
    /// Those that are recovered are so wholly.
    AllOrNothing,
}

/// How long everybody may take to connect and join.
const GATHER_LIMIT: Duration = Duration::from_secs(180);
/// How long what was begun may take to be confirmed or refused once nothing is broken any more.
const QUIET_LIMIT: Duration = Duration::from_mins(3);
/// How long the last message of a room may take: the servers' sweep is the last resort.
const TAIL_LIMIT: Duration = Duration::from_secs(120);
/// How long a room may stand still; far beyond what is promised, so that a slow machine fails nothing. Rooms in which little is said
/// have as much more as [`TURNS`] things take that a client does.
const RESUME_LIMIT: Duration = Duration::from_secs(30);
const TURNS: u32 = 15;

/// A scenario under way.
pub(crate) struct Scenario {
    name: &'static str,
    harness: Harness,
    database: PgPool,
    population: Arc<Population>,
    stage: Arc<Stage>,
    phase: watch::Sender<Phase>,
    clients: JoinSet<(usize, ClientLog)>,
    progress: Vec<(u32, Progress)>,
    /// What was inflicted, and when.
    broken: Vec<(u64, String)>,
    /// How long a room may stand still.
    resume: Duration,
    strike: Arc<Strike>,
}

impl Scenario {
    /// Users, rooms, and everybody connected and joined. Load begins at once.
    pub(crate) async fn begin(name: &'static str, crowd: Crowd, harness: &Harness) -> Self {
        let endpoints = harness.cluster().endpoints();
        Self::begin_at(endpoints, name, crowd, harness).await
    }

    /// The same with gateways that are not the cluster's.
    pub(crate) async fn begin_at(
        endpoints: Vec<Endpoint>,
        name: &'static str,
        crowd: Crowd,
        harness: &Harness,
    ) -> Self {
        let (rooms, users) = (crowd.rooms, crowd.users());
        let kinds: Vec<_> = crowd.kinds.iter().map(|kind| kind.name()).collect();
        println!("{name}: {users} clients, {}", kinds.join(", "));
        let cluster = harness.cluster();
        // A connection that PostgreSQL's restart has broken is not handed out.
        let database = PgPoolOptions::new()
            .max_connections(2)
            .test_before_acquire(true)
            .connect_lazy(&cluster.postgres.url);
        let database = database.unwrap();
        // Five neighbours each, so every third user is in every room.
        let rooms = (0..rooms)
            .map(|room| {
                (0..MEMBERS)
                    .map(|rank| (room * MEMBERS + rank) % users)
                    .collect()
            })
            .collect();
        let population = Arc::new(
            Population::create(&cluster, &database, users, rooms)
                .await
                .unwrap(),
        );
        let instruments = Arc::new(Instruments::default());
        let (phase, watching) = watch::channel(Phase::Gather);
        let (cuts, cut) = watch::channel(0);
        let stage = Arc::new(Stage {
            endpoints: endpoints.into(),
            kinds: crowd.kinds,
            pace: crowd.pace,
            cuts: cut,
            phase: watching,
            finish: CancellationToken::new(),
            refused: Mutex::default(),
            quiet: (0..users).map(|_| AtomicU8::new(0)).collect(),
        });
        let mut clients = JoinSet::new();
        let mut progress = Vec::new();
        for index in 0..users {
            let member = Member::new(index, Arc::clone(&population), Arc::clone(&instruments));
            progress.extend(member.progress());
            let index = usize::try_from(index).unwrap();
            let client = Client::new(index, member, Arc::clone(&stage));
            clients.spawn(async move { (index, client.run().await) });
        }
        let harness = harness.clone();
        let this = Self {
            name,
            harness,
            database,
            population,
            stage,
            phase,
            clients,
            progress,
            broken: Vec::new(),
            resume: RESUME_LIMIT + crowd.pace * TURNS,
            strike: Arc::new(Strike::new(cuts)),
        };
        assert!(
            this.falls_quiet(GATHER_LIMIT).await.is_some(),
            "{name}: not everybody could connect and join"
        );
        this.phase.send_replace(Phase::Flow);
        this
    }

    /// Rooms may stand still for no longer than this after an injury.
    pub(crate) fn resumes_within(&mut self, limit: Duration) {
        self.resume = limit;
    }

    /// Lets the load go on for a while.
    pub(crate) async fn flow(&self, long: Duration) {
        sleep(long).await;
    }

    /// Inflicts injuries, all at once, and heals them.
    pub(crate) async fn break_by(&mut self, injuries: &[Injury]) {
        println!("  {injuries:?}");
        let mut under_way = JoinSet::new();
        for &injury in injuries {
            let (harness, strike) = (self.harness.clone(), Arc::clone(&self.strike));
            under_way.spawn(async move { injury.inflict(&harness, &strike).await });
        }
        while let Some(healed) = under_way.join_next().await {
            healed.unwrap();
        }
        self.broken
            .push((self.strike.at(), format!("{injuries:?}")));
    }

    /// Ends the load as soon as an injury has hit: what it hits is the last that is said.
    pub(crate) async fn break_and_fall_silent(&mut self, injuries: &[Injury]) {
        let (phase, strike) = (self.phase.clone(), Arc::clone(&self.strike));
        let silence = async move {
            strike.felt().await;
            phase.send_replace(Phase::Silence);
        };
        tokio::join!(silence, self.break_by(injuries));
    }

    /// What the clients connect with.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let users = self.population.users.iter();
        users.map(|user| user.token.clone()).collect()
    }

    /// Fails if a client found no gateway, at any time. One that was sent away before it had joined did find one.
    pub(crate) fn require_all_connected(&self) {
        let refused = self.stage.refused.lock().unwrap();
        let sent_away = |error: &&ClientError| matches!(error, ClientError::Closed(_));
        let (away, failed): (Vec<_>, Vec<_>) = refused.iter().partition(sent_away);
        println!("  {} were sent away while they joined", away.len());
        assert!(failed.is_empty(), "{}: {failed:?}", self.name);
    }

    /// Ends the load, waits for rest, and fails if a promise was broken. What every client saw is handed out.
    pub(crate) async fn finish(mut self, promise: Promise) -> Vec<ClientLog> {
        self.phase.send_replace(Phase::Silence);
        let quiet = self.falls_quiet(QUIET_LIMIT).await;
        let tail = self.last_words_arrive().await;
        self.phase.send_replace(Phase::LastReading);
        let read = self.falls_quiet(QUIET_LIMIT).await;
        // What is delivered twice comes late.
        sleep(Duration::from_millis(700)).await;
        self.stage.finish.cancel();
        let mut logs = vec![ClientLog::default(); self.population.users.len()];
        while let Some(client) = self.clients.join_next().await {
            let (index, log) = client.unwrap();
            logs[index] = log;
        }
        let truth = Truth::read(&self.database, &self.population).await.unwrap();
        let shown = queries::unread(&self.stage.endpoints, &self.population)
            .await
            .unwrap();
        let report = Case {
            population: &self.population,
            logs: &logs,
            truth: &truth,
            shown: &shown,
        }
        .check();
        let recoveries = report.recoveries();
        let resumed = self.tell(&logs, recoveries, quiet, tail);
        assert!(report.is_clean(), "{}: {report}", self.name);
        assert!(
            promise != Promise::AllRecovered
                || recoveries.recovered() == recoveries.reconnections(),
            "{}: {recoveries}; not these: {:#?}",
            self.name,
            recoveries.missed()
        );
        assert!(
            quiet.is_some() && read.is_some(),
            "{}: not everybody came to rest within {QUIET_LIMIT:?}",
            self.name
        );
        assert!(
            tail.is_some(),
            "{}: the last messages did not arrive within {TAIL_LIMIT:?}",
            self.name
        );
        assert!(
            resumed < self.resume,
            "{}: a room stood still for {resumed:?}",
            self.name
        );
        logs
    }

    /// How long it took until nobody had anything left to do.
    async fn falls_quiet(&self, limit: Duration) -> Option<Duration> {
        let phase = *self.phase.borrow() as u8;
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if self
                .stage
                .quiet
                .iter()
                .all(|quiet| quiet.load(Ordering::Relaxed) == phase)
            {
                return Some(begun.elapsed());
            }
            sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// How long it took until every member had the last message of each of its rooms.
    async fn last_words_arrive(&self) -> Option<Duration> {
        let begun = Instant::now();
        let last = Truth::last_messages(&self.database, &self.population)
            .await
            .unwrap();
        while begun.elapsed() < TAIL_LIMIT {
            let room = |room: u32| last[usize::try_from(room).unwrap()];
            if self
                .progress
                .iter()
                .all(|(index, progress)| progress.seq() >= room(*index))
            {
                return Some(begun.elapsed());
            }
            sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Prints what happened, and says for how long the slowest room stood still after an injury.
    fn tell(
        &self,
        logs: &[ClientLog],
        recoveries: &Recoveries,
        quiet: Option<Duration>,
        tail: Option<Duration>,
    ) -> Duration {
        let sends: Vec<_> = logs.iter().flat_map(|log| &log.sends).collect();
        let count = |wanted: fn(&Outcome<i64>) -> bool| {
            sends.iter().filter(|sent| wanted(&sent.outcome)).count()
        };
        let stored = count(|outcome| matches!(outcome, Outcome::Done { .. }));
        let unknown = count(|outcome| matches!(outcome, Outcome::Unknown));
        let repeated = sends.iter().filter(|sent| sent.attempts > 1).count();
        let changes: usize = logs.iter().map(|log| log.changes.len()).sum();
        println!(
            "  {} sends: {stored} stored, {unknown} unknown, {repeated} repeated; {changes} edits, deletions and readings; \
             {recoveries}; quiet after {quiet:?}, last words after {tail:?}",
            sends.len()
        );
        let mut slowest = Duration::ZERO;
        for (injured, injury) in &self.broken {
            // The first acknowledgement in each room of something sent after the injury.
            let resumed = (0_u32..)
                .take(self.population.rooms.len())
                .filter_map(|room| {
                    let since = sends
                        .iter()
                        .filter(|sent| sent.conversation == room && sent.at > *injured);
                    since.filter_map(|sent| acknowledged(&sent.outcome)).min()
                });
            let Some(last) = resumed.max() else { continue };
            let resumed = Duration::from_nanos(last.saturating_sub(*injured));
            println!("  every room goes on {resumed:.1?} after {injury}");
            slowest = slowest.max(resumed);
        }
        slowest
    }
}

fn acknowledged(outcome: &Outcome<i64>) -> Option<u64> {
    match outcome {
        Outcome::Done { at, .. } => Some(*at),
        Outcome::Pending | Outcome::Refused(_) | Outcome::Unknown => None,
    }
}
