//! Whether the process wants work, and waiting for it.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the process does what it is for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<bool>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Readiness {
    /// From now on it does, or does not.
    pub fn set(&self, ready: bool) {
        self.0
            .send_if_modified(|was| std::mem::replace(was, ready) != ready);
    }

    /// Whether it does.
    pub fn get(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it does.
    pub async fn reached(&self) {
        // The sender lives as long as this, so there is an end to the waiting or none.
        let _ = self.0.subscribe().wait_for(|ready| *ready).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told() {
        let readiness = Readiness::default();
        assert!(!readiness.get());
        let other = readiness.clone();
        let waiting = tokio::spawn(async move { other.reached().await });
        readiness.set(true);
        waiting.await.unwrap();
        assert!(readiness.get());
        readiness.reached().await;
    }
}
