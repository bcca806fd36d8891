//! Consuming ingress streams: lanes read what their partitions hold, decide it in batches, and see each batch through.
//!
//! For every batch, in this order: commit, fan-out, reply, acknowledge. A crash after any step means redelivery, so each step may
//! happen twice. What is read, stored, announced or acknowledged is fenced: by the lease in Redis, by the epoch in PostgreSQL.

mod accept;
mod batch;
mod dead_letter;
mod failpoint;
mod fault;
mod lane;
mod read;
mod served;
mod settle;
mod traced;
mod wait;

use std::sync::Arc;

use confab_shared::id::WorkerId;
use confab_shared::lifecycle::Vitals;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::telemetry::Traces;
use sqlx::PgPool;

use crate::config::Config;
use crate::metrics::Metrics;

pub use lane::{Assignment, LaneCommand, LaneReport, run as run_lane};

/// What every part of the worker shares.
#[derive(Debug, Clone)]
pub struct Context {
    /// This worker.
    pub id: WorkerId,
    /// Its settings.
    pub config: Arc<Config>,
    /// The names in Redis.
    pub keyspace: Keyspace,
    /// PostgreSQL.
    pub pool: PgPool,
    /// What is counted.
    pub metrics: Metrics,
    /// The parts that must not get stuck.
    pub vitals: Vitals,
    /// What is traced.
    pub traces: Traces,
}
