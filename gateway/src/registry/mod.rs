//! The node registry: which nodes live, where their peers reach them, and whose a session is whose id does not say so.
//!
//! Owns the [`Directory`] and [`Claims`] traits, their implementations and the lease by which a node announces itself. It must never know
//! what is said between nodes.

mod claims;
mod lease;

use std::collections::HashMap;
use std::sync::Arc;

use confab_shared::id::NodeId;
use futures_util::future::BoxFuture;

pub use claims::{Claims, RENEWAL, RedisClaims, Renewed, SessionName, SoleNode};
pub use lease::{Census, LeasedDirectory, NodeLease, census};

/// Where a node's peers reach it: `host:port` of its internal listener. Never anything that a client said.
pub type Address = Arc<str>;

/// The directory cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryUnavailable {
    /// Redis says so.
    #[error("the node registry cannot be read: {0}")]
    Redis(#[from] fred::error::Error),
    /// It says nothing.
    #[error("the node registry does not answer")]
    Silent,
}

/// Says where nodes are.
///
/// `Ok(None)` means that there is no such node any more. A registry that lost its memory is rewritten by the nodes within a second;
/// whoever asks meanwhile waits for it. Node ids are drawn anew at every start, so an address, once found, never becomes another node's by name.
pub trait Directory: Send + Sync + 'static {
    /// A node's address, if it lives.
    fn find(&self, node: NodeId) -> BoxFuture<'_, Result<Option<Address>, DirectoryUnavailable>>;
}

/// Nodes that were named at start: for a few processes that know each other.
#[derive(Debug, Clone, Default)]
pub struct StaticDirectory {
    nodes: HashMap<NodeId, Address>,
}

impl FromIterator<(NodeId, Address)> for StaticDirectory {
    fn from_iter<I: IntoIterator<Item = (NodeId, Address)>>(nodes: I) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
        }
    }
}

impl Directory for StaticDirectory {
    fn find(&self, node: NodeId) -> BoxFuture<'_, Result<Option<Address>, DirectoryUnavailable>> {
        let found = self.nodes.get(&node).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }
}
