//! The Engine.IO heartbeat: the server pings, the client pongs (engine.io-protocol v4, "Heartbeat").

use std::time::{Duration, Instant};

/// What to do when a deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping; the next deadline is the pong's.
    Ping,
    /// No pong came: the session is dead.
    Dead,
}

/// The clockwork of one session: interval, ping, at most `timeout` until the pong, interval…
#[derive(Debug, Clone)]
pub struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    deadline: Instant,
    awaits_pong: bool,
}

impl Heartbeat {
    /// A session that opened now.
    pub fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout,
            deadline: now + interval,
            awaits_pong: false,
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When to look again: at the deadline, or sooner, because a pong may have moved it to an earlier moment by then.
    pub fn next_look(&self, now: Instant) -> Instant {
        self.deadline.min(now + self.interval)
    }

    /// The deadline has come. Returns nothing if it was moved meanwhile.
    pub fn expire(&mut self, now: Instant) -> Option<Beat> {
        if now < self.deadline {
            return None;
        }
        if self.awaits_pong {
            return Some(Beat::Dead);
        }
        self.awaits_pong = true;
        // A ping that goes out a little late does not put off the session's end; one that is much later leaves the client its time.
        self.deadline = (self.deadline + self.timeout).max(now + self.timeout / 4 * 3);
        Some(Beat::Ping)
    }

    /// A pong came. One that nobody asked for changes nothing.
    pub fn pong(&mut self, now: Instant) {
        if self.awaits_pong {
            self.awaits_pong = false;
            self.deadline = now + self.interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_millis(300);
    const TIMEOUT: Duration = Duration::from_millis(200);

    #[test]
    fn a_silent_session_is_dead_at_interval_plus_timeout() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(
            beat.expire(
                (start + INTERVAL)
                    .checked_sub(Duration::from_millis(1))
                    .unwrap()
            ),
            None
        );
        assert_eq!(beat.expire(start + INTERVAL), Some(Beat::Ping));
        assert_eq!(
            beat.expire(
                (start + INTERVAL + TIMEOUT)
                    .checked_sub(Duration::from_millis(1))
                    .unwrap()
            ),
            None
        );
        assert_eq!(beat.expire(start + INTERVAL + TIMEOUT), Some(Beat::Dead));
    }

    #[test]
    fn a_late_ping_leaves_the_client_most_of_its_time() {
        let start = Instant::now();
        let late = |by| {
            let mut beat = Heartbeat::new(INTERVAL, TIMEOUT, start);
            assert_eq!(beat.expire(start + INTERVAL + by), Some(Beat::Ping));
            beat.deadline()
        };
        let end = start + INTERVAL + TIMEOUT;
        assert_eq!(late(TIMEOUT / 10), end);
        assert_eq!(late(TIMEOUT), end + TIMEOUT / 4 * 3);
    }

    #[test]
    fn a_pong_never_makes_something_due_before_the_next_look() {
        let start = Instant::now();
        let long = INTERVAL * 10;
        let mut beat = Heartbeat::new(INTERVAL, long, start);
        assert_eq!(beat.expire(start + INTERVAL), Some(Beat::Ping));
        let look = beat.next_look(start + INTERVAL);
        beat.pong(start + INTERVAL);
        assert!(look <= beat.deadline());
    }

    proptest! {
        /// However pongs fall, a session is never closed sooner than the timeout after a ping, nor later than
        /// interval + timeout after the last useful pong.
        #[test]
        fn death_is_neither_early_nor_late(pongs in prop::collection::vec(0_u64..600, 0..40)) {
            let start = Instant::now();
            let mut beat = Heartbeat::new(INTERVAL, TIMEOUT, start);
            let (mut now, mut alive_at, mut pinged_at) = (start, start, None);
            for step in pongs {
                let until = now + Duration::from_millis(step);
                while beat.deadline() <= until {
                    let due = beat.deadline();
                    match beat.expire(due) {
                        Some(Beat::Ping) => pinged_at = Some(due),
                        Some(Beat::Dead) => {
                            prop_assert_eq!(due - alive_at, INTERVAL + TIMEOUT);
                            prop_assert_eq!(Some(due.checked_sub(TIMEOUT).unwrap()), pinged_at);
                            return Ok(());
                        }
                        None => prop_assert!(false, "a deadline that had come did nothing"),
                    }
                }
                now = until;
                beat.pong(now);
                if pinged_at.take().is_some() {
                    alive_at = now;
                }
            }
        }
    }
}
