//! What the node does not know of itself: that it may have missed something, or is missing it.

use std::sync::atomic::Ordering;

use super::Hub;
use super::input::HubInput;

impl Hub {
    /// Something may have been lost on the way here: until everything was compared, nobody can go on from what is shown.
    pub async fn doubt(&self) {
        let number = self.doubts.fetch_add(1, Ordering::SeqCst) + 1;
        self.send(HubInput::Doubt(number)).await;
    }

    /// Something is being missed: as [`doubt`](Self::doubt), but only [`trust`](Self::trust) in this or a later suspicion settles it, and a
    /// doubt has to come before that.
    pub async fn suspect(&self) -> u64 {
        let number = self.suspicions.fetch_add(1, Ordering::SeqCst) + 1;
        self.send(HubInput::Suspicion(number)).await;
        number
    }

    /// What this suspicion and earlier ones were about is missed no more.
    pub async fn trust(&self, suspicion: u64) {
        self.send(HubInput::Trust(suspicion)).await;
    }

    /// The last doubt. To be asked before everything is compared.
    pub fn last_doubt(&self) -> u64 {
        self.doubts.load(Ordering::SeqCst)
    }

    /// Everything was compared with PostgreSQL after this doubt.
    pub async fn certain(&self, doubt: u64) {
        self.send(HubInput::Certain(doubt)).await;
    }
}
