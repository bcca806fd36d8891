//! Waiting between attempts.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// A pause that doubles, so that a dependency which is away is not asked too often.
#[derive(Debug, Default)]
pub struct Pause(Duration);

impl Pause {
    /// Whether nothing has failed before.
    pub fn first(&self) -> bool {
        self.0.is_zero()
    }

    /// How long to wait: a little longer than the last time.
    pub fn lengthen(&mut self) -> Duration {
        self.0 = (self.0 * 2).clamp(SHORTEST, LONGEST);
        self.0
    }

    /// Waits a little longer than the last time.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.lengthen()).await;
    }
}
