//! Everybody connects at once: connections a second, what each costs a gateway in memory, and whether scrapes cost more with all of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use confab_loadtest::cluster::Cluster;
use confab_loadtest::histogram::Histogram;
use confab_loadtest::http::Endpoint;
use confab_loadtest::instruments::Instruments;
use confab_loadtest::member::Member;
use confab_loadtest::processes::resident_bytes;
use confab_loadtest::setup::Population;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::drive::{Pace, Plan, drive};
use crate::figures::{Figures, Usage};
use crate::options::{Clients, Storm};
use crate::run::join;
use crate::scrape;

/// Memory is looked at when the storm is over and buffers have been given back.
const SETTLE: Duration = Duration::from_secs(2);

/// Connects everybody, once.
pub(crate) async fn storm(
    cluster: &Cluster,
    database: &PgPool,
    storm: &Storm,
    clients: Clients,
) -> anyhow::Result<Figures> {
    let all: Vec<u32> = (0..storm.count).collect();
    let rooms = all
        .chunks(usize::try_from(storm.members)?)
        .map(<[u32]>::to_vec)
        .collect();
    let population = Arc::new(Population::create(cluster, database, storm.count, rooms).await?);
    let instruments = Arc::new(Instruments::default());
    let endpoints: Arc<[Endpoint]> = cluster.endpoints().into();
    let memory = || -> u64 {
        cluster
            .gateways
            .iter()
            .map(|gateway| resident_bytes(gateway.pid))
            .sum()
    };

    let scrape_before = scrape::cost(cluster).await?;
    let (before, usage) = (memory(), Usage::now(cluster));
    let begun = Instant::now();
    let took = Histogram::default();
    let plan = Arc::new(Plan {
        begin: begun,
        end: begun,
        finish: CancellationToken::new(),
    });
    let mut waiting: VecDeque<u32> = all.into();
    let mut connecting = JoinSet::new();
    let mut connected = JoinSet::new();
    let mut failed = 0_u32;
    loop {
        while connecting.len() < usize::from(storm.concurrency) {
            let Some(client) = waiting.pop_front() else {
                break;
            };
            let gateway = client % u32::try_from(endpoints.len())?;
            // Small buffers: the generator's memory is not what is measured.
            let dial = clients.dial(&endpoints, usize::try_from(gateway)?, 2048)?;
            let member = Member::new(client, Arc::clone(&population), Arc::clone(&instruments));
            connecting.spawn(async move {
                let begun = Instant::now();
                let client = join(&dial, gateway, member).await;
                (client, begun.elapsed())
            });
        }
        let Some(done) = connecting.join_next().await else {
            break;
        };
        match done? {
            (Ok((connection, member)), elapsed) => {
                took.record(u64::try_from(elapsed.as_nanos())?);
                connected.spawn(drive(
                    connection,
                    member,
                    Pace::Listen,
                    0.0,
                    Arc::clone(&plan),
                ));
            }
            (Err(error), _) => {
                eprintln!("not connected: {error:#}");
                failed += 1;
            }
        }
    }
    let (elapsed, used) = (begun.elapsed(), Usage::now(cluster));
    sleep(SETTLE).await;
    let grown = memory().saturating_sub(before);
    let scrape_after = scrape::cost(cluster).await?;
    plan.finish.cancel();
    while connected.join_next().await.is_some() {}

    let mut figures = Figures::default();
    let count = f64::from(storm.count - failed);
    figures.push("connections/s", count / elapsed.as_secs_f64());
    figures.push_quantiles(
        [
            "connect p50 ms",
            "connect p90 ms",
            "connect p99 ms",
            "connect max ms",
        ],
        took.quantiles(),
    );
    figures.push(
        "gateway KB per connection",
        f64::from(u32::try_from(grown / 1024)?) / count.max(1.0),
    );
    figures.push("scrape cpu-ms, nobody there", scrape_before * 1_000.0);
    figures.push("scrape cpu-ms, all there", scrape_after * 1_000.0);
    figures.push("scrape, all to nobody", scrape_after / scrape_before);
    let made = u64::from(storm.count - failed);
    let made = [
        ("connections per gateway cpu-s", made),
        ("connections per server cpu-s", made),
    ];
    figures.push_usage(&usage, &used, elapsed, 1, made);
    figures.push("failed", f64::from(failed));
    Ok(figures)
}
