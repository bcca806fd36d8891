//! Identifiers, each its own type, so that no id can be passed where another is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0} id")]
pub struct MalformedId(&'static str);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            /// Accepts the hyphenated form only: one id, one spelling.
            fn from_str(text: &str) -> Result<Self, MalformedId> {
                if text.len() != 36 {
                    return Err(MalformedId($kind));
                }
                Uuid::try_parse(text).map(Self).map_err(|_| MalformedId($kind))
            }
        }
    };
}

uuid_id!(
    /// An account or a guest. UUIDv7, so that rows made together lie together.
    UserId,
    "user"
);
uuid_id!(
    /// A durable thread of messages. UUIDv7, except for direct conversations: see [`ConversationId::direct`].
    ConversationId,
    "conversation"
);
uuid_id!(
    /// A command. Fresh, or derived from what a client repeats when it retries: see [`CommandId::of_retry`].
    CommandId,
    "command"
);
uuid_id!(
    /// A gateway process, for as long as it lives. Never an address.
    NodeId,
    "node"
);
uuid_id!(
    /// A worker process, for as long as it lives.
    WorkerId,
    "worker"
);

impl UserId {
    /// A new id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl UserId {
    /// Whom the rooms belong to that always exist. Nobody can log in as it.
    pub const SYSTEM: Self = Self(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
}

impl NodeId {
    /// A new id.
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

impl WorkerId {
    /// A new id.
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

/// The name space of direct conversations' ids (RFC 9562, version 5).
const DIRECT: Uuid = Uuid::from_u128(0x3f0c_9a56_51d4_4c0e_9d6e_8a1b_7e52_c40d);

impl ConversationId {
    /// The room with the slug `public`, which always exists.
    pub const PUBLIC: Self = Self(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002));
    /// The room with the slug `lobby`, which always exists.
    pub const LOBBY: Self = Self(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0003));

    /// A new id for a group or a room.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the direct conversation of two users, whoever asks for it.
    ///
    /// It is derived from the pair, so that two gateways that create the same conversation at the same moment send their
    /// commands to the same partition, where they are ordered, and nobody has to look the id up before sending.
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        let mut pair = [0_u8; 32];
        pair[..16].copy_from_slice(low.0.as_bytes());
        pair[16..].copy_from_slice(high.0.as_bytes());
        Self(Uuid::new_v5(&DIRECT, &pair))
    }

    /// The partition that orders this conversation's changes, of `count` partitions.
    ///
    /// The low 64 bits of a UUID of version 5 or 7 are uniformly distributed (but for the two variant bits at their top),
    /// so they serve as the hash. The mapping must never change for a deployment's life.
    pub fn partition(self, count: u16) -> Partition {
        Partition::of(self.0, count)
    }
}

impl UserId {
    /// The partition that is the home of what is kept of this user, of `count` partitions.
    pub fn home(self, count: u16) -> Partition {
        Partition::of(self.0, count)
    }
}

impl CommandId {
    /// A fresh id: a repetition of the same request will be another command.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of a send that the client may repeat: the same sender, conversation, client-chosen id and text are the same
    /// command, on whichever gateway it arrives.
    pub fn of_retry(
        conversation: ConversationId,
        sender: UserId,
        temp_id: &str,
        content: &str,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(conversation.0.as_bytes());
        hash.update(sender.0.as_bytes());
        hash.update((temp_id.len() as u64).to_be_bytes());
        hash.update(temp_id.as_bytes());
        hash.update(content.as_bytes());
        let digest = hash.finalize();
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// A message's number: unique, growing with time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct MessageId(pub i64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = MalformedId;

    /// Accepts the plain decimal form of a positive number only.
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse::<i64>() {
            Ok(number) if plain => Ok(Self(number)),
            _ => Err(MalformedId("message")),
        }
    }
}

/// A place in a conversation's order of durable changes. The first change has 1.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Seq(pub i64);

impl Seq {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The unit of order, of worker ownership and of placement in a Redis Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl Partition {
    fn of(id: Uuid, count: u16) -> Self {
        let low = id.as_u64_pair().1;
        Self(u16::try_from(low % u64::from(count.max(1))).unwrap_or(0))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_direct_conversation_has_one_id_whoever_asks() {
        let (one, other) = (UserId::generate(), UserId::generate());
        assert_eq!(
            ConversationId::direct(one, other),
            ConversationId::direct(other, one)
        );
        assert_ne!(
            ConversationId::direct(one, other),
            ConversationId::direct(one, UserId::generate())
        );
    }

    #[test]
    fn a_retry_is_the_same_command_and_other_text_is_not() {
        let (conversation, sender) = (ConversationId::generate(), UserId::generate());
        let id = CommandId::of_retry(conversation, sender, "t1", "hello");
        assert_eq!(id, CommandId::of_retry(conversation, sender, "t1", "hello"));
        assert_ne!(
            id,
            CommandId::of_retry(conversation, sender, "t1", "hello!")
        );
        assert_ne!(id, CommandId::of_retry(conversation, sender, "t1h", "ello"));
    }

    #[test]
    fn partitions_are_used_evenly() {
        let mut counts = [0_u32; 16];
        for _ in 0..16_000 {
            counts[usize::from(ConversationId::generate().partition(16).0)] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn only_the_canonical_spelling_of_a_message_id_is_read(text in "\\PC{0,24}") {
            if let Ok(id) = text.parse::<MessageId>() {
                prop_assert_eq!(id.to_string(), text);
                prop_assert!(id.0 > 0);
            }
        }

        #[test]
        fn every_conversation_has_a_partition(bits: u128, count in 1_u16..1024) {
            prop_assert!(ConversationId(Uuid::from_u128(bits)).partition(count).0 < count);
        }
    }
}
