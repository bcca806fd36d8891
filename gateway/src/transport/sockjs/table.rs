//! This node's sessions by name, and where other nodes' were found.

use std::collections::HashMap;
use std::sync::Arc;

use confab_shared::id::NodeId;
use parking_lot::Mutex;

use super::door::Door;
use super::task::goodbye;
use crate::registry::SessionName;
use crate::session::DisconnectReason;

/// This node's sessions, and those that have just ended.
#[derive(Default)]
pub(super) struct Table {
    open: Mutex<HashMap<SessionName, Arc<Door>>>,
}

/// A session's place in the table. When it goes, the name is free again, and whoever still waits at the door hears that it is over.
pub(super) struct Entry {
    table: Arc<Table>,
    name: SessionName,
    pub(super) door: Arc<Door>,
}

impl Table {
    pub(super) fn find(&self, name: SessionName) -> Option<Arc<Door>> {
        self.open.lock().get(&name).cloned()
    }

    /// Enters a session. If there is one of that name already, this is its door.
    pub(super) fn enter(
        self: &Arc<Self>,
        name: SessionName,
        door: Arc<Door>,
    ) -> Result<Entry, Arc<Door>> {
        let mut open = self.open.lock();
        if let Some(door) = open.get(&name) {
            return Err(door.clone());
        }
        open.insert(name, door.clone());
        Ok(Entry {
            table: self.clone(),
            name,
            door,
        })
    }

    /// All names.
    pub(super) fn names(&self) -> Vec<SessionName> {
        self.open.lock().keys().copied().collect()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.door.last_word().is_none() {
            // Only a task that panicked leaves its door open.
            self.door.close(goodbye(DisconnectReason::TransportError));
        }
        let mut open = self.table.open.lock();
        open.remove(&self.name);
        // The room of a crowd that has left is given back; a table that breathes keeps its own.
        if open.capacity() > 1_024 && open.len() < open.capacity() / 8 {
            open.shrink_to_fit();
        }
    }
}

/// How many names a generation of the book holds.
const GENERATION: usize = 16_384;

/// Whose sessions of other nodes are, as far as it was asked for lately: requests that are passed on cost Redis nothing.
///
/// A session stays with its node. One that has ended there is unknown to it, and then its page is out of date.
#[derive(Default)]
pub(super) struct Owners {
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    recent: HashMap<SessionName, NodeId>,
    older: HashMap<SessionName, NodeId>,
}

impl Owners {
    pub(super) fn get(&self, name: SessionName) -> Option<NodeId> {
        let mut generations = self.generations.lock();
        if let Some(owner) = generations.recent.get(&name) {
            return Some(*owner);
        }
        // What is still of use moves on with the generations.
        let owner = generations.older.remove(&name)?;
        generations.note(name, owner);
        Some(owner)
    }

    pub(super) fn note(&self, name: SessionName, owner: NodeId) {
        self.generations.lock().note(name, owner);
    }

    pub(super) fn forget(&self, name: SessionName) {
        let mut generations = self.generations.lock();
        generations.recent.remove(&name);
        generations.older.remove(&name);
    }
}

impl Generations {
    fn note(&mut self, name: SessionName, owner: NodeId) {
        if self.recent.len() >= GENERATION {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(name, owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::send_queue::SendQueue;

    fn door() -> Arc<Door> {
        let (door, _) = Door::new(Arc::new(SendQueue::new(100)));
        Arc::new(door)
    }

    #[test]
    fn a_name_is_one_sessions_until_that_has_left() {
        let (table, name) = (Arc::<Table>::default(), SessionName::of("a"));
        let (first, second) = (door(), door());
        let entry = table.enter(name, first.clone()).ok().unwrap();
        let found = table.enter(name, second.clone()).err().unwrap();
        assert!(Arc::ptr_eq(&first, &found));
        drop(entry);
        assert!(table.find(name).is_none() && first.last_word().is_some());
        assert!(table.enter(name, second).is_ok());
    }

    #[test]
    fn owners_that_are_asked_for_are_remembered_and_their_number_is_bounded() {
        let (owners, node) = (Owners::default(), NodeId::generate());
        let kept = SessionName::of("kept");
        owners.note(kept, node);
        for number in 0..3 * GENERATION {
            owners.note(SessionName::of(&number.to_string()), node);
            assert_eq!(owners.get(kept), Some(node));
        }
        assert_eq!(owners.get(SessionName::of("0")), None);
        let generations = owners.generations.lock();
        assert!(generations.recent.len() + generations.older.len() <= 2 * GENERATION);
        drop(generations);
        owners.forget(kept);
        assert_eq!(owners.get(kept), None);
    }
}
