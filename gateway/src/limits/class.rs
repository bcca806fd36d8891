//! What is limited, and whose doings are counted together.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use confab_shared::id::UserId;
use confab_shared::model::command::Command;
use sha2::{Digest, Sha256};

use crate::dialect::Tier;

/// How much of a digest is enough to tell accounts apart, in bytes.
const DIGEST: usize = 16;

/// A class of things that users do. Each has a figure of its own, and what is counted of one is not of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Sending, editing and deleting messages.
    Messages,
    /// The same, in a dialect of the strict tier.
    RoomsMessages,
    /// Making, entering, leaving and changing conversations.
    RoomOperations,
    /// The same, in a dialect of the strict tier and on /api/rooms.
    RoomsRoomOperations,
    /// Saying on sockets what was read.
    Reads,
    /// What sockets ask for or set beside messages: what was said, who is online, how one is seen.
    Questions,
    /// Subscribing by STOMP, and looking for a room that is sent to by its slug.
    Subscriptions,
    /// Requests to REST, whatever they are for.
    Rest,
    /// Logins to one account from one address.
    Login,
    /// Logins from one address, whoever they are for.
    LoginAddress,
    /// Registrations from one address.
    Register,
    /// Guests of one address, whatever they want to be called.
    Guests,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::Messages,
        Self::RoomsMessages,
        Self::RoomOperations,
        Self::RoomsRoomOperations,
        Self::Reads,
        Self::Questions,
        Self::Subscriptions,
        Self::Rest,
        Self::Login,
        Self::LoginAddress,
        Self::Register,
        Self::Guests,
    ];

    /// Its name in keys, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::RoomsMessages => "rooms_messages",
            Self::RoomOperations => "room_operations",
            Self::RoomsRoomOperations => "rooms_room_operations",
            Self::Reads => "reads",
            Self::Questions => "questions",
            Self::Subscriptions => "subscriptions",
            Self::Rest => "rest",
            Self::Login => "login",
            Self::LoginAddress => "login_address",
            Self::Register => "register",
            Self::Guests => "guests",
        }
    }

    /// The class of messages in a tier.
    pub fn messages(tier: Tier) -> Self {
        match tier {
            Tier::Usual => Self::Messages,
            Tier::Strict => Self::RoomsMessages,
        }
    }

    /// The class of room operations in a tier.
    pub fn room_operations(tier: Tier) -> Self {
        match tier {
            Tier::Usual => Self::RoomOperations,
            Tier::Strict => Self::RoomsRoomOperations,
        }
    }

    /// The class of a command that came by a socket.
    pub fn of(command: &Command, tier: Tier) -> Self {
        match command {
            Command::SendMessage { .. }
            | Command::EditMessage { .. }
            | Command::DeleteMessage { .. } => Self::messages(tier),
            Command::CreateConversation { .. }
            | Command::AddMembers { .. }
            | Command::RemoveMember { .. }
            | Command::CreateRoom { .. }
            | Command::UpdateRoom { .. }
            | Command::DeleteRoom
            | Command::Leave => Self::room_operations(tier),
            Command::MarkRead { .. } => Self::Reads,
        }
    }
}

/// Whose doings are counted together. An address stands for itself, or for its network where one client has all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An account, on whatever connection and node.
    User(UserId),
    /// An address of which no more is known.
    Address(IpAddr),
    /// Somebody without an account: another socket is no other guest.
    Guest(IpAddr, Arc<str>),
    /// Whoever says from an address that an account is his, by trying to log in or by a token: nobody elsewhere is kept from it.
    Account(IpAddr, [u8; DIGEST]),
}

impl Subject {
    /// A guest of this name, in which letter case does not count.
    pub fn guest(address: IpAddr, name: &str) -> Self {
        Self::Guest(address, name.to_lowercase().into())
    }

    /// An account by what its owner logs in with, which is kept nowhere: a digest of it is.
    pub fn account(address: IpAddr, login: &str) -> Self {
        let whole = Sha256::digest(login.to_lowercase().as_bytes());
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&whole[..DIGEST]);
        Self::Account(address, digest)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user/{user}"),
            Self::Address(address) => write!(f, "address/{address}"),
            Self::Guest(address, name) => write!(f, "guest/{address}/{name}"),
            Self::Account(address, digest) => {
                write!(f, "account/{address}/{:032x}", u128::from_be_bytes(*digest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_apart_by_their_place_and_their_name() {
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
            let named = Class::ALL
                .iter()
                .filter(|other| other.as_str() == class.as_str());
            assert_eq!(named.count(), 1);
        }
    }

    #[test]
    fn a_subject_is_the_same_in_any_letter_case_and_no_address_is_kept_in_words() {
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(Subject::guest(here, "Ann"), Subject::guest(here, "ann"));
        let (one, other) = (
            Subject::account(here, "Ann@Example.com"),
            Subject::account(here, "ann@example.com"),
        );
        assert_eq!(one, other);
        assert!(!one.to_string().contains("example"));
        assert_ne!(one, Subject::account(here, "ben@example.com"));
    }
}
