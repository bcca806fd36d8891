//! A partition that a lane serves: what it may have to offer, and whether it is left alone for a while.
//!
//! Owns the rules of which partition may be asked for what; does no I/O.

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::Keyspace;
use tokio::time::Instant;

use super::batch::Tenure;
use super::lane::Assignment;
use crate::pause::Pause;

/// The id before every entry's.
const BEGINNING: &str = "0-0";

/// A partition being served.
pub(super) struct Served {
    pub(super) tenure: Tenure,
    pub(super) stream: String,
    /// Whether entries may be pending that were handed out before: they come first.
    pub(super) backlog: bool,
    /// Whether there may be new entries.
    pub(super) ready: bool,
    /// The last entry read.
    pub(super) last: String,
    /// Until when it is left alone, because something of it failed. Only it: on a cluster the others' servers may be well.
    rests_until: Option<Instant>,
    pause: Pause,
    /// Whether what was stored could not be announced, and some of it may be pending still.
    refused: bool,
}

impl Served {
    /// A partition just taken over, with whatever its former owner left.
    pub(super) fn new(assignment: Assignment) -> (Partition, Self) {
        let Assignment {
            partition,
            epoch,
            lost,
        } = assignment;
        let served = Self {
            tenure: Tenure { epoch, lost },
            stream: Keyspace::ingress(partition),
            backlog: true,
            ready: true,
            last: BEGINNING.to_owned(),
            rests_until: None,
            pause: Pause::default(),
            refused: false,
        };
        (partition, served)
    }

    /// Whether what was handed out before is to be claimed now.
    pub(super) fn is_claimable(&self, now: Instant) -> bool {
        self.backlog && !self.rests(now)
    }

    /// Whether new entries are to be read now. None overtakes what was handed out before.
    pub(super) fn is_readable(&self, now: Instant) -> bool {
        self.ready && !self.backlog && !self.rests(now)
    }

    /// Whether it is left alone.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// Until when it is left alone, if it was.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Whether nothing of it had failed since something went well.
    pub(super) fn is_well(&self) -> bool {
        self.pause.first()
    }

    /// Something failed, so that entries may be pending, or the group gone. Claiming cures both, after a pause that doubles.
    pub(super) fn fail(&mut self, now: Instant) {
        self.backlog = true;
        self.rests_until = Some(now + self.pause.lengthen());
    }

    /// What was stored cannot be announced: it is handed out again as often as that takes.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Whether it is its server, and not what a command makes of us, for which entries are handed out again.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Everything went well.
    pub(super) fn recover(&mut self) {
        self.rests_until = None;
        self.pause = Pause::default();
    }

    /// Nothing is pending any more that was handed out before.
    pub(super) fn catch_up(&mut self) {
        self.backlog = false;
        self.refused = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn who_failed_is_left_alone_for_longer_and_longer_and_then_claimed_before_anything_is_read() {
        let assignment = Assignment {
            partition: Partition(1),
            epoch: 1,
            lost: CancellationToken::new(),
        };
        let (_, mut served) = Served::new(assignment);
        let mut now = Instant::now();
        served.backlog = false;
        assert!(served.is_readable(now) && served.is_well());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            served.fail(now);
            assert!(!served.is_claimable(now) && !served.is_readable(now));
            let until = served.rests_until().unwrap();
            pauses.push(until - now);
            now = until;
            assert!(served.is_claimable(now) && !served.is_readable(now));
        }
        assert!(pauses.is_sorted() && pauses[0] > Duration::ZERO);
        assert_eq!(pauses[9], Duration::from_secs(1));
        assert!(!served.is_well());
        served.recover();
        assert!(served.is_claimable(now) && served.is_well());
        served.fail(now);
        assert_eq!(served.rests_until().unwrap() - now, pauses[0]);
    }
}
