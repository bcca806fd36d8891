//! What a scrape of its metrics costs a gateway.

use anyhow::{Context, ensure};
use confab_loadtest::cluster::Cluster;
use confab_loadtest::http::Endpoint;
use confab_loadtest::processes::Ticks;
use tokio::time::{Instant, sleep};

/// How often each gateway is scraped: enough for the clock by which processor time is told.
const SCRAPES: u32 = 500;

/// Processor seconds of a gateway for one scrape, without what it uses meanwhile for other things: of the mean of all gateways.
pub(crate) async fn cost(cluster: &Cluster) -> anyhow::Result<f64> {
    let used = || -> Vec<Ticks> {
        let pids = cluster.gateways.iter().map(|gateway| gateway.pid);
        pids.map(Ticks::of).collect()
    };
    let since = |before: &[Ticks]| -> f64 {
        let each = used().into_iter().zip(before);
        each.map(|(now, before)| now.seconds_since(*before)).sum()
    };
    let (before, begun) = (used(), Instant::now());
    for gateway in &cluster.gateways {
        let internal = Endpoint::parse(&gateway.internal).context("no internal listener")?;
        for _ in 0..SCRAPES {
            let answer = internal.call("GET", "/metrics", None, None).await?;
            ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        }
    }
    let (scraping, took) = (since(&before), begun.elapsed());
    let before = used();
    sleep(took).await;
    let otherwise = since(&before);
    let scrapes = f64::from(SCRAPES) * f64::from(u32::try_from(cluster.gateways.len())?);
    Ok((scraping - otherwise).max(0.0) / scrapes)
}
