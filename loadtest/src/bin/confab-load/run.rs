//! One run of a load: people and rooms, connections, warm-up, the measured window, rest, and the check.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use confab_loadtest::checker::{Case, Report};
use confab_loadtest::client::{ClientError, Connection, Dial, Kind};
use confab_loadtest::clock;
use confab_loadtest::cluster::Cluster;
use confab_loadtest::http::Endpoint;
use confab_loadtest::instruments::Instruments;
use confab_loadtest::log::{ClientLog, Outcome};
use confab_loadtest::member::{Member, Progress};
use confab_loadtest::queries;
use confab_loadtest::setup::Population;
use confab_loadtest::truth::Truth;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::drive::{Pace, Plan, drive};
use crate::figures::{Figures, Usage};
use crate::options::{Clients, Load};

/// How long one client may take to connect and join.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How many connect at the same time.
const PARALLEL: usize = 64;
/// Beyond the servers' slow sweep: what has not arrived then never will.
pub(crate) const REST_LIMIT: Duration = Duration::from_secs(45);

/// What came of a run.
pub(crate) struct Run {
    pub(crate) figures: Figures,
    /// None where nothing was checked.
    pub(crate) report: Option<Report>,
}

/// On what terms a load is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) clients: Clients,
    /// How many threads the generator has.
    pub(crate) threads: u8,
    /// Whether what clients saw is compared with what is stored.
    pub(crate) check: bool,
}

pub(crate) async fn run(
    cluster: &Cluster,
    database: &PgPool,
    load: &Load,
    terms: Terms,
) -> anyhow::Result<Run> {
    let rooms = (0..load.rooms)
        .map(|room| (room * load.members..(room + 1) * load.members).collect())
        .collect();
    let population =
        Population::create(cluster, database, load.rooms * load.members, rooms).await?;
    let population = Arc::new(population);
    let instruments = Arc::new(Instruments::default());
    let endpoints: Arc<[Endpoint]> = cluster.endpoints().into();
    let buffer = if population.users.len() > 200 {
        16 << 10
    } else {
        128 << 10
    };
    let dial = |gateway| terms.clients.dial(&endpoints, gateway, buffer);
    let users = u32::try_from(population.users.len())?;
    let clients = connect(users, endpoints.len(), &dial, &population, &instruments).await?;

    let begin = Instant::now() + Duration::from_millis(200);
    let plan = Plan {
        begin,
        end: begin + load.warm_up + load.window,
        finish: CancellationToken::new(),
    };
    let plan = Arc::new(plan);
    let measured_from = clock::now() + nanoseconds(begin - Instant::now() + load.warm_up);
    instruments.measure(measured_from, measured_from + nanoseconds(load.window));

    let mut progress = Vec::new();
    let mut tasks = JoinSet::new();
    for (client, (connection, member)) in (0..).zip(clients) {
        progress.extend(member.progress());
        let (room, rank) = (client / load.members, client % load.members);
        let pace = if rank < load.senders {
            load.pace
        } else {
            Pace::Listen
        };
        let phase = f64::from(room) / f64::from(load.rooms);
        let plan = Arc::clone(&plan);
        tasks.spawn(async move { (client, drive(connection, member, pace, phase, plan).await) });
    }

    sleep_until(begin + load.warm_up).await;
    let before = Usage::now(cluster);
    sleep_until(plan.end).await;
    let after = Usage::now(cluster);
    let rested = rest(database, &population, &instruments, &progress).await?;
    plan.finish.cancel();
    let mut logs = vec![ClientLog::default(); population.users.len()];
    while let Some(done) = tasks.join_next().await {
        let (client, log): (u32, _) = done?;
        logs[usize::try_from(client)?] = log;
    }

    let mut figures = Figures::default();
    figures.push_traffic(&instruments, load.window);
    let made = [
        (
            "deliveries per gateway cpu-s",
            instruments.delivered_within(),
        ),
        ("stored per server cpu-s", instruments.acked_within()),
    ];
    figures.push_usage(&before, &after, load.window, terms.threads, made);
    push_failures(&mut figures, &logs);
    let mut report = None;
    if terms.check {
        let truth = Truth::read(database, &population).await?;
        let shown = queries::unread(&endpoints, &population)
            .await
            .context("asking for unread counts")?;
        let found = Case {
            population: &population,
            logs: &logs,
            truth: &truth,
            shown: &shown,
        }
        .check();
        figures.push("violations", f64::from(u32::try_from(found.total())?));
        report = Some(found);
    }
    figures.push("s to rest", rested.as_secs_f64());
    Ok(Run { figures, report })
}

/// Connects the first so many users, spread over the gateways, and has each join its rooms.
pub(crate) async fn connect(
    users: u32,
    gateways: usize,
    dial: &impl Fn(usize) -> Result<Dial, ClientError>,
    population: &Arc<Population>,
    instruments: &Arc<Instruments>,
) -> anyhow::Result<Vec<(Connection, Member)>> {
    let mut waiting: VecDeque<u32> = (0..users).collect();
    let mut made = Vec::with_capacity(waiting.len());
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < PARALLEL {
            let Some(client) = waiting.pop_front() else {
                break;
            };
            let gateway = client % u32::try_from(gateways)?;
            let dial = dial(usize::try_from(gateway)?)?;
            let member = Member::new(client, Arc::clone(population), Arc::clone(instruments));
            tasks.spawn(async move {
                let joined = join(&dial, gateway, member);
                let joined = tokio::time::timeout(CONNECT_LIMIT, joined).await;
                Ok::<_, anyhow::Error>((
                    client,
                    joined.context("a client could not join in time")??,
                ))
            });
        }
        let Some(done) = tasks.join_next().await else {
            break;
        };
        made.push(done??);
    }
    made.sort_unstable_by_key(|(client, _)| *client);
    Ok(made.into_iter().map(|(_, client)| client).collect())
}

/// Connects one user and waits until it has joined its rooms, and until its session is carried as it is to be.
pub(crate) async fn join(
    dial: &Dial,
    gateway: u32,
    mut member: Member,
) -> anyhow::Result<(Connection, Member)> {
    let mut connection = Connection::open(dial, member.token(), member.recovery()).await?;
    member.connected(&mut connection, gateway, dial.kind, clock::now());
    while !member.has_joined() || (dial.kind == Kind::Upgraded && !connection.is_websocket()) {
        connection.turn().await?;
        while let Some(packet) = connection.packet()? {
            member.receive(&packet, clock::now());
        }
        if member.unanswered() == 0 && !member.has_joined() {
            bail!("joining a room was refused");
        }
    }
    Ok((connection, member))
}

/// Waits until everything asked for is answered and every member has the last message of each of its rooms.
pub(crate) async fn rest(
    database: &PgPool,
    population: &Population,
    instruments: &Instruments,
    progress: &[(u32, Progress)],
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let in_time = || begun.elapsed() < REST_LIMIT;
    while instruments.unanswered() > 0 && in_time() {
        sleep(Duration::from_millis(20)).await;
    }
    let last = Truth::last_messages(database, population).await?;
    let mut waiting: Vec<&(u32, Progress)> = progress.iter().collect();
    while in_time() {
        waiting.retain(|(room, progress)| {
            usize::try_from(*room)
                .ok()
                .and_then(|room| last.get(room))
                .is_some_and(|last| progress.seq() < *last)
        });
        if waiting.is_empty() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let rested = begun.elapsed();
    // What is delivered twice comes late.
    sleep(Duration::from_millis(300)).await;
    Ok(rested)
}

pub(crate) fn push_failures(figures: &mut Figures, logs: &[ClientLog]) {
    let failed = logs
        .iter()
        .flat_map(|log| &log.sends)
        .filter(|sent| !matches!(sent.outcome, Outcome::Done { .. }))
        .count();
    let lost = logs
        .iter()
        .filter(|log| !log.was_always_connected())
        .count();
    figures.push(
        "sends failed",
        f64::from(u32::try_from(failed).unwrap_or(u32::MAX)),
    );
    figures.push(
        "clients disconnected",
        f64::from(u32::try_from(lost).unwrap_or(u32::MAX)),
    );
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
