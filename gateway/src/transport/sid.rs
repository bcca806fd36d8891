//! Session ids: which node owns a session, in a form that clients cannot make up.
//!
//! A `sid` is base64url of the owner's [`NodeId`] (16 bytes), the session's key there (8 random bytes) and a truncated
//! HMAC-SHA-256 of both (12 bytes). All nodes of a deployment have the same secret, so each can tell a forged sid from a real one
//! without asking anybody, and a request is only ever passed on for a sid that some node minted. There is never an address in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_shared::id::NodeId;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What the signing key is derived for; another use of the same secret has another label.
const LABEL: &[u8] = b"confab engine.io sid 1";

const NODE: usize = 16;
const KEY: usize = 8;
const TAG: usize = 12;
const LENGTH: usize = NODE + KEY + TAG;
/// How long a sid is as text.
const TEXT_LENGTH: usize = LENGTH * 4 / 3;

/// A session's key in its owner's table: random, so that nobody meets another's by counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(u64);

impl SessionKey {
    /// A new key.
    fn generate() -> Self {
        // Of a version 4 UUID's halves, each is random where the other has its fixed bits.
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Self(high ^ low.rotate_left(32))
    }

    /// The key of a session whose id is the client's own: a number that is made of that, and good for spreading only.
    pub(super) fn of_number(number: u64) -> Self {
        Self(number)
    }

    /// What names the session in the log: too little of its key to be mistaken for it.
    pub fn public(self) -> impl std::fmt::Display {
        struct Public(u64);
        impl std::fmt::Display for Public {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:08x}", self.0)
            }
        }
        Public(self.0 >> 32)
    }

    /// A place in [0, 1) that is this session's own: what is done to many sessions over a time is spread by it.
    pub fn share(self) -> f64 {
        // The top 32 bits are more than enough, and exact.
        let top = u32::try_from(self.0 >> 32).unwrap_or(u32::MAX);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

/// What a sid says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    /// The node that owns the session. Node ids are drawn anew at every start, so this says which life of the node, too: a sid
    /// from before a restart names nobody.
    pub node: NodeId,
    /// The session there.
    pub key: SessionKey,
}

/// Mints and opens session ids.
#[derive(Clone)]
pub struct SidAuthority {
    node: NodeId,
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for SidAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SidAuthority")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl SidAuthority {
    /// An authority for the sessions of `node`. The secret is the deployment's; what signs is derived from it.
    pub fn new(node: NodeId, secret: &[u8]) -> Self {
        let derived = keyed(secret).chain_update(LABEL).finalize().into_bytes();
        Self {
            node,
            mac: keyed(&derived),
        }
    }

    /// The node whose sessions it names.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// A new session's key and its sid.
    pub fn mint(&self) -> (SessionKey, String) {
        let key = SessionKey::generate();
        let mut bytes = [0_u8; LENGTH];
        bytes[..NODE].copy_from_slice(self.node.0.as_bytes());
        bytes[NODE..NODE + KEY].copy_from_slice(&key.0.to_be_bytes());
        let tag = self
            .mac
            .clone()
            .chain_update(&bytes[..NODE + KEY])
            .finalize()
            .into_bytes();
        bytes[NODE + KEY..].copy_from_slice(&tag[..TAG]);
        (key, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a sid says, if a node of this deployment minted it. The check takes the same time wherever a forgery differs.
    pub fn open(&self, sid: &str) -> Option<Sid> {
        if sid.len() != TEXT_LENGTH {
            return None;
        }
        let mut bytes = [0_u8; LENGTH];
        // A sid of another length or alphabet is malformed, and why is of no interest.
        let Ok(LENGTH) = URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes) else {
            return None;
        };
        let (signed, tag) = bytes.split_at(NODE + KEY);
        self.mac
            .clone()
            .chain_update(signed)
            .verify_truncated_left(tag)
            .ok()?;
        Some(Sid {
            node: NodeId(Uuid::from_bytes(*signed.first_chunk()?)),
            key: SessionKey(u64::from_be_bytes(*signed.last_chunk()?)),
        })
    }
}

/// HMAC under a secret of any length, which is hashed so that it fills a block and nothing of it is cut off.
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    let mut block = [0_u8; 64];
    block[..32].copy_from_slice(&Sha256::digest(secret));
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn authority(secret: &[u8]) -> SidAuthority {
        SidAuthority::new(NodeId::generate(), secret)
    }

    #[test]
    fn any_node_with_the_secret_can_say_whose_a_session_is() {
        let (one, other) = (authority(b"secret"), authority(b"secret"));
        let (key, sid) = one.mint();
        let opened = Sid {
            node: one.node(),
            key,
        };
        assert_eq!(
            (one.open(&sid), other.open(&sid)),
            (Some(opened), Some(opened))
        );
        assert_eq!(authority(b"another").open(&sid), None);
    }

    #[test]
    fn the_signing_key_is_not_the_secret_itself() {
        let secret = b"secret";
        let direct = SidAuthority {
            node: NodeId::generate(),
            mac: keyed(secret),
        };
        assert_eq!(authority(secret).open(&direct.mint().1), None);
    }

    #[test]
    fn keys_do_not_repeat_and_spread_evenly() {
        let keys: std::collections::HashSet<_> =
            (0..10_000).map(|_| SessionKey::generate()).collect();
        assert_eq!(keys.len(), 10_000);
        let low = keys.iter().filter(|key| key.share() < 0.25).count();
        assert!((2_200..2_800).contains(&low), "{low}");
        assert!(keys.iter().all(|key| (0.0..1.0).contains(&key.share())));
    }

    proptest! {
        #[test]
        fn what_no_node_minted_is_not_opened(text in "\\PC{0,64}|[A-Za-z0-9_-]{48}") {
            prop_assert_eq!(authority(b"secret").open(&text), None);
        }

        #[test]
        fn a_changed_character_shows(at in 0_usize..TEXT_LENGTH, with in "[A-Za-z0-9_-]") {
            let authority = authority(b"secret");
            let (_, sid) = authority.mint();
            let mut changed = sid.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(authority.open(&changed).is_some(), changed == sid);
        }

        #[test]
        fn every_minted_sid_opens(node: u128, secret: Vec<u8>) {
            let authority = SidAuthority::new(NodeId(Uuid::from_u128(node)), &secret);
            let (key, sid) = authority.mint();
            prop_assert_eq!(sid.len(), TEXT_LENGTH);
            prop_assert_eq!(authority.open(&sid), Some(Sid { node: authority.node(), key }));
        }
    }
}
