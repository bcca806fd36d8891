//! How long presence takes.

use std::time::Duration;

/// How long things take. The defaults are for production; tests are in a hurry.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For how long a user counts as connected whose last socket is gone.
    pub linger: Duration,
    /// For how long a user counts as present in a room whose connection was lost.
    pub room_linger: Duration,
    /// How long comings and goings gather before Redis is told.
    pub tick: Duration,
    /// How often the lease is renewed.
    pub beat: Duration,
    /// How long it is good for.
    pub term: Duration,
    /// How long nodes may take to tell a Redis that lost its memory who is connected.
    pub settling: Duration,
    /// After how long others announce what somebody should have.
    pub overdue: Duration,
    /// How often they look for that.
    pub round: Duration,
}

impl Timing {
    /// With these lingers.
    pub fn new(linger: Duration, room_linger: Duration) -> Self {
        Self {
            linger,
            room_linger,
            tick: Duration::from_millis(50),
            beat: Duration::from_secs(1),
            term: Duration::from_secs(3),
            settling: Duration::from_secs(3),
            overdue: Duration::from_secs(3),
            round: Duration::from_secs(5),
        }
    }
}
