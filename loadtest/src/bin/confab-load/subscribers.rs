//! What a delivery costs over STOMP, and over Socket.IO: one room of the same size and the same senders, heard in one way after the other.
//!
//! The senders speak Socket.IO each time, so that the ways differ in who listens and in nothing else. A run goes through all of them.

use std::sync::Arc;

use anyhow::Context;
use confab_loadtest::checker::{Case, Report};
use confab_loadtest::client::stomp::Subscribe;
use confab_loadtest::clock;
use confab_loadtest::cluster::Cluster;
use confab_loadtest::http::Endpoint;
use confab_loadtest::instruments::Instruments;
use confab_loadtest::listener::{Listener, Newest};
use confab_loadtest::log::ClientLog;
use confab_loadtest::queries;
use confab_loadtest::setup::Population;
use confab_loadtest::truth::Truth;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::drive::{Plan, drive};
use crate::figures::{Figures, Usage};
use crate::options::{Clients, Load};
use crate::run::{self, REST_LIMIT, Terms, nanoseconds};

/// How long one subscriber may take.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(20);
const BUFFER: usize = 128 << 10;
/// Time for what is delivered twice to come.
const LATE: Duration = Duration::from_millis(300);

/// How subscribers call their subscriptions.
#[derive(Debug, Clone, Copy)]
enum Ids {
    /// All alike, as clients do that count them: what is shown is put into words and addressed once.
    Same,
    /// Each its own way: it is put into words once, and addressed for each.
    Own,
}

impl Ids {
    fn of(self, client: u32) -> String {
        match self {
            Self::Same => "sub-0".to_owned(),
            Self::Own => format!("sub-{client}"),
        }
    }
}

/// Measures each way, and says whether all promises were kept.
pub(crate) async fn compare(
    cluster: &Cluster,
    database: &PgPool,
    load: &Load,
    terms: Terms,
) -> anyhow::Result<(Figures, bool)> {
    const FIGURE: &str = "deliveries per gateway cpu-s";
    let mut figures = Figures::default();
    let mut clean = true;
    let mut note = |name: &str, report: Option<&Report>| {
        if let Some(report) = report {
            clean &= report.is_clean();
            eprintln!("{name}: {report}");
        }
    };
    let sockets = run::run(cluster, database, load, terms).await?;
    note("Socket.IO", sockets.report.as_ref());
    let of_sockets = sockets.figures.get(FIGURE).context("no deliveries")?;
    figures.push("Socket.IO deliveries per gw cpu-s", of_sockets);
    copy(&sockets.figures, &mut figures, SOCKETS);
    for (ids, [per_second, times], copied) in [
        (
            Ids::Same,
            [
                "STOMP, one id, per gw cpu-s",
                "STOMP, one id, times the cost",
            ],
            SAME,
        ),
        (
            Ids::Own,
            [
                "STOMP, own ids, per gw cpu-s",
                "STOMP, own ids, times the cost",
            ],
            OWN,
        ),
    ] {
        let (cell, report) = subscribed(cluster, database, load, terms, ids).await?;
        note(per_second, report.as_ref());
        let made = cell.get(FIGURE).context("no deliveries")?;
        figures.push(per_second, made);
        figures.push(times, of_sockets / made);
        copy(&cell, &mut figures, copied);
    }
    Ok((figures, clean))
}

/// Figures of each way that tell whether the comparison is a fair one: what they are called there, and here.
type Copied = [(&'static str, &'static str); 4];
const SOCKETS: Copied = [
    ("deliveries/s", "Socket.IO deliveries/s"),
    ("delivery p99 ms", "Socket.IO delivery p99 ms"),
    ("cpu-s others", "Socket.IO cpu-s others"),
    ("generator saturation %", "Socket.IO generator %"),
];
const SAME: Copied = [
    ("deliveries/s", "STOMP, one id, deliveries/s"),
    ("delivery p99 ms", "STOMP, one id, delivery p99 ms"),
    ("cpu-s others", "STOMP, one id, cpu-s others"),
    ("generator saturation %", "STOMP, one id, generator %"),
];
const OWN: Copied = [
    ("deliveries/s", "STOMP, own ids, deliveries/s"),
    ("delivery p99 ms", "STOMP, own ids, delivery p99 ms"),
    ("cpu-s others", "STOMP, own ids, cpu-s others"),
    ("generator saturation %", "STOMP, own ids, generator %"),
];

fn copy(from: &Figures, to: &mut Figures, names: Copied) {
    for (name, copied) in names {
        if let Some(value) = from.get(name) {
            to.push(copied, value);
        }
    }
}

/// A room whose members, but for the senders, listen over STOMP.
async fn subscribed(
    cluster: &Cluster,
    database: &PgPool,
    load: &Load,
    terms: Terms,
    ids: Ids,
) -> anyhow::Result<(Figures, Option<Report>)> {
    let room = (0..load.members).collect();
    let population = Population::create(cluster, database, load.members, vec![room]).await?;
    let population = Arc::new(population);
    let instruments = Arc::new(Instruments::default());
    let endpoints: Arc<[Endpoint]> = cluster.endpoints().into();
    let dial = |gateway| Clients::Websocket.dial(&endpoints, gateway, BUFFER);
    let senders = load.senders.min(load.members - 1);
    let speakers = run::connect(senders, endpoints.len(), &dial, &population, &instruments).await?;
    let listeners = subscribe(senders, ids, &endpoints, &population, &instruments).await?;

    let begin = Instant::now() + Duration::from_millis(200);
    let plan = Arc::new(Plan {
        begin,
        end: begin + load.warm_up + load.window,
        finish: CancellationToken::new(),
    });
    let measured_from = clock::now() + nanoseconds(begin - Instant::now() + load.warm_up);
    instruments.measure(measured_from, measured_from + nanoseconds(load.window));

    let newest: Vec<Newest> = listeners.iter().map(Listener::newest).collect();
    let mut progress = Vec::new();
    let (mut speaking, mut listening) = (JoinSet::new(), JoinSet::new());
    for (client, (connection, member)) in (0_u32..).zip(speakers) {
        progress.extend(member.progress());
        let (pace, plan) = (load.pace, Arc::clone(&plan));
        speaking.spawn(async move { (client, drive(connection, member, pace, 0.0, plan).await) });
    }
    for (client, mut listener) in (senders..).zip(listeners) {
        let finish = plan.finish.clone();
        listening.spawn(async move {
            listener.listen(&finish).await;
            (client, listener)
        });
    }

    sleep_until(begin + load.warm_up).await;
    let before = Usage::now(cluster);
    sleep_until(plan.end).await;
    let after = Usage::now(cluster);
    run::rest(database, &population, &instruments, &progress).await?;
    let truth = Truth::read(database, &population).await?;
    let places = truth.places(0);
    if let Some((last, _)) = places.iter().max_by_key(|(_, seq)| **seq) {
        let waited = Instant::now();
        while newest.iter().any(|newest| newest.id() != *last) && waited.elapsed() < REST_LIMIT {
            sleep(Duration::from_millis(20)).await;
        }
    }
    sleep(LATE).await;
    plan.finish.cancel();
    let mut logs = vec![ClientLog::default(); population.users.len()];
    while let Some(done) = speaking.join_next().await {
        let (client, log) = done?;
        logs[usize::try_from(client)?] = log;
    }
    while let Some(done) = listening.join_next().await {
        let (client, listener): (u32, Listener) = done?;
        logs[usize::try_from(client)?] = listener.into_log(&places);
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
    run::push_failures(&mut figures, &logs);
    if !terms.check {
        return Ok((figures, None));
    }
    let shown = queries::unread(&endpoints, &population)
        .await
        .context("asking for unread counts")?;
    let case = Case {
        population: &population,
        logs: &logs,
        truth: &truth,
        shown: &shown,
    };
    Ok((figures, Some(case.check())))
}

/// Subscribes every member but the first so many, one after the other, spread over the gateways.
async fn subscribe(
    senders: u32,
    ids: Ids,
    endpoints: &[Endpoint],
    population: &Population,
    instruments: &Arc<Instruments>,
) -> anyhow::Result<Vec<Listener>> {
    let room = population.rooms.first().context("no room was made")?;
    let destination = format!("/topic/{}", room.id);
    let mut listeners = Vec::with_capacity(population.users.len());
    for (client, user) in (0_u32..)
        .zip(&population.users)
        .skip(usize::try_from(senders)?)
    {
        let gateway = usize::try_from(client)? % endpoints.len();
        let wanted = Subscribe {
            endpoint: &endpoints[gateway],
            token: &user.token,
            destination: &destination,
            id: &ids.of(client),
            buffer: BUFFER,
            within: SUBSCRIBE_LIMIT,
        };
        let gateway = u32::try_from(gateway)?;
        let listener = Listener::open(&wanted, 0, gateway, Arc::clone(instruments)).await;
        listeners.push(listener.context("a member could not subscribe")?);
    }
    Ok(listeners)
}
