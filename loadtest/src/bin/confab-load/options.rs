//! The command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use confab_loadtest::client::{self, ClientError, Dial, Kind, Route};
use confab_loadtest::http::Endpoint;

use crate::drive::Pace;

/// Puts a bounded load on a running cluster and takes figures.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The state file of the cluster.
    #[arg(long, global = true, default_value = "target/dev/state.json")]
    pub(crate) state: PathBuf,
    /// Prints JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How often; medians are printed beside the single figures.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub(crate) runs: u8,
    /// Takes the figures only, without comparing what the clients saw with what is stored.
    #[arg(long, global = true)]
    pub(crate) no_check: bool,
    /// How many threads generate the load.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// How clients reach the gateways.
    #[arg(long, global = true, value_enum, default_value_t = Clients::Websocket)]
    pub(crate) clients: Clients,
    /// What kind of load.
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// The kinds of load.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Many small rooms, closed loop: how many messages are stored in a second?
    Stored(Stored),
    /// One large room, closed loop: how many deliveries does a gateway make?
    Fanout(Fanout),
    /// A constant rate, whatever comes back: how long does a message take?
    Latency(Latency),
    /// Everybody connects and joins: how many in a second, what does a connection cost in memory, and what a scrape of the metrics?
    Connect(Storm),
    /// Requests that go to the session's gateway, and to another: what does it cost to be passed on?
    PassedOn(PassedOn),
    /// One large room, heard over Socket.IO and over STOMP: what does a delivery cost?
    Subscribers(Fanout),
}

/// How the clients of a load reach the gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clients {
    /// A WebSocket.
    Websocket,
    /// Requests, all to one gateway.
    Polling,
    /// Requests, all but the first to another gateway than the session's.
    PollingPassedOn,
    /// Requests, each to the next gateway.
    PollingAround,
    /// A WebSocket that took over from requests, all at one gateway.
    Upgraded,
    /// A WebSocket that took over from requests, at another gateway than the session's.
    UpgradedPassedOn,
}

/// How long connecting and joining the namespace may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

impl Clients {
    /// How the client with this number, whose gateway is `gateway`, connects.
    pub(crate) fn dial(
        self,
        endpoints: &Arc<[Endpoint]>,
        gateway: usize,
        buffer: usize,
    ) -> Result<Dial, ClientError> {
        let at = |gateway: usize| endpoints[gateway % endpoints.len()].clone();
        let passed_on = |kind| {
            let what = client::PassedOn::All;
            (kind, Route::passed_on(at(gateway), at(gateway + 1), what))
        };
        let (kind, route) = match self {
            Self::Websocket => (Kind::WebSocket, Route::direct(at(gateway))),
            Self::Polling => (Kind::Polling, Route::direct(at(gateway))),
            Self::Upgraded => (Kind::Upgraded, Route::direct(at(gateway))),
            Self::PollingPassedOn => passed_on(Kind::Polling),
            Self::UpgradedPassedOn => passed_on(Kind::Upgraded),
            Self::PollingAround => {
                let route = Route::round_robin(Arc::clone(endpoints), gateway)?;
                (Kind::Polling, route)
            }
        };
        Ok(Dial {
            kind,
            route,
            buffer,
            within: CONNECT_LIMIT,
        })
    }
}

/// How long.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Span {
    /// The measured window, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Load before it that is not measured, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: u64,
}

/// `stored`
#[derive(Debug, Args)]
pub(crate) struct Stored {
    /// Rooms.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rooms: u32,
    /// Members of each, all connected.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=200))]
    members: u32,
    /// How many of them send.
    #[arg(long, default_value_t = 1)]
    senders: u32,
    /// Unacknowledged messages that each of those keeps under way.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    in_flight: u16,
    #[command(flatten)]
    span: Span,
}

/// `fanout`, and `subscribers`
#[derive(Debug, Args)]
pub(crate) struct Fanout {
    /// Members, all connected.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=200))]
    members: u32,
    /// How many of them send.
    #[arg(long, default_value_t = 1)]
    senders: u32,
    /// Unacknowledged messages that each of those keeps under way.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    in_flight: u16,
    #[command(flatten)]
    span: Span,
}

/// `latency`
#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Messages a second, in all.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Rooms.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rooms: u32,
    /// Members of each, all connected. One of them sends.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=200))]
    members: u32,
    #[command(flatten)]
    span: Span,
}

/// `connect`
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Storm {
    /// Connections.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(crate) count: u32,
    /// How many connect at the same time.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub(crate) concurrency: u16,
    /// Members of each room; every connection joins one.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=200))]
    pub(crate) members: u32,
}

/// `passed-on`
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PassedOn {
    /// How often each way is measured; the ways take turns.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) requests: u32,
    /// Members of the room whose deliveries are counted; 0 leaves them out.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=200))]
    pub(crate) members: u32,
    #[command(flatten)]
    pub(crate) span: Span,
}

/// A load on rooms, whichever scenario it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) rooms: u32,
    pub(crate) members: u32,
    /// The first so many members of each room send.
    pub(crate) senders: u32,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

impl Scenario {
    /// The load on rooms, unless the scenario has none.
    pub(crate) fn load(&self) -> Option<Load> {
        let (rooms, members, senders, pace, span) = match self {
            Self::Stored(it) => {
                let pace = Pace::Closed {
                    in_flight: usize::from(it.in_flight),
                };
                (it.rooms, it.members, it.senders, pace, it.span)
            }
            Self::Fanout(it) | Self::Subscribers(it) => {
                let pace = Pace::Closed {
                    in_flight: usize::from(it.in_flight),
                };
                (1, it.members, it.senders, pace, it.span)
            }
            Self::Latency(it) => {
                let every = Duration::from_secs(u64::from(it.rooms)) / it.rate;
                (it.rooms, it.members, 1, Pace::Open { every }, it.span)
            }
            Self::PassedOn(PassedOn { members: 0, .. }) | Self::Connect(_) => return None,
            Self::PassedOn(it) => {
                let pace = Pace::Closed { in_flight: 1 };
                (1, it.members, 1, pace, it.span)
            }
        };
        Some(Load {
            rooms,
            members,
            senders: senders.clamp(1, members),
            pace,
            warm_up: Duration::from_secs(span.warmup),
            window: Duration::from_secs(span.seconds),
        })
    }
}
