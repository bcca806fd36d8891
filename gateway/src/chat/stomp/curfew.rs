//! When a session's token ends, and the session with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confab_shared::auth::Claims;
use tokio::task::AbortHandle;

use crate::session::DisconnectReason;
use crate::transport::application::Link;

/// A clock that ends a session with its token. Dropped, it does not.
#[derive(Debug)]
pub(super) struct Curfew(AbortHandle);

impl Curfew {
    /// Ends this session when this token ends.
    pub(super) fn new(link: &Link, claims: &Claims) -> Self {
        let end = Duration::from_secs(claims.exp);
        // A clock that stands before 1970 is one that nothing can be told by.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let (link, left) = (link.clone(), end.saturating_sub(now));
        let clock = tokio::spawn(async move {
            tokio::time::sleep(left).await;
            link.close(DisconnectReason::LoggedOut);
        });
        Self(clock.abort_handle())
    }
}

impl Drop for Curfew {
    fn drop(&mut self) {
        self.0.abort();
    }
}
