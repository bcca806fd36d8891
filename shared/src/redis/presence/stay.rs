//! Under what name a node notes who is present.

use std::fmt;
use std::str::FromStr;

use crate::id::{MalformedId, NodeId};

/// A node's stay among those by which somebody may be present: what it notes there is good while the lease of its stay is. One that has lapsed
/// is over for good; a node that lives on begins another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stay {
    /// Whose.
    pub node: NodeId,
    /// Which of that node's.
    pub turn: u32,
}

impl Stay {
    /// A node's first one.
    pub fn first(node: NodeId) -> Self {
        Self { node, turn: 0 }
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        let turn = self.turn.wrapping_add(1);
        Self { turn, ..self }
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.turn)
    }
}

impl FromStr for Stay {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let (node, turn) = text.split_once('.').unwrap_or((text, ""));
        let node: NodeId = node.parse()?;
        match turn.parse() {
            Ok(turn) => Ok(Self { node, turn }),
            // The same complaint as of a node's id that is none.
            Err(_) => turn.parse::<NodeId>().map(Self::first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stay_survives_its_journey() {
        let stay = Stay::first(NodeId::generate()).next();
        assert_eq!(stay.to_string().parse(), Ok(stay));
        for bad in [
            "",
            ".",
            "x.1",
            &stay.node.to_string(),
            &format!("{}.", stay.node),
        ] {
            assert!(bad.parse::<Stay>().is_err(), "{bad}");
        }
    }
}
