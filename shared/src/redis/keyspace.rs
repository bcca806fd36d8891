//! Every key and channel name, made in one place.
//!
//! Every name carries the hash tag of a partition, `{p}`: a conversation's its own partition's, all others that of the partition that is
//! their home by a hash. So a Redis Cluster keeps on one slot what one script touches, and a memory that it lost is always some
//! partition's. Three names depend on whether it is a cluster: positions, the memory's name and the histories' window are one for all on
//! one Redis, and each partition's own on a cluster.

use std::fmt::Display;

use fred::util::redis_keyslot;

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
    is_clustered: bool,
}

impl Keyspace {
    /// The names for `partitions` partitions on one Redis, be it alone or watched over by Sentinels.
    pub fn new(partitions: u16) -> Self {
        Self {
            partitions,
            is_clustered: false,
        }
    }

    /// The same on a Redis Cluster.
    #[must_use]
    pub fn on_cluster(self) -> Self {
        Self {
            is_clustered: true,
            ..self
        }
    }

    /// Whether partitions may be on different servers.
    pub fn is_clustered(&self) -> bool {
        self.is_clustered
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    /// The partition of a conversation.
    pub fn partition(&self, conversation: ConversationId) -> Partition {
        conversation.partition(self.partitions)
    }

    /// The partition on whose slot something is kept that belongs to none.
    pub fn home(&self, name: impl Display) -> Partition {
        let slot = redis_keyslot(name.to_string().as_bytes());
        Partition(slot % self.partitions.max(1))
    }

    /// How many orders of announcements there are: one where there is one Redis; on a cluster, one for each partition.
    pub fn orders(&self) -> u16 {
        if self.is_clustered {
            self.partitions
        } else {
            1
        }
    }

    /// The partition that stands for the memory which holds another's slot.
    pub fn memory_of(&self, partition: Partition) -> Partition {
        if self.is_clustered {
            partition
        } else {
            Partition(0)
        }
    }

    /// The partitions that stand for all memories which can be lost each by itself: one is enough where there is one Redis.
    pub fn memories(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.orders()).map(Partition)
    }

    /// String: what the memory is called that holds a partition's slot, `<microseconds when it was named>:<random>:<run_id>`, set when absent
    /// or when another process has it. Another value (or none) means that the memory was lost, or some of it; nothing from before it was
    /// named is complete.
    pub fn memory(&self, partition: Partition) -> String {
        if self.is_clustered {
            Self::partition_epoch(partition)
        } else {
            "confab:epoch".to_owned()
        }
    }

    /// String: the same, always the partition's own, so that a script can check it together with the stream.
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

    /// String: the last microsecond given out as a position. On one Redis it is one for all partitions, so that positions order all
    /// events; on a cluster each partition has its own, and across partitions the order is as good as the servers' clocks.
    pub fn position(&self, partition: Partition) -> String {
        if self.is_clustered {
            format!("confab:{{{partition}}}:position")
        } else {
            "confab:position".to_owned()
        }
    }

    /// String: for how long histories keep events, in milliseconds. Whoever reads them must not look further back.
    pub fn history_window(&self, partition: Partition) -> String {
        if self.is_clustered {
            format!("confab:{{{partition}}}:history_window")
        } else {
            "confab:history_window".to_owned()
        }
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

    /// The home of what is kept of a user.
    pub fn home_of_user(&self, user: UserId) -> Partition {
        user.home(self.partitions)
    }

    /// Sharded channel, worker → gateways: what concerns a user whatever it has joined.
    pub fn user(&self, user: UserId) -> String {
        format!("confab:{{{}}}:user:{user}", self.home_of_user(user))
    }

    /// Stream, worker → gateways: a user's last notices, for as long as a client may come back for them.
    pub fn user_history(&self, user: UserId) -> String {
        format!("confab:{{{}}}:user:{user}:history", self.home_of_user(user))
    }

    /// Hash, gateway → gateway: what has to be known of a socket to recover it, by its private id.
    pub fn session(&self, pid: &str) -> String {
        format!("confab:{{{}}}:session:{pid}", self.home(pid))
    }

    /// String with a time to live, gateway → gateways: which node has the SockJS session that is called so, as a [`NodeId`].
    pub fn session_claim(&self, name: impl Display + Copy) -> String {
        format!("confab:{{{}}}:sockjs:{name}", self.home(name))
    }

    /// Sharded channel, worker → one gateway: replies to its commands.
    pub fn node(&self, node: NodeId) -> String {
        self.node_on(self.home(node), node)
    }

    /// Sharded channel, a gateway → itself: that it hears what is said on this partition's slot.
    pub fn node_on(&self, partition: Partition, node: NodeId) -> String {
        format!("confab:{{{partition}}}:node:{node}")
    }

    /// Hash with a time to live, gateway → gateways: that a node lives, and where its peers reach it.
    pub fn node_lease(&self, node: NodeId) -> String {
        format!("confab:{{{}}}:node:{node}:lease", self.home(node))
    }

    /// Hash, gateways: who is in a public room, and on which nodes.
    pub fn present(&self, room: ConversationId) -> String {
        format!("confab:{{{}}}:present:{room}", self.partition(room))
    }

    /// Set, gateway → gateways: the public rooms that somebody is in by a stay, so that others can tidy up after it.
    pub fn stay_rooms(&self, stay: Stay) -> String {
        format!("confab:{{{}}}:stay:{stay}:rooms", self.home(stay))
    }

    /// Sorted set, gateways: the stays by which somebody may be present, scored by when their leases lapse (Unix milliseconds).
    pub fn stays() -> &'static str {
        "confab:{0}:presence"
    }

    /// Hash, gateways: the users who are connected, and by which stays, comma-separated.
    pub fn online(&self, slot: UserSlot) -> String {
        format!("confab:{{{}}}:online:{}", self.home_of_slot(slot), slot.0)
    }

    /// Hash, gateways: the users whose contacts are still to be told of a change, and since when: see the `presence_*` scripts.
    pub fn unsaid(&self, slot: UserSlot) -> String {
        format!("confab:{{{}}}:unsaid:{}", self.home_of_slot(slot), slot.0)
    }

    /// Set, gateway → gateways: the users who are connected by a stay, so that others can tidy up after it.
    pub fn stay_users(&self, slot: UserSlot, stay: Stay) -> String {
        format!(
            "confab:{{{}}}:stay:{stay}:users:{}",
            self.home_of_slot(slot),
            slot.0
        )
    }

    fn home_of_slot(self, slot: UserSlot) -> Partition {
        Partition(slot.0 % self.partitions.max(1))
    }

    /// Sorted set: the live gateways, scored by when their registration lapses (Unix milliseconds). For counting; where they are, their
    /// [leases](Self::node_lease) say.
    pub fn gateways() -> &'static str {
        "confab:{0}:gateways"
    }

    /// Sorted set: the live workers, scored by when their registration lapses (Unix milliseconds).
    pub fn workers() -> &'static str {
        "confab:{0}:workers"
    }

    /// String with a time to live, gateways: what somebody has done lately of one class of things that are limited.
    pub fn limit(&self, class: &str, subject: impl Display) -> String {
        let home = self.home(&subject);
        format!("confab:{{{home}}}:limit:{class}:{subject}")
    }

    /// The conversation that a room channel belongs to, if the name is one of ours.
    pub fn parse_room(channel: &str) -> Option<ConversationId> {
        parse(channel, "room")?.parse().ok()
    }

    /// The user that a channel belongs to, if the name is one of ours.
    pub fn parse_user(channel: &str) -> Option<UserId> {
        parse(channel, "user")?.parse().ok()
    }

    /// The partition on whose slot a node's channel is, if the name is one of ours.
    pub fn parse_node(channel: &str) -> Option<Partition> {
        let (partition, _) = channel.strip_prefix("confab:{")?.split_once("}:node:")?;
        partition.parse().ok().map(Partition)
    }
}

/// What a channel of this kind belongs to.
fn parse<'c>(channel: &'c str, kind: &str) -> Option<&'c str> {
    let (_, rest) = channel.strip_prefix("confab:{")?.split_once("}:")?;
    rest.strip_prefix(kind)?.strip_prefix(':')
}

#[cfg(test)]
mod tests;
