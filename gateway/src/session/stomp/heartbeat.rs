//! STOMP's heart-beats: the server sends one in each interval, and a client that has promised them is given up after three silent ones.
//! A server that stood still itself has heard nobody meanwhile, and takes that for nobody's silence.

use std::time::{Duration, Instant};

use confab_gateway_protocol::stomp::Intervals;

/// How many intervals a client may keep silent. Clients' clocks are coarse, and what carries their beats is not always in time.
const TOLERANCE: u32 = 3;
/// By how much a deadline may be missed: later, and it was the clock that stood still.
const LATE: Duration = Duration::from_secs(1);

/// What to do when a deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Send a heart-beat.
    Send,
    /// Nothing came for too long: the session is dead.
    Dead,
}

/// The clockwork of one session.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    sends: Option<Duration>,
    patience: Option<Duration>,
    sent: Instant,
    heard: Instant,
}

impl Heartbeat {
    /// Beats that were agreed on now.
    pub fn new(beats: Intervals, now: Instant) -> Self {
        Self {
            sends: beats.server,
            patience: beats
                .client
                .map(|interval| interval.saturating_mul(TOLERANCE)),
            sent: now,
            heard: now,
        }
    }

    /// When something is due; never, if nothing was agreed on.
    pub fn deadline(&self) -> Option<Instant> {
        let beat = self.sends.and_then(|sends| self.sent.checked_add(sends));
        let end = self
            .patience
            .and_then(|patience| self.heard.checked_add(patience));
        match (beat, end) {
            (Some(beat), Some(end)) => Some(beat.min(end)),
            (beat, end) => beat.or(end),
        }
    }

    /// A deadline has come, and something was heard last at that moment. Returns nothing if that has put the deadline off, or if it is
    /// looked at so late that what the client sent may be there and not be read: then it has one more interval.
    pub fn expire(&mut self, now: Instant, heard: Instant) -> Option<Beat> {
        let was_late = self
            .deadline()
            .is_some_and(|deadline| now.saturating_duration_since(deadline) > LATE);
        self.heard = self.heard.max(heard);
        if was_late
            && let Some(patience) = self.patience
            && let Some(excused) = now.checked_sub(patience.saturating_sub(patience / TOLERANCE))
        {
            self.heard = self.heard.max(excused);
        }
        let is_over = |since: Instant, interval: Option<Duration>| {
            interval.is_some_and(|interval| now.saturating_duration_since(since) >= interval)
        };
        if is_over(self.heard, self.patience) {
            return Some(Beat::Dead);
        }
        if is_over(self.sent, self.sends) {
            self.sent = now;
            return Some(Beat::Send);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn beats(sends: u64, expects: u64) -> Intervals {
        let interval = |millis| (millis > 0).then(|| Duration::from_millis(millis));
        Intervals {
            server: interval(sends),
            client: interval(expects),
        }
    }

    #[test]
    fn nothing_is_due_where_nothing_was_agreed_on() {
        let mut heartbeat = Heartbeat::new(beats(0, 0), Instant::now());
        assert_eq!(heartbeat.deadline(), None);
        let later = Instant::now() + SECOND * 1_000;
        assert_eq!(heartbeat.expire(later, later), None);
    }

    #[test]
    fn beats_that_are_centuries_apart_are_never_due() {
        let never = Intervals {
            server: Some(Duration::MAX),
            client: Some(Duration::MAX),
        };
        assert_eq!(Heartbeat::new(never, Instant::now()).deadline(), None);
    }

    #[test]
    fn a_silent_client_is_dead_after_three_intervals() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(beats(0, 1_000), start);
        assert_eq!(heartbeat.deadline(), Some(start + 3 * SECOND));
        let heard = start + SECOND;
        assert_eq!(heartbeat.expire(start + 3 * SECOND, heard), None);
        assert_eq!(heartbeat.deadline(), Some(start + 4 * SECOND));
        assert_eq!(
            heartbeat.expire(start + 4 * SECOND, heard),
            Some(Beat::Dead)
        );
    }

    #[test]
    fn a_server_that_stood_still_gives_its_clients_one_more_interval() {
        let start = Instant::now() + 100 * SECOND;
        let mut heartbeat = Heartbeat::new(beats(0, 1_000), start);
        let woken = start + 31 * SECOND;
        assert_eq!(heartbeat.expire(woken, start), None);
        assert_eq!(heartbeat.deadline(), Some(woken + SECOND));
        let mut silent = heartbeat.clone();
        assert_eq!(silent.expire(woken + SECOND, start), Some(Beat::Dead));
        // What had come meanwhile has been read by then.
        assert_eq!(heartbeat.expire(woken + SECOND, woken), None);
        assert_eq!(heartbeat.deadline(), Some(woken + 3 * SECOND));

        let mut beating = Heartbeat::new(beats(1_000, 1_000), start);
        assert_eq!(beating.expire(woken, start), Some(Beat::Send));
        assert_eq!(beating.deadline(), Some(woken + SECOND));
        assert_eq!(beating.expire(woken + SECOND, start), Some(Beat::Dead));
    }

    proptest! {
        /// However late within reason its deadlines are looked at, a session gets its beats and never ends before its time.
        #[test]
        fn beats_come_and_the_end_comes_in_time(
            delays in prop::collection::vec(0_u64..500, 1..60),
            sends in 1_u64..2_000,
            expects in 1_u64..2_000,
        ) {
            let start = Instant::now();
            let mut heartbeat = Heartbeat::new(beats(sends, expects), start);
            let (mut sent, end) = (start, start + Duration::from_millis(3 * expects));
            for delay in delays {
                let due = heartbeat.deadline().unwrap();
                prop_assert!(due <= sent + Duration::from_millis(sends));
                prop_assert!(due <= end);
                let now = due + Duration::from_millis(delay);
                match heartbeat.expire(now, start) {
                    Some(Beat::Send) => sent = now,
                    Some(Beat::Dead) => {
                        prop_assert!(now >= end);
                        return Ok(());
                    }
                    None => prop_assert!(false, "a deadline that had come did nothing"),
                }
                prop_assert!(now < end);
            }
        }
    }
}
