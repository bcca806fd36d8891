//! Whether the process wants work, what it is waiting for before it does, and waiting for that.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the process does what it is for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// It is not, and waits for this, if that is known.
    Unready(Option<&'static str>),
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Unready(None))))
    }
}

impl Readiness {
    /// From now on it does, or does not.
    pub fn set(&self, ready: bool) {
        self.change(if ready {
            State::Ready
        } else {
            State::Unready(None)
        });
    }

    /// It does not before this is there.
    pub fn wait_for(&self, what: &'static str) {
        self.change(State::Unready(Some(what)));
    }

    fn change(&self, state: State) {
        self.0
            .send_if_modified(|was| std::mem::replace(was, state) != state);
    }

    /// Whether it does.
    pub fn get(&self) -> bool {
        *self.0.borrow() == State::Ready
    }

    /// What it waits for.
    pub fn awaited(&self) -> Option<&'static str> {
        match *self.0.borrow() {
            State::Ready => None,
            State::Unready(what) => what,
        }
    }

    /// Waits until it does.
    pub async fn reached(&self) {
        // The sender lives as long as this, so there is an end to the waiting or none.
        let _ = self
            .0
            .subscribe()
            .wait_for(|state| *state == State::Ready)
            .await;
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

    #[test]
    fn what_is_waited_for_is_known_until_it_is_there() {
        let readiness = Readiness::default();
        assert_eq!(readiness.awaited(), None);
        readiness.wait_for("Redis");
        assert!(!readiness.get());
        assert_eq!(readiness.awaited(), Some("Redis"));
        readiness.set(true);
        assert!(readiness.get());
        readiness.set(false);
        assert_eq!(readiness.awaited(), None);
    }
}
