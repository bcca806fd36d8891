//! Attempts to connect, in an open loop: they begin when their time has come, however the earlier ones fare.

use std::time::Duration;

use confab_loadtest::client::recovery::Recovery;
use confab_loadtest::client::{Connection, Dial, Kind, Route};
use confab_loadtest::http::Endpoint;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// From one attempt to the next.
const EVERY: Duration = Duration::from_millis(10);
/// Every so many of them joins a namespace over a WebSocket; the others are requests, each on a connection of its own.
const SOCKETS: usize = 25;
const WITHIN: Duration = Duration::from_secs(30);

/// Attempts under way.
pub(super) struct Probes {
    stop: CancellationToken,
    running: JoinHandle<Vec<Result<Duration, String>>>,
}

impl Probes {
    pub(super) fn start(endpoint: Endpoint, tokens: Vec<String>) -> Self {
        let stop = CancellationToken::new();
        let running = tokio::spawn(attempt_until(stop.clone(), endpoint, tokens));
        Self { stop, running }
    }

    /// Fails if one of them failed; how many there were, and how long the slowest took.
    pub(super) async fn finish(self) -> (usize, Duration) {
        self.stop.cancel();
        let outcomes = self.running.await.unwrap();
        let failed: Vec<_> = outcomes
            .iter()
            .filter_map(|one| one.as_ref().err())
            .collect();
        assert!(
            failed.is_empty(),
            "{} of {} attempts to connect failed: {:?}",
            failed.len(),
            outcomes.len(),
            &failed[..failed.len().min(10)]
        );
        let slowest = outcomes.iter().flatten().max();
        (outcomes.len(), slowest.copied().unwrap_or_default())
    }
}

async fn attempt_until(
    stop: CancellationToken,
    endpoint: Endpoint,
    tokens: Vec<String>,
) -> Vec<Result<Duration, String>> {
    let mut attempts = JoinSet::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0_usize.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
        let endpoint = endpoint.clone();
        let token = tokens[number % tokens.len()].clone();
        attempts.spawn(async move {
            let begun = Instant::now();
            if number.is_multiple_of(SOCKETS) {
                join(endpoint, &token).await?;
            } else {
                ask(&endpoint).await?;
            }
            Ok(begun.elapsed())
        });
    }
    attempts.join_all().await
}

async fn ask(endpoint: &Endpoint) -> Result<(), String> {
    // Whoever answers that there is no such thing has accepted, read and answered; it costs the databases nothing.
    let answer = endpoint.call("GET", "/nothing", None, None).await;
    match answer.map(|answer| answer.status) {
        Ok(404) => Ok(()),
        Ok(status) => Err(format!("a request: status {status}")),
        Err(error) => Err(format!("a request: {error}")),
    }
}

async fn join(endpoint: Endpoint, token: &str) -> Result<(), String> {
    let dial = Dial {
        kind: Kind::WebSocket,
        route: Route::direct(endpoint),
        buffer: 4096,
        within: WITHIN,
    };
    Connection::open(&dial, token, &Recovery::default())
        .await
        .map(drop)
        .map_err(|error| format!("a socket: {error}"))
}
