//! A socket that gave no token: it may do nothing, and not for long.

use std::time::Duration;

use confab_shared::model::error::{ErrorCode, Rejection};
use tokio::task::AbortHandle;

use crate::dialect::{Dialect, Namespace};
use crate::session::DisconnectReason;
use crate::transport::application::{Incoming, Link};
use crate::transport::socketio::disconnect_frame;

/// A socket that has not said who it is.
#[derive(Debug)]
pub struct AnonymousSocket {
    namespace: Namespace,
    /// The dialect in which it is refused.
    dialect: &'static dyn Dialect,
    link: Link,
    patience: AbortHandle,
}

impl AnonymousSocket {
    /// A socket that is put out, with its session, when it is still there after `patience`.
    pub(super) fn new(
        namespace: Namespace,
        dialect: &'static dyn Dialect,
        link: Link,
        patience: Duration,
    ) -> Self {
        let way = link.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            way.push(disconnect_frame(namespace.as_str()));
            way.close(DisconnectReason::Unauthenticated);
        });
        Self {
            namespace,
            dialect,
            link,
            patience: timer.abort_handle(),
        }
    }

    /// Whatever it asks for, it is told to log in.
    pub(super) fn event(&self, event: Incoming<'_>) {
        let rejection = Rejection::new(ErrorCode::Unauthorized, "log in first");
        let frames = self
            .dialect
            .rejected(self.namespace, event.ack_id, event.name, &rejection);
        self.link.push(frames);
    }
}

impl Drop for AnonymousSocket {
    fn drop(&mut self) {
        // It left by itself: its session may go on with other namespaces, or with a token.
        self.patience.abort();
    }
}
