//! What both programs tell of themselves: their build, their runtime and their process.

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, IntGaugeVec, Registry, Result};
use tokio::runtime::Handle;

use super::{Pulls, count};
use crate::metrics;

metrics! {
    /// What both programs tell of themselves.
    pub struct Common, "confab_" {
        /// Which build this is: always 1.
        build_info: IntGaugeVec, by ["program", "version", "commit", "profile"];
        /// Threads that run the program's tasks.
        runtime_threads: IntGauge;
        /// Tasks that are alive.
        runtime_tasks: IntGauge;
        /// Tasks that are ready and wait in the queue that all threads share. Long for long: there is more to do than processors to do it.
        runtime_queued_tasks: IntGauge;
    }
}

impl Common {
    /// Enters what both programs tell: their build, their runtime and their process.
    pub fn enter(registry: &Registry, pulls: &Pulls, program: &str, version: &str) -> Result<Self> {
        let common = Self::register(registry)?;
        let commit = option_env!("CONFAB_COMMIT").unwrap_or("unknown");
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        common
            .build_info
            .with_label_values(&[program, version, commit, profile])
            .set(1);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let own = common.clone();
        pulls.add(move || {
            if let Ok(runtime) = Handle::try_current() {
                let runtime = runtime.metrics();
                own.runtime_threads.set(count(runtime.num_workers()));
                own.runtime_tasks.set(count(runtime.num_alive_tasks()));
                own.runtime_queued_tasks
                    .set(count(runtime.global_queue_depth()));
            }
        });
        Ok(common)
    }
}
