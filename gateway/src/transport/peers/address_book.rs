//! Addresses of nodes, remembered: a request that is passed on costs the registry nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::NodeId;
use http::uri::Authority;
use parking_lot::Mutex;

use crate::registry::Directory;

use super::PassOnError;

/// How long an address is believed. A node keeps its address for life, so this only makes room.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a node that was not found counts as gone. Ids never come back, but a registry that lost its memory has it again soon.
const GONE: Duration = Duration::from_millis(500);
/// The most nodes remembered. More than this many at a time, counting the dead of the last minute, are no deployment's.
const CAPACITY: usize = 4_096;

/// A directory with a memory.
pub(super) struct AddressBook {
    directory: Arc<dyn Directory>,
    known: Mutex<HashMap<NodeId, Entry>>,
}

struct Entry {
    address: Option<Authority>,
    until: Instant,
}

impl AddressBook {
    pub(super) fn new(directory: Arc<dyn Directory>) -> Self {
        Self {
            directory,
            known: Mutex::default(),
        }
    }

    /// Where a node is reached.
    pub(super) async fn find(&self, node: NodeId) -> Result<Authority, PassOnError> {
        let stale = match self.known.lock().get(&node) {
            Some(Entry { address, until }) if Instant::now() < *until => {
                return address.clone().ok_or(PassOnError::OwnerUnknown);
            }
            Some(entry) => entry.address.clone(),
            None => None,
        };
        let found = match self.directory.find(node).await {
            Ok(found) => found,
            // An old address is better than none, and most likely right.
            Err(error) => return stale.ok_or(PassOnError::Directory(error)),
        };
        let address: Option<Authority> = found.as_deref().and_then(|address| {
            address
                .parse()
                .inspect_err(|_| tracing::error!(%node, address, "no address"))
                .ok()
        });
        self.remember(node, address.clone());
        address.ok_or(PassOnError::OwnerUnknown)
    }

    /// A connection to this node failed: its address may be wrong.
    pub(super) fn forget(&self, node: NodeId) {
        self.known.lock().remove(&node);
    }

    fn remember(&self, node: NodeId, address: Option<Authority>) {
        let now = Instant::now();
        let term = if address.is_some() { BELIEVED } else { GONE };
        let mut known = self.known.lock();
        if known.len() >= CAPACITY {
            known.retain(|_, entry| now < entry.until);
        }
        if known.len() < CAPACITY {
            let until = now + term;
            known.insert(node, Entry { address, until });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::registry::{Address, DirectoryUnavailable};

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Directory for Counting {
        fn find(
            &self,
            node: NodeId,
        ) -> BoxFuture<'_, Result<Option<Address>, DirectoryUnavailable>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let even = node.0.as_u128().is_multiple_of(2);
            Box::pin(async move { Ok(even.then(|| Address::from("127.0.0.1:9"))) })
        }
    }

    fn node(number: u128) -> NodeId {
        NodeId(uuid::Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_node_is_looked_up_once_until_a_connection_to_it_fails() {
        let counting = Arc::new(Counting::default());
        let book = AddressBook::new(counting.clone());
        for _ in 0..3 {
            assert_eq!(book.find(node(2)).await.unwrap(), "127.0.0.1:9");
            assert!(book.find(node(1)).await.is_err());
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
        book.forget(node(2));
        book.find(node(2)).await.unwrap();
        assert_eq!(counting.0.load(Ordering::Relaxed), 3);
        tokio::time::sleep(GONE).await;
        assert!(book.find(node(1)).await.is_err());
        assert_eq!(counting.0.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn its_memory_is_bounded() {
        let book = AddressBook::new(Arc::<Counting>::default());
        for number in 0..u128::try_from(CAPACITY).unwrap() * 2 {
            let _ = book.find(node(number)).await;
        }
        assert!(book.known.lock().len() <= CAPACITY);
    }
}
