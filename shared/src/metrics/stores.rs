//! What is counted of calls to Redis and PostgreSQL, and of the connections to the latter.

use std::time::{Duration, Instant};

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};
use sqlx::PgPool;

use super::{Make, Pulls, Spec, count};
use crate::metrics;

/// Seconds that a call of Redis or PostgreSQL takes: from one round trip on the same machine to the longest time-out that is usual here.
/// Twelve of them, two to three per power of ten, so that a tail shows without making as many series as there are operations.
pub const STORE_SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// What a call may take at the least before it may be said that it is not answered. As delivered, no time-out is shorter.
const ITS_TIME: Duration = Duration::from_secs(1);

/// Seconds and failures of the calls of a store, by operation: `<name>_seconds` and `<name>_errors_total`.
///
/// Operations are named by the program, so they are few, whatever is asked.
#[derive(Debug, Clone)]
pub struct Operations {
    seconds: HistogramVec,
    errors: IntCounterVec,
}

impl Make for Operations {
    fn make(registry: &Registry, spec: Spec<'_>) -> Result<Self> {
        let (seconds, errors) = (
            format!("{}_seconds", spec.name),
            format!("{}_errors_total", spec.name),
        );
        let (took, failed) = (
            format!(
                "{} Seconds that answered calls took, by operation.",
                spec.help
            ),
            format!("{} Calls that failed, by operation.", spec.help),
        );
        let buckets = if spec.buckets.is_empty() {
            &STORE_SECONDS
        } else {
            spec.buckets
        };
        Ok(Self {
            seconds: HistogramVec::make(
                registry,
                Spec {
                    name: &seconds,
                    help: &took,
                    labels: &["operation"],
                    buckets,
                },
            )?,
            errors: IntCounterVec::make(
                registry,
                Spec {
                    name: &errors,
                    help: &failed,
                    labels: &["operation"],
                    buckets: &[],
                },
            )?,
        })
    }
}

impl Operations {
    /// Has these operations shown before anything is known of them, so that their first failure is seen as a rise.
    pub fn declare(&self, operations: &[&str]) {
        for operation in operations {
            self.seconds.with_label_values(&[operation]);
            self.errors.with_label_values(&[operation]);
        }
    }

    /// Makes a call and counts it. One that is given up before it has had its time counts as nothing: whoever asked for it may have gone,
    /// and what clients do must not look like a fault of the store. Later than that it failed: nobody gives up what is answered in time.
    pub async fn time<T, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = std::result::Result<T, E>>,
    ) -> std::result::Result<T, E> {
        let begun = Instant::now();
        let given_up = GivenUp {
            operations: self,
            operation,
            begun,
        };
        let result = call.await;
        std::mem::forget(given_up);
        match &result {
            Ok(_) => self.took(operation, begun.elapsed()),
            Err(_) => self.failed(operation),
        }
        result
    }

    /// A call was answered.
    pub fn took(&self, operation: &'static str, time: Duration) {
        self.seconds
            .with_label_values(&[operation])
            .observe(time.as_secs_f64());
    }

    /// A call failed, or was given up because there was no answer.
    pub fn failed(&self, operation: &'static str) {
        self.errors.with_label_values(&[operation]).inc();
    }

    /// How many calls failed.
    pub fn failures(&self, operation: &'static str) -> u64 {
        self.errors.with_label_values(&[operation]).get()
    }
}

/// A call that is under way. When this is dropped it was given up.
struct GivenUp<'a> {
    operations: &'a Operations,
    operation: &'static str,
    begun: Instant,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if self.begun.elapsed() >= ITS_TIME {
            self.operations.failed(self.operation);
        }
    }
}

metrics! {
    /// The connections to PostgreSQL. How many wait for one the pool does not tell; who waited in vain is among the failures.
    pub struct Pool, "confab_postgres_pool_" {
        /// Open connections to PostgreSQL, by whether somebody uses them: busy or idle.
        connections: IntGaugeVec, by ["state"];
        /// The most connections to PostgreSQL that this process may hold.
        connections_limit: IntGauge;
    }
}

impl Pool {
    /// From here on scrapes tell of this pool.
    pub fn watch(&self, pulls: &Pulls, pool: &PgPool) {
        let (pool, busy, idle, limit) = (
            pool.clone(),
            self.connections.with_label_values(&["busy"]),
            self.connections.with_label_values(&["idle"]),
            self.connections_limit.clone(),
        );
        pulls.add(move || {
            let unused = count(pool.num_idle());
            idle.set(unused);
            // The two numbers are not read at one moment.
            busy.set((i64::from(pool.size()) - unused).max(0));
            limit.set(i64::from(pool.options().get_max_connections()));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use prometheus::Registry;

    use super::*;

    fn operations(registry: &Registry) -> Operations {
        let spec = Spec {
            name: "test_store",
            help: "A store.",
            labels: &[],
            buckets: &[],
        };
        Operations::make(registry, spec).unwrap()
    }

    #[tokio::test]
    async fn who_leaves_early_makes_no_failure() {
        let store = operations(&Registry::new());
        let never = store.time("read", pending::<std::result::Result<(), ()>>());
        drop(tokio::time::timeout(Duration::ZERO, never).await);
        assert_eq!(store.failures("read"), 0);
        store
            .time("read", async { Err::<(), _>(()) })
            .await
            .unwrap_err();
        assert_eq!(store.failures("read"), 1);
        assert_eq!(
            store
                .seconds
                .with_label_values(&["read"])
                .get_sample_count(),
            0
        );
    }

    #[test]
    fn what_had_its_time_and_is_given_up_has_failed() {
        let store = operations(&Registry::new());
        let given_up = |begun| GivenUp {
            operations: &store,
            operation: "read",
            begun,
        };
        drop(given_up(Instant::now().checked_sub(ITS_TIME).unwrap()));
        assert_eq!(store.failures("read"), 1);
    }
}
