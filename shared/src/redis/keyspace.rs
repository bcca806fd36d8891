//! Every key and channel name, made in one place.
//!
//! What belongs to a partition carries its hash tag, `{p}`, so that one script may touch it all and a Redis Cluster keeps it on
//! one slot.

use std::fmt::Display;

use super::presence::Stay;
use crate::id::{ConversationId, NodeId, Partition, UserId};

/// How many parts the users are divided into by who is online: each part's keys are on one slot of a Redis Cluster.
pub const USER_SLOTS: u16 = 16;

/// One of those parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserSlot(u16);

impl UserSlot {
    /// The part that a user belongs to.
    pub fn of(user: UserId) -> Self {
        // The low bits of a UUID of version 7 are random.
        let slot = user.0.as_u64_pair().1 % u64::from(USER_SLOTS);
        Self(u16::try_from(slot).unwrap_or(0))
    }

    /// All parts.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..USER_SLOTS).map(Self)
    }

    /// Its place among all parts.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The consumer group of every ingress stream.
pub const WORKERS: &str = "workers";
/// The one field of an ingress entry: a [`CommandEnvelope`](crate::model::command::CommandEnvelope) as JSON.
pub const COMMAND_FIELD: &str = "c";
/// The field of a node's lease that says where its peers reach it, as `host:port`.
pub const ADDRESS_FIELD: &str = "address";
/// The field of a history entry: a [`RoomBatch`](crate::model::event::RoomBatch) as JSON.
pub const BATCH_FIELD: &str = "b";
/// The field that marks a history entry before which others were thrown away.
pub const BROKEN_FIELD: &str = "x";
/// The one field of a user's history entry: a [`UserNotice`](crate::model::event::UserNotice) as JSON.
pub const NOTICE_FIELD: &str = "n";

/// The names, for a deployment with a fixed number of partitions.
#[derive(Debug, Clone, Copy)]
pub struct Keyspace {
    partitions: u16,
}

impl Keyspace {
    /// The names for `partitions` partitions.
    pub fn new(partitions: u16) -> Self {
        Self { partitions }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    /// The partition of a conversation.
    pub fn partition(&self, conversation: ConversationId) -> Partition {
        conversation.partition(self.partitions)
    }

    /// String: what Redis's memory is called, `<microseconds when it was named>:<random>:<run_id>`, set when absent or when another
    /// process has it. Another value (or none) means that Redis lost its memory, or some of it; nothing from before it was named is
    /// complete.
    pub fn epoch() -> &'static str {
        "confab:epoch"
    }

    /// String: the same, for one partition's slot, so that a script can check it together with the stream.
    pub fn partition_epoch(partition: Partition) -> String {
        format!("confab:{{{partition}}}:epoch")
    }

    /// Stream, gateways → worker: the commands of a partition, group [`WORKERS`].
    pub fn ingress(partition: Partition) -> String {
        format!("confab:{{{partition}}}:ingress")
    }

    /// Stream, worker → operator: entries that could not be processed, with the reason.
    pub fn dead(partition: Partition) -> String {
        format!("confab:{{{partition}}}:dead")
    }

    /// String with a time to live: which worker owns the partition.
    pub fn lease(partition: Partition) -> String {
        format!("confab:{{{partition}}}:lease")
    }

    /// String: the last microsecond given out as a position. One for all partitions, so that positions order all events; on a
    /// Redis Cluster it would have to be one per slot.
    pub fn position() -> &'static str {
        "confab:position"
    }

    /// String: for how long histories keep events, in milliseconds. Whoever reads them must not look further back.
    pub fn history_window() -> &'static str {
        "confab:history_window"
    }

    /// Stream, worker → gateways: a conversation's last events, for as long as a client may come back for them.
    pub fn history(&self, conversation: ConversationId) -> String {
        format!(
            "confab:{{{}}}:history:{conversation}",
            self.partition(conversation)
        )
    }

    /// Sharded channel, worker → gateways: a conversation's events as they happen.
    pub fn room(&self, conversation: ConversationId) -> String {
        format!(
            "confab:{{{}}}:room:{conversation}",
            self.partition(conversation)
        )
    }

    /// Channel, worker → gateways: what concerns a user whatever it has joined.
    pub fn user(user: UserId) -> String {
        format!("confab:user:{user}")
    }

    /// Stream, worker → gateways: a user's last notices, for as long as a client may come back for them.
    pub fn user_history(user: UserId) -> String {
        format!("confab:user:{user}:history")
    }

    /// Hash, gateway → gateway: what has to be known of a socket to recover it, by its private id.
    pub fn session(pid: &str) -> String {
        format!("confab:session:{pid}")
    }

    /// String with a time to live, gateway → gateways: which node has the SockJS session that is called so, as a [`NodeId`].
    pub fn session_claim(name: impl Display) -> String {
        format!("confab:sockjs:{name}")
    }

    /// Channel, worker → one gateway: replies to its commands.
    pub fn node(node: NodeId) -> String {
        format!("confab:node:{node}")
    }

    /// Hash with a time to live, gateway → gateways: that a node lives, and where its peers reach it.
    pub fn node_lease(node: NodeId) -> String {
        format!("confab:node:{node}:lease")
    }

    /// Hash, gateways: who is in a public room, and on which nodes.
    pub fn present(&self, room: ConversationId) -> String {
        format!("confab:{{{}}}:present:{room}", self.partition(room))
    }

    /// Set, gateway → gateways: the public rooms that somebody is in by a stay, so that others can tidy up after it.
    pub fn stay_rooms(stay: Stay) -> String {
        format!("confab:stay:{stay}:rooms")
    }

    /// Sorted set, gateways: the stays by which somebody may be present, scored by when their leases lapse (Unix milliseconds).
    pub fn stays() -> &'static str {
        "confab:presence"
    }

    /// Hash, gateways: the users who are connected, and by which stays, comma-separated.
    pub fn online(slot: UserSlot) -> String {
        format!("confab:{{o{}}}:online", slot.0)
    }

    /// Hash, gateways: the users whose contacts are still to be told of a change, and since when: see the `presence_*` scripts.
    pub fn unsaid(slot: UserSlot) -> String {
        format!("confab:{{o{}}}:unsaid", slot.0)
    }

    /// Set, gateway → gateways: the users who are connected by a stay, so that others can tidy up after it.
    pub fn stay_users(slot: UserSlot, stay: Stay) -> String {
        format!("confab:{{o{}}}:stay:{stay}:users", slot.0)
    }

    /// Sorted set: the live gateways, scored by when their registration lapses (Unix milliseconds). For counting; where they are, their
    /// [leases](Self::node_lease) say.
    pub fn gateways() -> &'static str {
        "confab:gateways"
    }

    /// Sorted set: the live workers, scored by when their registration lapses (Unix milliseconds).
    pub fn workers() -> &'static str {
        "confab:workers"
    }

    /// String with a time to live, gateways: what somebody has done lately of one class of things that are limited.
    pub fn limit(class: &str, subject: impl Display) -> String {
        format!("confab:limit:{class}:{subject}")
    }

    /// The conversation that a room channel belongs to, if the name is one of ours.
    pub fn parse_room(channel: &str) -> Option<ConversationId> {
        let (_, conversation) = channel.strip_prefix("confab:{")?.split_once("}:room:")?;
        conversation.parse().ok()
    }

    /// The user that a channel belongs to, if the name is one of ours.
    pub fn parse_user(channel: &str) -> Option<UserId> {
        channel.strip_prefix("confab:user:")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_name_their_owner() {
        let keyspace = Keyspace::new(16);
        let (conversation, user) = (ConversationId::generate(), UserId::generate());
        assert_eq!(
            Keyspace::parse_room(&keyspace.room(conversation)),
            Some(conversation)
        );
        assert_eq!(Keyspace::parse_user(&Keyspace::user(user)), Some(user));
        assert_eq!(Keyspace::parse_room(&keyspace.history(conversation)), None);
    }

    #[test]
    fn a_partitions_keys_share_their_hash_tag() {
        let keyspace = Keyspace::new(16);
        let conversation = ConversationId::generate();
        let tag = format!("{{{}}}", keyspace.partition(conversation));
        for key in [keyspace.room(conversation), keyspace.history(conversation)] {
            assert!(key.contains(&tag), "{key}");
        }
    }
}
