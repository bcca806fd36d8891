//! What is read of users: whether and where they are connected, and what is to be said of them.

use std::collections::HashMap;

use super::super::keyspace::UserSlot;
use crate::id::{NodeId, UserId};

/// What is to be said of a user, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Of whom.
    pub user: UserId,
    /// Whether the user is connected.
    pub is_connected: bool,
    /// When that was so, in microseconds of Redis's clock.
    pub position: u64,
    /// When it changed, likewise.
    pub since: u64,
    /// Whether the user wanted to be seen otherwise.
    pub by_will: bool,
    /// As it stands in Redis.
    pub(super) entry: String,
}

/// By which nodes users are connected, as it was read.
#[derive(Debug, Default)]
pub struct Look {
    at: HashMap<UserSlot, u64>,
    nodes: HashMap<UserId, Vec<NodeId>>,
}

impl Look {
    /// When that was so for this user, in microseconds of Redis's clock.
    pub fn at(&self, user: UserId) -> u64 {
        self.at.get(&UserSlot::of(user)).copied().unwrap_or(0)
    }

    /// A user was found to be connected to these nodes then; to none: not to be connected.
    pub fn note(&mut self, user: UserId, at: u64, nodes: Vec<NodeId>) {
        let first = self.at.entry(UserSlot::of(user)).or_insert(at);
        *first = at.min(*first);
        if !nodes.is_empty() {
            self.nodes.insert(user, nodes);
        }
    }

    /// The earliest moment at which any of them was looked at.
    pub fn earliest(&self) -> u64 {
        self.at.values().copied().min().unwrap_or(u64::MAX)
    }

    /// The nodes that a user is connected to, each once.
    pub fn nodes(&self, user: UserId) -> &[NodeId] {
        self.nodes.get(&user).map_or(&[], Vec::as_slice)
    }

    /// Whether a user is connected.
    pub fn is_connected(&self, user: UserId) -> bool {
        self.nodes.contains_key(&user)
    }

    /// Those who are connected.
    pub fn connected(&self) -> impl Iterator<Item = UserId> {
        self.nodes.keys().copied()
    }
}

impl Owed {
    /// What an entry says that was read at `position`. None if there is none.
    pub fn read(user: UserId, position: u64, is_connected: bool, entry: &str) -> Option<Self> {
        let since = entry.strip_suffix('v').unwrap_or(entry);
        Some(Self {
            user,
            is_connected,
            position,
            since: since.parse().ok()?,
            by_will: entry.ends_with('v'),
            entry: entry.to_owned(),
        })
    }
}
