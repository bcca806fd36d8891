//! Metrics: how a program declares what it counts, and how that is told.
//!
//! Owns the [`metrics!`](crate::metrics!) macro, by which a struct's fields are its metrics and their doc comments the help texts; what both
//! programs count alike (calls of the stores, connections of the pool, the process, its runtime, its build); and Prometheus' text format.
//! Must never know what a program counts, nor who asks: HTTP is the programs' business.
//!
//! Nothing here may cost a scrape more than the number of metrics: what a scrape has to look up is put into gauges by [`Pulls`], each in
//! constant time, and nobody walks sessions, rooms or users for it.

mod memory;
mod program;
mod spans;
mod stores;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, Result, TextEncoder,
};

pub use program::Common;
pub use spans::Spans;
pub use stores::{Operations, Pool, STORE_SECONDS};

/// The `Content-Type` of what [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is made from.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it means.
    pub help: &'a str,
    /// The names of its labels.
    pub labels: &'a [&'a str],
    /// The upper bounds of a histogram's buckets.
    pub buckets: &'a [f64],
}

/// What can be a field of a struct of metrics: a metric, several that belong together, or a struct of metrics.
pub trait Make: Sized {
    /// Makes it and enters it into the registry. Fails only if two metrics have one name, or one has none that is allowed.
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self>;
}

fn entered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Make for IntCounter {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        entered(registry, Self::new(spec.name, spec.help)?)
    }
}

impl Make for IntCounterVec {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        entered(
            registry,
            Self::new(Opts::new(spec.name, spec.help), spec.labels)?,
        )
    }
}

impl Make for IntGauge {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        entered(registry, Self::new(spec.name, spec.help)?)
    }
}

impl Make for IntGaugeVec {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        entered(
            registry,
            Self::new(Opts::new(spec.name, spec.help), spec.labels)?,
        )
    }
}

impl Make for Histogram {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        let options = HistogramOpts::new(spec.name, spec.help).buckets(spec.buckets.to_vec());
        entered(registry, Self::with_opts(options)?)
    }
}

impl Make for HistogramVec {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        let options = HistogramOpts::new(spec.name, spec.help).buckets(spec.buckets.to_vec());
        entered(registry, Self::new(options, spec.labels)?)
    }
}

impl Make for GaugeVec {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        entered(
            registry,
            Self::new(Opts::new(spec.name, spec.help), spec.labels)?,
        )
    }
}

/// Where the metrics themselves are entered.
impl Make for Registry {
    fn make(registry: &Registry, _: Spec<'_>) -> Result<Self> {
        Ok(registry.clone())
    }
}

/// Declares a struct whose fields are metrics. A field's name behind the struct's prefix is the metric's name, its doc comment the help.
///
/// ```
/// confab_shared::metrics! {
///     /// What is counted of doors.
///     pub struct Doors, "house_" {
///         /// Doors that were opened, by who did it.
///         opened_total: prometheus::IntCounterVec, by ["who"];
///         /// Seconds that they were open.
///         open_seconds: prometheus::Histogram, in [0.1, 1.0, 10.0];
///     }
/// }
/// # fn main() -> prometheus::Result<()> {
/// let doors = Doors::register(&prometheus::Registry::new())?;
/// doors.opened_total.with_label_values(&["cat"]).inc();
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! metrics {
    ($(#[doc = $doc:literal])* pub struct $name:ident, $prefix:literal {
        $($(#[doc = $help:literal])+ $field:ident: $type:ty $(, by [$($label:literal),+])? $(, in $buckets:expr)?;)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $help])+ pub $field: $type,)*
        }

        impl $name {
            /// All of them at zero, entered into a registry.
            pub fn register(registry: &::prometheus::Registry) -> ::prometheus::Result<Self> {
                Ok(Self {
                    $($field: <$type as $crate::metrics::Make>::make(
                        registry,
                        $crate::metrics::Spec {
                            name: concat!($prefix, stringify!($field)),
                            help: concat!($($help),+).trim(),
                            labels: &[$($($label),+)?],
                            buckets: <[&[f64]]>::concat(&[$(&$buckets)?]).as_slice(),
                        },
                    )?,)*
                })
            }
        }

        impl $crate::metrics::Make for $name {
            fn make(registry: &::prometheus::Registry, _: $crate::metrics::Spec<'_>) -> ::prometheus::Result<Self> {
                Self::register(registry)
            }
        }
    };
}

/// What is looked up when somebody scrapes, to be put into gauges. Must be quick, and must not wait.
#[derive(Clone, Default)]
pub struct Pulls(Arc<Mutex<Vec<Pull>>>);

type Pull = Box<dyn Fn() + Send + Sync>;

impl Pulls {
    /// From here on this is done before every scrape.
    pub fn add(&self, pull: impl Fn() + Send + Sync + 'static) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(pull));
    }

    fn pull(&self) {
        for pull in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            pull();
        }
    }
}

impl fmt::Debug for Pulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulls").finish_non_exhaustive()
    }
}

impl Make for Pulls {
    fn make(_: &Registry, _: Spec<'_>) -> Result<Self> {
        Ok(Self::default())
    }
}

/// A number for a gauge.
pub fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// All metrics in Prometheus' text format.
pub fn render(registry: &Registry, pulls: &Pulls) -> Result<Vec<u8>> {
    pulls.pull();
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "the macro's structs are public, these are nobody's but the tests'"
)]
mod tests {
    use super::*;

    metrics! {
        /// A few.
        pub struct Few, "test_" {
            /// Things, by colour.
            things_total: IntCounterVec, by ["colour"];
            /// How long
            /// they took.
            seconds: Histogram, in [0.1, 1.0];
            /// The store.
            store: Operations;
            /// Theirs.
            theirs: Theirs;
        }
    }

    metrics! {
        /// A group.
        pub struct Theirs, "test_their_" {
            /// Sizes.
            size: IntGauge;
        }
    }

    fn text(registry: &Registry, pulls: &Pulls) -> String {
        String::from_utf8(render(registry, pulls).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_field_is_a_metric_and_its_comment_the_help() {
        let (registry, pulls) = (Registry::new(), Pulls::default());
        let few = Few::register(&registry).unwrap();
        few.things_total.with_label_values(&["red"]).inc();
        few.seconds.observe(0.5);
        few.store.declare(&["read"]);
        let read = few.store.time("read", async { Ok::<_, ()>(()) }).await;
        read.unwrap();
        let failed = few.store.time("write", async { Err::<(), _>(()) }).await;
        failed.unwrap_err();
        let size = few.theirs.size.clone();
        pulls.add(move || size.set(7));
        let text = text(&registry, &pulls);
        for line in [
            "# HELP test_things_total Things, by colour.",
            "test_things_total{colour=\"red\"} 1",
            "# HELP test_seconds How long they took.",
            "test_seconds_bucket{le=\"0.1\"} 0",
            "test_seconds_bucket{le=\"1\"} 1",
            "test_store_seconds_count{operation=\"read\"} 1",
            "test_store_errors_total{operation=\"read\"} 0",
            "test_store_errors_total{operation=\"write\"} 1",
            "test_their_size 7",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn a_program_tells_what_it_is() {
        let (registry, pulls) = (Registry::new(), Pulls::default());
        let common = Common::register(&registry).unwrap();
        common.watch(&registry, &pulls).unwrap();
        common.is_built("confab-test", "1.2.3", Some("0a1b2c"));
        let text = text(&registry, &pulls);
        for told in [
            "program=\"confab-test\"",
            "version=\"1.2.3\"",
            "commit=\"0a1b2c\"",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "confab_runtime_threads 1",
            "confab_memory_limit_bytes ",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
    }
}
