//! Signs of life: a part that the process cannot live without, and that may get stuck without ending, gives one now and then.
//!
//! Whoever asks learns which part has been silent for too long. A part gives signs as long as it gets anywhere: waiting for Redis or
//! PostgreSQL to come back is life, since a new process would wait as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a part may be silent that takes none of its steps for longer than a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The parts of a process that give signs of life. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    patience: Duration,
    parts: Mutex<Vec<(&'static str, Weak<AtomicU64>)>>,
}

/// A part's means to give signs of life; when all copies are gone, none is expected any more.
#[derive(Debug, Clone)]
pub struct Sign {
    begun: Instant,
    /// Milliseconds since `begun`.
    last: Arc<AtomicU64>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

impl Vitals {
    /// Parts that may be silent for `step`, the longest of their steps, and for some seconds in any case.
    pub fn of_steps(step: Duration) -> Self {
        Self::with_patience(PATIENCE.max(step * 2))
    }

    /// Parts that may be silent for so long.
    pub fn with_patience(patience: Duration) -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            patience,
            parts: Mutex::default(),
        }))
    }

    /// A part that has been silent for so long that it must be taken for stuck, whoever asks.
    pub fn stuck(&self) -> Option<&'static str> {
        self.silent(self.0.patience)
    }

    /// A part that gives signs from now on.
    pub fn part(&self, name: &'static str) -> Sign {
        let sign = Sign {
            begun: self.0.begun,
            last: Arc::default(),
        };
        sign.give();
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push((name, Arc::downgrade(&sign.last)));
        sign
    }

    /// A part that gave no sign for longer than `patience`.
    pub fn silent(&self, patience: Duration) -> Option<&'static str> {
        let now = millis_since(self.0.begun);
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut silent = None;
        parts.retain(|(name, last)| {
            let last = last.upgrade();
            if let Some(last) = &last
                && now.saturating_sub(last.load(Ordering::Relaxed)) > patience
            {
                silent = Some(*name);
            }
            last.is_some()
        });
        silent
    }
}

impl Sign {
    /// The part lives.
    pub fn give(&self) {
        self.last.store(millis_since(self.begun), Ordering::Relaxed);
    }
}

fn millis_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_missed_when_it_is_silent_and_not_when_it_is_gone() {
        const PATIENCE: Duration = Duration::from_secs(600);
        // The process is an hour old, so that whose last sign was its first has been silent for that long.
        let begun = Instant::now().checked_sub(PATIENCE * 6).unwrap();
        let vitals = Vitals(Arc::new(Inner {
            begun,
            patience: PATIENCE,
            parts: Mutex::default(),
        }));
        let is_long_silent = |part: &Sign| part.last.store(0, Ordering::Relaxed);
        assert_eq!(vitals.silent(Duration::ZERO), None);
        let (lane, hub) = (vitals.part("lane"), vitals.part("hub"));
        assert_eq!(vitals.silent(PATIENCE), None);
        assert_eq!(vitals.stuck(), None);
        is_long_silent(&hub);
        assert_eq!(vitals.silent(PATIENCE), Some("hub"));
        assert_eq!(vitals.stuck(), Some("hub"));
        hub.give();
        assert_eq!(vitals.silent(PATIENCE), None);
        is_long_silent(&hub);
        drop(hub);
        assert_eq!(vitals.silent(PATIENCE), None);
        is_long_silent(&lane);
        assert_eq!(vitals.silent(PATIENCE), Some("lane"));
    }

    #[test]
    fn a_part_may_be_silent_for_as_long_as_its_steps_take() {
        let patience = |step| Vitals::of_steps(step).0.patience;
        assert_eq!(patience(Duration::from_secs(1)), PATIENCE);
        assert_eq!(patience(PATIENCE), PATIENCE * 2);
    }
}
