//! What is counted of each class.

use std::sync::Arc;

use prometheus::IntCounter;

use super::Class;
use crate::metrics::Metrics;

/// The counters of all classes, looked up once.
pub(super) struct Counters {
    pub(super) metrics: Arc<Metrics>,
    classes: [OfClass; Class::ALL.len()],
}

/// The counters of a class.
pub(super) struct OfClass {
    pub(super) allowed: IntCounter,
    pub(super) limited: IntCounter,
    /// Let through because Redis did not answer.
    pub(super) failed_open: IntCounter,
    pub(super) blocks: IntCounter,
}

impl Counters {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        let classes = Class::ALL.map(|class| {
            let class = class.as_str();
            let decisions = |outcome| {
                let labels = [class, outcome];
                metrics
                    .rate_limits
                    .decisions_total
                    .with_label_values(&labels)
            };
            OfClass {
                allowed: decisions("allowed"),
                limited: decisions("limited"),
                failed_open: decisions("failed_open"),
                blocks: metrics.rate_limits.blocks_total.with_label_values(&[class]),
            }
        });
        Self {
            metrics: metrics.clone(),
            classes,
        }
    }

    pub(super) fn of(&self, class: Class) -> &OfClass {
        &self.classes[class as usize]
    }
}
