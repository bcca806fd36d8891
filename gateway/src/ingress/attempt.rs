//! Whether a lane gets anywhere: how long it has been appending.
//!
//! An attempt that fails has come to its end as well, so a Redis that is away is no reason to think that the lane is stuck; one that never ends is.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two commands, and for a machine that is busy with something else.
const GRACE: Duration = Duration::from_secs(1);
/// The most commands that one attempt sends, one after the other: a script that the server does not know, which is loaded and called again, and
/// another one that learns a new epoch.
const COMMANDS: u32 = 6;

/// The attempt that is under way, if one is.
pub(super) struct Attempts {
    begun: Mutex<Option<Instant>>,
    longest: Duration,
}

impl Attempts {
    /// None is under way. A command takes no longer than `timeout`, and nobody pauses for longer than `pause`.
    pub(super) fn of(timeout: Duration, pause: Duration) -> Self {
        Self {
            begun: Mutex::default(),
            longest: timeout * COMMANDS + pause + GRACE,
        }
    }

    /// One begins.
    pub(super) fn begin(&self) {
        *self.begun.lock() = Some(Instant::now());
    }

    /// It came to its end, whichever.
    pub(super) fn end(&self) {
        *self.begun.lock() = None;
    }

    /// Whether the one under way goes on for longer than any can.
    pub(super) fn are_stuck(&self) -> bool {
        let begun = *self.begun.lock();
        begun.is_some_and(|begun| begun.elapsed() > self.longest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use confab_shared::id::Partition;
    use confab_shared::lifecycle::Vitals;
    use confab_shared::redis::keyspace::Keyspace;
    use confab_shared::telemetry::Span;
    use fred::types::Builder;
    use uuid::Uuid;

    use super::super::lane::Lane;
    use super::super::pending::Pending;
    use super::*;
    use crate::config::{DEFAULTS, GatewayConfig};
    use crate::metrics::Metrics;

    /// A lane that has something to append, over a client that is never connected. Its commands end as its time-out says.
    fn lane(timeout: Duration) -> Vitals {
        let client = Builder::default_centralized()
            .with_performance_config(|performance| performance.default_command_timeout = timeout)
            .build()
            .unwrap();
        let config = confab_shared::config::load::<GatewayConfig>(DEFAULTS).unwrap();
        let pending = Arc::new(Pending::new(1));
        let deadline = Instant::now() + Duration::from_secs(600);
        let id = confab_shared::id::CommandId(Uuid::new_v4());
        let inserted = pending.insert(id, "{}".into(), deadline, Span::default(), Box::new(|_| {}));
        assert!(inserted.is_ok());
        let lane = Lane::new(
            &config.config.ingress,
            Keyspace::new(1),
            Partition(0),
            client,
            pending,
            Arc::new(Metrics::new().unwrap()),
        );
        let vitals = Vitals::default();
        tokio::spawn(lane.run(vitals.part("ingress lane")));
        vitals
    }

    #[tokio::test]
    async fn a_lane_whose_append_never_ends_gives_no_sign_though_its_tick_comes() {
        // Without a time-out nothing ends.
        let vitals = lane(Duration::ZERO);
        let until = Instant::now() + Duration::from_secs(60);
        while vitals.silent(Duration::from_secs(1)).is_none() {
            assert!(Instant::now() < until, "it hides what is stuck");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(vitals.silent(Duration::from_secs(1)), Some("ingress lane"));
    }

    #[test]
    fn attempts_that_fail_are_no_sign_of_death() {
        let attempts = Attempts::of(Duration::ZERO, Duration::ZERO);
        assert!(!attempts.are_stuck());
        *attempts.begun.lock() = Instant::now().checked_sub(GRACE * 2);
        assert!(attempts.are_stuck());
        attempts.end();
        assert!(!attempts.are_stuck());
        attempts.begin();
        assert!(!attempts.are_stuck());
        let patient = Attempts::of(Duration::from_secs(5), Duration::from_secs(1));
        *patient.begun.lock() = Instant::now().checked_sub(Duration::from_secs(29));
        assert!(
            !patient.are_stuck(),
            "six commands may take five seconds each"
        );
    }
}
