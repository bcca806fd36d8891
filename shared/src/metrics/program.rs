//! What both programs tell of themselves: their build, their runtime and their process.

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, IntGaugeVec, Registry, Result};
use tokio::runtime::Handle;

use super::{Pulls, count, memory};
use crate::metrics;

metrics! {
    /// What both programs tell of themselves.
    pub struct Common, "confab_" {
        /// Which build this is: always 1.
        build_info: IntGaugeVec, by ["program", "version", "commit", "profile"];
        /// Bytes of memory that this process may use: its control group's limit, or else all that the machine has.
        memory_limit_bytes: IntGauge;
        /// Threads that run the program's tasks.
        runtime_threads: IntGauge;
        /// Tasks that are alive.
        runtime_tasks: IntGauge;
        /// Tasks that are ready and wait in the queue that all threads share. Long for long: there is more to do than processors to do it.
        runtime_queued_tasks: IntGauge;
    }
}

impl Common {
    /// Says which build this is. The commit is known to whoever builds, who says it by `CONFAB_COMMIT`. Programs ask for that in their
    /// `main.rs` and nowhere else: what reads a variable is compiled anew when it changes, and here that would be everything.
    pub fn is_built(&self, program: &str, version: &str, commit: Option<&str>) {
        let commit = commit.filter(|commit| !commit.is_empty());
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        self.build_info
            .with_label_values(&[program, version, commit.unwrap_or("unknown"), profile])
            .set(1);
    }

    /// From here on scrapes tell of the runtime and of the process.
    pub fn watch(&self, registry: &Registry, pulls: &Pulls) -> Result<()> {
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let own = self.clone();
        pulls.add(move || {
            if let Some(limit) = memory::limit() {
                own.memory_limit_bytes
                    .set(i64::try_from(limit).unwrap_or(i64::MAX));
            }
            if let Ok(runtime) = Handle::try_current() {
                let runtime = runtime.metrics();
                own.runtime_threads.set(count(runtime.num_workers()));
                own.runtime_tasks.set(count(runtime.num_alive_tasks()));
                own.runtime_queued_tasks
                    .set(count(runtime.global_queue_depth()));
            }
        });
        Ok(())
    }
}
