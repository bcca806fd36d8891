//! Users about whom there is something to do: each once, however often it is said.

use std::collections::HashSet;

use confab_shared::id::UserId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A set that whoever works it off can wait for. It is bounded by the number of users.
#[derive(Debug, Default)]
pub(super) struct Pending {
    users: Mutex<HashSet<UserId>>,
    more: Notify,
}

impl Pending {
    /// Something is to be done about these.
    pub(super) fn add(&self, users: impl IntoIterator<Item = UserId>) {
        self.users.lock().extend(users);
        self.more.notify_one();
    }

    /// Waits until there is something to do.
    pub(super) async fn some(&self) {
        // Whatever was added before is told by a permit that was left.
        while self.users.lock().is_empty() {
            self.more.notified().await;
        }
    }

    /// Takes at most so many of them.
    pub(super) fn take(&self, most: usize) -> Vec<UserId> {
        let mut users = self.users.lock();
        if users.len() <= most {
            return users.drain().collect();
        }
        let some: Vec<UserId> = users.iter().take(most).copied().collect();
        for user in &some {
            users.remove(user);
        }
        some
    }
}
