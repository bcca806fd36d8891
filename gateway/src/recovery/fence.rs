//! A socket has one owner: whoever takes it over ends what is left of it, here or on another node.
//!
//! Owns the claims of sockets that are on their way in, and the questions by which nodes have each other fence a socket off. It knows
//! neither records nor histories.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use confab_shared::id::NodeId;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Kept, Recovery, RecoveryError, Shared};
use crate::backplane::GatewayMessage;

/// How long another node may take to end what is left of a socket.
const FENCE_PATIENCE: Duration = Duration::from_secs(1);

/// A socket on its way in. If its client comes back elsewhere meanwhile, this one has lost it.
pub(super) struct Claim {
    pid: String,
    /// The latest turn in which somebody else has taken it over; 0 if nobody has.
    lost_to: Arc<AtomicU64>,
    shared: Weak<Shared>,
}

impl Claim {
    /// Whether somebody else has taken the socket over since it was taken over here, which was in this turn.
    pub(super) fn is_lost(&self, turn: u64) -> bool {
        self.lost_to.load(Ordering::SeqCst) > turn
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let mut claims = shared.claims.lock();
            if claims
                .get(&self.pid)
                .is_some_and(|present| Arc::ptr_eq(present, &self.lost_to))
            {
                claims.remove(&self.pid);
            }
        }
    }
}

/// Somebody else has taken the socket over.
#[derive(Debug, thiserror::Error)]
#[error("the client has come back elsewhere")]
pub struct ClaimLost;

impl Recovery {
    /// From here on, whoever else wants the socket finds that it is being taken over; whoever wanted it before has lost it.
    pub(super) fn claim(&self, pid: &str) -> Claim {
        let lost_to = Arc::new(AtomicU64::new(0));
        let former = self
            .shared
            .claims
            .lock()
            .insert(pid.to_owned(), lost_to.clone());
        if let Some(former) = former {
            former.store(u64::MAX, Ordering::SeqCst);
        }
        Claim {
            pid: pid.to_owned(),
            lost_to,
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Ends what is left of a socket from before this turn, here and on these nodes: its client has come back, and nothing may reach an old
    /// connection, nor come from it. All of them are asked, also where one cannot be.
    pub(super) async fn fence(
        &self,
        pid: &str,
        turn: u64,
        nodes: impl Iterator<Item = NodeId>,
    ) -> Result<(), RecoveryError> {
        self.supersede(pid, |kept| kept.turn < turn);
        let others = nodes.filter(|node| *node != self.shared.node);
        let fenced = join_all(others.map(|node| self.fence_at(pid, turn, node))).await;
        fenced.into_iter().collect()
    }

    async fn fence_at(&self, pid: &str, turn: u64, node: NodeId) -> Result<(), RecoveryError> {
        let (ticket, (done, fenced)) = (Uuid::new_v4(), oneshot::channel());
        self.shared.fencing.lock().insert(ticket, done);
        let _asking = Asking {
            shared: self.shared.clone(),
            ticket,
        };
        let message = GatewayMessage::Fence {
            pid: pid.to_owned(),
            node: self.shared.node,
            turn,
            ticket,
        };
        let heard = self.shared.backplane.say(node, &message).await;
        // A node that is gone hears it nowhere; one that does not answer in time is stuck, and so are its connections.
        if matches!(heard, Ok(true)) && tokio::time::timeout(FENCE_PATIENCE, fenced).await.is_err()
        {
            tracing::warn!(%node, "a socket's former node does not end it");
        }
        heard.map(|_| ()).map_err(RecoveryError::from)
    }

    /// Ends what this node has of a socket from before this turn: its client was elsewhere then. It may have come back since.
    fn supersede_here(&self, pid: &str, turn: u64) {
        // First: a socket on its way in looks at its claim under the lock by which it enters what is looked for here.
        if let Some(claim) = self.shared.claims.lock().get(pid) {
            claim.fetch_max(turn, Ordering::SeqCst);
        }
        self.supersede(pid, |kept| kept.turn < turn);
    }

    fn supersede(&self, pid: &str, is_former: impl FnOnce(&Kept) -> bool) {
        let mut all = self.shared.kept.lock();
        let is_former = all.get(pid).is_some_and(|kept| is_former(kept));
        let former = if is_former { all.remove(pid) } else { None };
        drop(all);
        if let Some(kept) = former {
            kept.supersede();
        }
    }

    /// Ends a socket whose record is another node's: the word of it was not heard here.
    pub(super) fn lose(&self, kept: &Kept) {
        if self.forget(kept) {
            tracing::debug!("the client of a socket has come back elsewhere, unheard");
            kept.supersede();
        }
    }
}

/// Does what other gateways ask for.
pub(super) async fn listen(
    recovery: Recovery,
    mut messages: mpsc::UnboundedReceiver<GatewayMessage>,
) {
    while let Some(message) = messages.recv().await {
        match message {
            GatewayMessage::Fence {
                pid,
                node,
                turn,
                ticket,
            } => {
                recovery.supersede_here(&pid, turn);
                let recovery = recovery.clone();
                tokio::spawn(async move {
                    let fenced = GatewayMessage::Fenced { ticket };
                    if let Err(error) = recovery.shared.backplane.say(node, &fenced).await {
                        tracing::debug!(%error, "a fence not confirmed");
                    }
                });
            }
            GatewayMessage::Fenced { ticket } => {
                if let Some(done) = recovery.shared.fencing.lock().remove(&ticket) {
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
            }
        }
    }
}

/// A question to another node; it is forgotten with this.
struct Asking {
    shared: Arc<Shared>,
    ticket: Uuid,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.shared.fencing.lock().remove(&self.ticket);
    }
}
