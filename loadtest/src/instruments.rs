//! What all clients of a run measure together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::histogram::Histogram;

/// Counters and histograms of one run, for what falls into its measured window.
#[derive(Debug)]
pub struct Instruments {
    /// From sending a message to its acknowledgement.
    pub acks: Histogram,
    /// From sending a message to its delivery, at every member.
    pub deliveries: Histogram,
    from: AtomicU64,
    to: AtomicU64,
    acked: AtomicU64,
    delivered: AtomicU64,
    unanswered: AtomicUsize,
}

impl Default for Instruments {
    /// Nothing is measured until the window is set.
    fn default() -> Self {
        Self {
            acks: Histogram::default(),
            deliveries: Histogram::default(),
            from: AtomicU64::new(u64::MAX),
            to: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            unanswered: AtomicUsize::new(0),
        }
    }
}

impl Instruments {
    /// Measures from one moment to another, by [`clock`](crate::clock).
    pub fn measure(&self, from: u64, to: u64) {
        self.from.store(from, Ordering::Relaxed);
        self.to.store(to, Ordering::Relaxed);
    }

    fn covers(&self, moment: u64) -> bool {
        (self.from.load(Ordering::Relaxed)..self.to.load(Ordering::Relaxed)).contains(&moment)
    }

    /// Something was asked for.
    pub(crate) fn asked(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// So many of the things asked for were answered, or never will be.
    pub(crate) fn settled(&self, count: usize) {
        self.unanswered.fetch_sub(count, Ordering::Relaxed);
    }

    /// How many things asked for are not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// A message sent at one moment was acknowledged at another.
    pub(crate) fn acked(&self, sent: u64, now: u64) {
        if self.covers(now) {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
        if self.covers(sent) {
            self.acks.record(now.saturating_sub(sent));
        }
    }

    /// A message sent at one moment was delivered to one member at another.
    pub(crate) fn delivered(&self, sent: u64, now: u64) {
        if self.covers(now) {
            self.delivered.fetch_add(1, Ordering::Relaxed);
        }
        if self.covers(sent) {
            self.deliveries.record(now.saturating_sub(sent));
        }
    }

    /// How many acknowledgements came within the window.
    pub fn acked_within(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// How many deliveries came within the window.
    pub fn delivered_within(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}
