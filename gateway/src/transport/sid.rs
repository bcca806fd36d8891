//! Session ids: which node owns a session, in a form that clients cannot make up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_shared::id::NodeId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const NODE: usize = 16;
const KEY: usize = 8;
const TAG: usize = 12;
const LENGTH: usize = NODE + KEY + TAG;

/// A session's key in its owner's table: random, so that nobody meets another's by counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(u64);

/// What a sid says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    /// The node that owns the session.
    pub node: NodeId,
    /// The session there.
    pub key: SessionKey,
}

/// Mints and opens session ids.
#[derive(Clone)]
pub struct SidAuthority {
    node: NodeId,
    secret: [u8; 32],
}

impl std::fmt::Debug for SidAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SidAuthority")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl SidAuthority {
    /// An authority for the sessions of `node`. The secret is the deployment's.
    pub fn new(node: NodeId, secret: &[u8]) -> Self {
        Self {
            node,
            secret: Sha256::digest(secret).into(),
        }
    }

    /// The node whose sessions it names.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// A new session's key and its sid.
    pub fn mint(&self) -> (SessionKey, String) {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let key = SessionKey(high ^ low.rotate_left(32));
        let mut bytes = [0; LENGTH];
        bytes[..NODE].copy_from_slice(self.node.0.as_bytes());
        bytes[NODE..NODE + KEY].copy_from_slice(&key.0.to_be_bytes());
        let tag = self.tag(&bytes[..NODE + KEY]);
        bytes[NODE + KEY..].copy_from_slice(&tag);
        (key, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a sid says, if a node of this deployment minted it.
    pub fn open(&self, sid: &str) -> Option<Sid> {
        let mut bytes = [0; LENGTH];
        // A sid of another length or alphabet is malformed, and why is of no interest.
        let Ok(LENGTH) = URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes) else {
            return None;
        };
        let (signed, tag) = bytes.split_at(NODE + KEY);
        let (node, key) = signed.split_first_chunk()?;
        (self.tag(signed) == tag).then_some(Sid {
            node: NodeId(Uuid::from_bytes(*node)),
            key: SessionKey(u64::from_be_bytes(*key.first_chunk()?)),
        })
    }

    fn tag(&self, signed: &[u8]) -> [u8; TAG] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(signed);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&hash.finalize()[..TAG]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_minted_opens() {
        let authority = SidAuthority::new(NodeId::generate(), b"secret");
        let (key, sid) = authority.mint();
        let node = authority.node();
        assert_eq!(authority.open(&sid), Some(Sid { node, key }));
        let stranger = SidAuthority::new(node, b"another");
        assert_eq!(authority.open(&stranger.mint().1), None);
        assert_eq!(authority.open("nobody"), None);
        assert_eq!(authority.open(""), None);
    }
}
