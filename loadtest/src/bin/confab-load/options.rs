//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

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
    /// Everybody connects and joins: how many in a second, and what does a connection cost in memory?
    Connect(Storm),
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

/// `fanout`
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
    /// The load, unless the scenario is about connecting.
    pub(crate) fn load(&self) -> Option<Load> {
        let (rooms, members, senders, pace, span) = match self {
            Self::Stored(it) => {
                let pace = Pace::Closed {
                    in_flight: usize::from(it.in_flight),
                };
                (it.rooms, it.members, it.senders, pace, it.span)
            }
            Self::Fanout(it) => {
                let pace = Pace::Closed {
                    in_flight: usize::from(it.in_flight),
                };
                (1, it.members, it.senders, pace, it.span)
            }
            Self::Latency(it) => {
                let every = Duration::from_secs(u64::from(it.rooms)) / it.rate;
                (it.rooms, it.members, 1, Pace::Open { every }, it.span)
            }
            Self::Connect(_) => return None,
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
