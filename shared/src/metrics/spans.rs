//! What is counted of the way of spans to a collector.

use prometheus::IntCounter;

use super::Pulls;
use crate::metrics;
use crate::telemetry::Traces;

metrics! {
    /// The way of spans to a collector.
    pub struct Spans, "confab_traces_" {
        /// Spans that were made but not received, because there were too many or nobody took them.
        lost_total: IntCounter;
    }
}

impl Spans {
    /// From here on scrapes tell of these traces.
    pub fn watch(&self, pulls: &Pulls, traces: &Traces) {
        let (traces, lost) = (traces.clone(), self.lost_total.clone());
        pulls.add(move || lost.inc_by(traces.lost().saturating_sub(lost.get())));
    }
}
