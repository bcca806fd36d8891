//! What the worker counts. Each field's name behind the prefix is the metric's, and its doc comment the help text.

use confab_shared::metrics::{self, Common, Operations, Pool, Pulls, Spans};
use prometheus::{
    GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result,
};

/// Commands of a batch: from a single one to several full batches at once.
const SIZES: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];
/// Seconds of a batch: from a commit on a fast disk, by milliseconds where batches usually are, to a time-out.
const SECONDS: [f64; 12] = [
    0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// What is asked of Redis. What waits for entries is no call in this sense: it lasts as long as there are none.
const REDIS: [&str; 9] = [
    "acknowledge",
    "bury",
    "claim",
    "depth",
    "fan_out",
    "lease",
    "notify",
    "read",
    "reply",
];
/// What is asked of PostgreSQL.
const POSTGRES: [&str; 5] = ["connect", "load", "prune", "store", "take_over"];

confab_shared::metrics! {
    /// The worker's metrics.
    pub struct Metrics, "confab_worker_" {
        /// Where they are entered.
        registry: Registry;
        /// What is looked up for a scrape.
        pulls: Pulls;
        /// Whether the worker takes its share of the partitions: 1, or 0 before it has reached PostgreSQL and Redis, while Redis does not answer, while one of its parts is stuck, and when it drains. PostgreSQL is waited for with partitions in hand.
        ready: IntGauge;
        /// Commands per batch.
        batch_size: Histogram, in SIZES;
        /// Seconds from having read a batch to its acknowledgement.
        batch_seconds: Histogram, in SECONDS;
        /// Commands processed, by command and by what was answered: ok or the code of the refusal.
        commands_total: IntCounterVec, by ["command", "outcome"];
        /// Commands that had been handed out before.
        redelivered_total: IntCounter;
        /// Commands set aside because they could not be processed.
        dead_letters_total: IntCounter;
        /// Commands that lie set aside for an operator, by partition; told by the worker that tells of its ingress.
        dead_letters: IntGaugeVec, by ["partition"];
        /// Commands in a partition's ingress stream, waiting or in hand. Told by its owner, or by the first worker while nobody owns it.
        ingress_length: IntGaugeVec, by ["partition"];
        /// Commands of a partition that are not acknowledged yet. Told by its owner, or by the first worker while nobody owns it.
        ingress_lag: IntGaugeVec, by ["partition"];
        /// Seconds that a partition's oldest command has been in its stream. Told by its owner, or by the first worker while nobody owns it.
        ingress_oldest_seconds: GaugeVec, by ["partition"];
        /// Partitions that the deployment has.
        partitions: IntGauge;
        /// Partitions whose leases this worker holds.
        owned_partitions: IntGauge;
        /// Partitions that nobody owns, as the first worker sees it; 0 for the others.
        orphaned_partitions: IntGauge;
        /// Partitions taken over.
        takeovers_total: IntCounter;
        /// Batches, or parts of them, that another owner's epoch or lease kept from taking effect.
        fenced_total: IntCounter;
        /// Batches decided anew because a conversation had moved.
        stale_total: IntCounter;
        /// Lanes restarted after a fault of ours.
        lane_restarts_total: IntCounter;
        /// PostgreSQL.
        postgres: Operations;
        /// Redis.
        redis: Operations;
        /// The connections to PostgreSQL.
        pool: Pool;
        /// Traces.
        spans: Spans;
        /// Of the program.
        common: Common;
    }
}

impl Metrics {
    /// New metrics, all at zero.
    pub fn new() -> Result<Self> {
        let metrics = Self::register(&Registry::new())?;
        metrics.common.watch(&metrics.registry, &metrics.pulls)?;
        metrics.postgres.declare(&POSTGRES);
        metrics.redis.declare(&REDIS);
        metrics
            .commands_total
            .with_label_values(&["send_message", "ok"]);
        Ok(metrics)
    }

    /// Says which build this is.
    pub fn is_built_from(&self, commit: Option<&str>) {
        (self.common).is_built("confab-worker", env!("CARGO_PKG_VERSION"), commit);
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> Result<Vec<u8>> {
        metrics::render(&self.registry, &self.pulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_help_and_labels() {
        let metrics = Metrics::new().unwrap();
        let commands = &metrics.commands_total;
        commands.with_label_values(&["send_message", "ok"]).inc();
        metrics.batch_seconds.observe(0.004);
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for told in [
            "# HELP confab_worker_batch_size Commands per batch.",
            r#"confab_worker_commands_total{command="send_message",outcome="ok"} 1"#,
            r#"confab_worker_batch_seconds_bucket{le="0.005"} 1"#,
            r#"confab_worker_redis_errors_total{operation="fan_out"} 0"#,
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
    }
}
