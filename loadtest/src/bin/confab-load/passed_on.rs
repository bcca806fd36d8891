//! What it costs that a request reaches another gateway than its session's.
//!
//! The ways take turns, request by request, so that whatever else slows the machine slows them alike.

use std::time::Duration;

use anyhow::{Context, bail};
use confab_loadtest::client::recovery::Recovery;
use confab_loadtest::client::{Connection, Dial, Kind, Packet, PassedOn as What, Route};
use confab_loadtest::cluster::Cluster;
use confab_loadtest::histogram::Histogram;
use confab_loadtest::setup::Population;
use sqlx::PgPool;
use tokio::time::{Instant, timeout};

use crate::figures::Figures;
use crate::options::{Clients, Load, PassedOn};
use crate::run::{self, Terms};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before each measurement: a request that waits has reached the session, as it nearly always has.
const SETTLE: Duration = Duration::from_millis(3);
const BUFFER: usize = 16 << 10;

/// The ways that a request and its answer can take, and the names of their figures.
const WAYS: [Way; 5] = [
    Way {
        kind: Kind::Polling,
        passed_on: None,
        names: [
            "polling ack p50 ms",
            "polling ack p90 ms",
            "polling ack p99 ms",
            "polling ack max ms",
        ],
        extra: None,
    },
    Way {
        kind: Kind::Polling,
        passed_on: Some(What::Carrying),
        names: [
            "POST passed on, ack p50 ms",
            "POST passed on, ack p90 ms",
            "POST passed on, ack p99 ms",
            "POST passed on, ack max ms",
        ],
        extra: Some(["POST extra p50 ms", "POST extra p99 ms"]),
    },
    Way {
        kind: Kind::Polling,
        passed_on: Some(What::Waiting),
        names: [
            "GET passed on, ack p50 ms",
            "GET passed on, ack p90 ms",
            "GET passed on, ack p99 ms",
            "GET passed on, ack max ms",
        ],
        extra: Some(["GET extra p50 ms", "GET extra p99 ms"]),
    },
    Way {
        kind: Kind::Upgraded,
        passed_on: None,
        names: [
            "upgraded ack p50 ms",
            "upgraded ack p90 ms",
            "upgraded ack p99 ms",
            "upgraded ack max ms",
        ],
        extra: None,
    },
    Way {
        kind: Kind::Upgraded,
        passed_on: Some(What::All),
        names: [
            "tunnelled ack p50 ms",
            "tunnelled ack p90 ms",
            "tunnelled ack p99 ms",
            "tunnelled ack max ms",
        ],
        extra: Some(["tunnel extra p50 ms", "tunnel extra p99 ms"]),
    },
];

/// How deliveries are carried, and what they cost.
const CARRIED: [(Clients, &str); 5] = [
    (Clients::Websocket, "websocket deliveries per gw cpu-s"),
    (Clients::Upgraded, "upgraded deliveries per gw cpu-s"),
    (
        Clients::UpgradedPassedOn,
        "tunnelled deliveries per gw cpu-s",
    ),
    (Clients::Polling, "polling deliveries per gw cpu-s"),
    (Clients::PollingPassedOn, "polling passed on per gw cpu-s"),
];

struct Way {
    kind: Kind,
    passed_on: Option<What>,
    names: [&'static str; 4],
    /// What it takes more than the way of the same kind that is not passed on.
    extra: Option<[&'static str; 2]>,
}

/// A client that goes one way.
struct Traveller {
    connection: Connection,
    took: Histogram,
    next_ack: u32,
}

/// Measures every way, and says whether all promises were kept in the loads on the way.
pub(crate) async fn compare(
    cluster: &Cluster,
    database: &PgPool,
    wanted: &PassedOn,
    load: Option<&Load>,
    terms: Terms,
) -> anyhow::Result<(Figures, bool)> {
    let mut figures = Figures::default();
    round_trips(cluster, database, wanted.requests, &mut figures).await?;
    let mut clean = true;
    if let Some(load) = load {
        for (clients, name) in CARRIED {
            let run = run::run(cluster, database, load, Terms { clients, ..terms }).await?;
            if let Some(report) = &run.report {
                clean &= report.is_clean();
                eprintln!("{name}: {report}");
            }
            let figure = run.figures.get("deliveries per gateway cpu-s");
            figures.push(name, figure.context("a run without deliveries")?);
        }
    }
    Ok((figures, clean))
}

async fn round_trips(
    cluster: &Cluster,
    database: &PgPool,
    requests: u32,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let endpoints = cluster.endpoints();
    let [owner, other, ..] = &endpoints[..] else {
        bail!("nothing is passed on by a single gateway");
    };
    let population = Population::create(cluster, database, 2, vec![vec![0, 1]]).await?;
    let token = &population.users[0].token;
    // Joining a room again reads one row and answers: nothing is queued, stored or told to others.
    let payload = format!(r#"{{"conversationId":"{}"}}"#, population.rooms[0].id);
    let mut travellers = Vec::with_capacity(WAYS.len());
    for way in &WAYS {
        let route = match way.passed_on {
            None => Route::direct(owner.clone()),
            Some(what) => Route::passed_on(owner.clone(), other.clone(), what),
        };
        let dial = Dial {
            kind: way.kind,
            route,
            buffer: BUFFER,
            within: PATIENCE,
        };
        let connection = Connection::open(&dial, token, &Recovery::default()).await?;
        let mut traveller = Traveller {
            connection,
            took: Histogram::default(),
            next_ack: 0,
        };
        if way.kind == Kind::Upgraded {
            traveller.upgraded().await?;
        }
        travellers.push(traveller);
    }
    // The first tenth warms everything up.
    for round in 0..requests + requests / 10 {
        for traveller in &mut travellers {
            traveller.settle().await?;
            let took = timeout(PATIENCE, traveller.ask(&payload)).await??;
            if round >= requests / 10 {
                traveller.took.record(u64::try_from(took.as_nanos())?);
            }
        }
    }
    let mut direct = None;
    for (way, traveller) in WAYS.iter().zip(&travellers) {
        let took = traveller.took.quantiles();
        figures.push_quantiles(way.names, took);
        match (way.extra, took, direct) {
            (None, ..) => direct = took,
            (Some([p50, p99]), Some(took), Some(direct)) => {
                figures.push(p50, took.p50 - direct.p50);
                figures.push(p99, took.p99 - direct.p99);
            }
            (Some(_), ..) => {}
        }
    }
    Ok(())
}

impl Traveller {
    /// Waits until a WebSocket has taken over.
    async fn upgraded(&mut self) -> anyhow::Result<()> {
        let upgrading = async {
            while !self.connection.is_websocket() {
                self.connection.turn().await?;
                while self.connection.packet()?.is_some() {}
            }
            Ok(())
        };
        timeout(PATIENCE, upgrading)
            .await
            .context("a session was not upgraded in time")?
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + SETTLE;
        while let Ok(came) = tokio::time::timeout_at(until, self.connection.turn()).await {
            came?;
            while self.connection.packet()?.is_some() {}
        }
        Ok(())
    }

    /// From the beginning of a request until its acknowledgement is here.
    async fn ask(&mut self, payload: &str) -> anyhow::Result<Duration> {
        let (begun, id) = (Instant::now(), self.next_ack);
        self.next_ack += 1;
        self.connection.emit("joinRoom", id, payload.as_bytes());
        loop {
            self.connection.turn().await?;
            let mut took = None;
            while let Some(packet) = self.connection.packet()? {
                if matches!(packet, Packet::Ack { id: answered, .. } if answered == id) {
                    took = Some(begun.elapsed());
                }
            }
            if let Some(took) = took {
                return Ok(took);
            }
        }
    }
}
