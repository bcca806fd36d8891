//! What the worker counts. One struct; each field's doc comment is the metric's help text.

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// How a metric is made from its name, help, labels and (for histograms) buckets.
trait Make: Collector + Clone + Sized + 'static {
    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;
}

impl Make for IntCounter {
    fn make(name: &str, help: &str, _: &[&str], _: &[f64]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Make for IntGauge {
    fn make(name: &str, help: &str, _: &[&str], _: &[f64]) -> prometheus::Result<Self> {
        Self::new(name, help)
    }
}

impl Make for IntCounterVec {
    fn make(name: &str, help: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
        Self::new(Opts::new(name, help), labels)
    }
}

impl Make for Histogram {
    fn make(name: &str, help: &str, _: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
    }
}

macro_rules! metrics {
    ($(#[doc = $doc:literal])* pub struct $name:ident {
        $(#[doc = $help:literal] $field:ident: $type:ty $(, by [$($label:literal),+])? $(, in $buckets:expr)?;)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            registry: Registry,
            $(#[doc = $help] pub $field: $type,)*
        }

        impl $name {
            /// New metrics, all at zero.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new();
                $(
                    let name = concat!("confab_worker_", stringify!($field));
                    let $field = <$type as Make>::make(name, $help.trim(), &[$($($label),+)?], <[&[f64]]>::concat(&[$(&$buckets)?]).as_slice())?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { registry, $($field),* })
            }
        }
    };
}

/// From a single command to several full batches at once.
const SIZES: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];
/// From a commit on a fast disk to a time-out.
const SECONDS: [f64; 12] = [
    0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

metrics! {
    /// The worker's metrics.
    pub struct Metrics {
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
        /// Partitions owned now.
        owned_partitions: IntGauge;
        /// Partitions taken over.
        takeovers_total: IntCounter;
        /// Batches, or parts of them, that another owner's epoch or lease kept from taking effect.
        fenced_total: IntCounter;
        /// Batches decided anew because a conversation had moved.
        stale_total: IntCounter;
        /// Lanes restarted after a fault of ours.
        lane_restarts_total: IntCounter;
        /// Failures of PostgreSQL.
        postgres_errors_total: IntCounter;
        /// Failures of Redis.
        redis_errors_total: IntCounter;
    }
}

impl Metrics {
    /// All metrics in Prometheus's text format.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_help_and_labels() {
        let metrics = Metrics::new().unwrap();
        metrics
            .commands_total
            .with_label_values(&["send_message", "ok"])
            .inc();
        metrics.batch_seconds.observe(0.004);
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(
            text.contains("# HELP confab_worker_batch_size Commands per batch."),
            "{text}"
        );
        assert!(
            text.contains(r#"confab_worker_commands_total{command="send_message",outcome="ok"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"confab_worker_batch_seconds_bucket{le="0.005"} 1"#),
            "{text}"
        );
    }
}
