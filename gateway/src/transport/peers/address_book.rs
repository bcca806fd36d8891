//! Addresses of nodes, remembered: a request that is passed on costs the registry nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_shared::id::NodeId;
use http::uri::Authority;
use parking_lot::Mutex;

use crate::registry::{Directory, DirectoryUnavailable};

use super::PassOnError;

/// How long a node that was not found counts as gone, and a directory that failed as unavailable. Ids never come back, but a registry
/// that lost its memory has it again soon; and every request that asks while it does not answer would wait for it.
const DOUBT: Duration = Duration::from_millis(500);
/// The most nodes remembered: more than a deployment has in years, counting those that died since nobody asked for them again.
const CAPACITY: usize = 4_096;

/// A directory with a memory.
pub(super) struct AddressBook {
    directory: Arc<dyn Directory>,
    known: Mutex<HashMap<NodeId, Entry>>,
    /// Until when a directory that failed is not asked again.
    failed: Mutex<Option<Instant>>,
}

enum Entry {
    /// A node keeps its address for life, and a connection says best whether it lives. A lease that has run out says less: its node
    /// may only have lost Redis.
    At(Authority),
    /// It was not there. It may be again after this.
    Gone(Instant),
}

impl AddressBook {
    pub(super) fn new(directory: Arc<dyn Directory>) -> Self {
        Self {
            directory,
            known: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Where a node is reached.
    pub(super) async fn find(&self, node: NodeId) -> Result<Authority, PassOnError> {
        match self.known.lock().get(&node) {
            Some(Entry::At(address)) => return Ok(address.clone()),
            Some(Entry::Gone(until)) if Instant::now() < *until => {
                return Err(PassOnError::OwnerUnknown);
            }
            Some(Entry::Gone(_)) | None => {}
        }
        if self
            .failed
            .lock()
            .is_some_and(|until| Instant::now() < until)
        {
            return Err(PassOnError::Directory(DirectoryUnavailable::Silent));
        }
        let found = self.directory.find(node).await.inspect_err(|_| {
            *self.failed.lock() = Some(Instant::now() + DOUBT);
        })?;
        let address: Option<Authority> = found.as_deref().and_then(|address| {
            address
                .parse()
                .inspect_err(|_| tracing::error!(%node, address, "no address"))
                .ok()
        });
        let entry = match &address {
            Some(address) => Entry::At(address.clone()),
            None => Entry::Gone(Instant::now() + DOUBT),
        };
        self.remember(node, entry);
        address.ok_or(PassOnError::OwnerUnknown)
    }

    /// A connection to this node failed: its address may be wrong.
    pub(super) fn forget(&self, node: NodeId) {
        self.known.lock().remove(&node);
    }

    fn remember(&self, node: NodeId, entry: Entry) {
        let mut known = self.known.lock();
        if known.len() >= CAPACITY {
            let now = Instant::now();
            known.retain(|_, entry| match entry {
                Entry::At(_) => true,
                Entry::Gone(until) => now < *until,
            });
        }
        if known.len() >= CAPACITY {
            // Those that are still of use are found again.
            known.clear();
        }
        known.insert(node, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::registry::Address;

    /// Knows the even ones, unless it is down.
    #[derive(Default)]
    struct Counting(AtomicUsize, AtomicBool);

    impl Directory for Counting {
        fn find(
            &self,
            node: NodeId,
        ) -> BoxFuture<'_, Result<Option<Address>, DirectoryUnavailable>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if self.1.load(Ordering::Relaxed) {
                return Box::pin(async { Err(DirectoryUnavailable::Silent) });
            }
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
        tokio::time::sleep(DOUBT).await;
        assert!(book.find(node(1)).await.is_err());
        assert_eq!(counting.0.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn known_nodes_are_reached_while_the_directory_is_down_and_it_is_rarely_asked() {
        let counting = Arc::new(Counting::default());
        let book = AddressBook::new(counting.clone());
        book.find(node(2)).await.unwrap();
        counting.1.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(book.find(node(2)).await.unwrap(), "127.0.0.1:9");
            let error = book.find(node(4)).await.unwrap_err();
            assert!(matches!(error, PassOnError::Directory(_)), "{error}");
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
        counting.1.store(false, Ordering::Relaxed);
        tokio::time::sleep(DOUBT).await;
        book.find(node(4)).await.unwrap();
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
