//! Signs of life: a part that the process cannot live without, and that may get stuck without ending, gives one now and then.
//!
//! Whoever asks learns which part has been silent for too long. A part gives signs as long as it gets anywhere: waiting for Redis or
//! PostgreSQL to come back is life, since a new process would wait as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The parts of a process that give signs of life. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
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
        Self(Arc::new(Inner {
            begun: Instant::now(),
            parts: Mutex::default(),
        }))
    }
}

impl Vitals {
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
        const PATIENCE: Duration = Duration::from_millis(40);
        let vitals = Vitals::default();
        assert_eq!(vitals.silent(Duration::ZERO), None);
        let (lane, hub) = (vitals.part("lane"), vitals.part("hub"));
        assert_eq!(vitals.silent(PATIENCE), None);
        std::thread::sleep(PATIENCE * 2);
        lane.give();
        assert_eq!(vitals.silent(PATIENCE), Some("hub"));
        hub.give();
        assert_eq!(vitals.silent(PATIENCE), None);
        std::thread::sleep(PATIENCE * 2);
        drop(hub);
        lane.give();
        assert_eq!(vitals.silent(PATIENCE), None);
    }
}
