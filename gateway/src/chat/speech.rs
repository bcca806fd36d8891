//! What a socket speaks, and what it hears for that without having asked.

use super::follow::unfollow;
use super::socket::{UserSocket, in_time};
use crate::dialect::{self, Dialect};
use crate::session::DisconnectReason;

impl UserSocket {
    /// From here on it is told how much is unread where it has not joined, if its dialect has a word for that.
    pub(super) fn watch(&self) {
        if !self.is_guest() {
            self.node.backplane.watch(&self.socket, self.knows_until);
        }
    }

    /// The dialect of an event of a socket that has none yet. The first one that a dialect knows settles it.
    pub(super) async fn dialect_of(&mut self, event: &str) -> &'static dyn Dialect {
        let former = self.socket.dialect();
        let spoken @ Some(_) = dialect::speaking(event, former) else {
            return former;
        };
        let dialect = self.socket.settle_dialect(spoken);
        let noted = self.node.recovery.speaks(&self.kept, dialect.id()).await;
        if let Err(error) = noted {
            // Recovered, it would speak its namespace's default until its next event.
            tracing::debug!(%error, "a socket's dialect not noted");
        }
        if former.id() != dialect.id() {
            self.recount();
            self.change_over(former).await;
        }
        dialect
    }

    /// Until now it was taken to speak another dialect.
    async fn change_over(&mut self, former: &'static dyn Dialect) {
        unfollow(&self.node, &self.socket).await;
        if self.socket.dialect().shows_unread() {
            self.watch();
        } else if self.socket.end_watching() {
            self.node.hub.unwatch(self.socket.key()).await;
        }
        if let Some(lobby) = former.lobby()
            && let Err(error) = self.exit(&lobby).await
        {
            tracing::debug!(%error, "a lobby not left");
        }
        let patience = self.node.reply_timeout();
        if let Err(error) = in_time(patience, self.arrive()).await {
            tracing::warn!(%error, "a socket does not hear what it ought to; it has to come back");
            self.socket.queue().close(DisconnectReason::Unavailable);
        }
        self.node.presence.welcome(&self.socket, false);
    }
}
