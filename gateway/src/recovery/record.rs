//! What has to be known of a socket to recover it anywhere, as it is kept in Redis.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use confab_shared::id::{ConversationId, NodeId, Seq};

use crate::dialect::Called;
use crate::hub::offset::Offset;

/// What the name of a room's field begins with.
const ROOM: &str = "r:";
/// What the value of a room's field ends with where the socket calls it by its slug.
const BY_SLUG: &str = "s";

/// A socket's record. The user and the namespace are in it too; the script that hands it over compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its public id.
    pub sid: String,
    /// The node that has it, or had it last.
    pub node: NodeId,
    /// How often it has changed hands.
    pub turn: u64,
    /// Other nodes that may still have something of the socket.
    pub former: Vec<NodeId>,
    /// The dialect it speaks, if that is settled.
    pub dialect: Option<String>,
    /// Everything up to here is known to have reached the client.
    pub seen: Offset,
    /// The rooms it has entered.
    pub rooms: BTreeMap<ConversationId, EnteredRoom>,
}

/// A room that a socket has entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnteredRoom {
    /// The last change before that.
    pub floor: Seq,
    /// What the socket calls it.
    pub called: Called,
}

impl fmt::Display for EnteredRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.floor.fmt(f)?;
        match self.called {
            Called::ById => Ok(()),
            Called::BySlug => f.write_str(BY_SLUG),
        }
    }
}

impl FromStr for EnteredRoom {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (floor, called) = match text.strip_suffix(BY_SLUG) {
            Some(floor) => (floor, Called::BySlug),
            None => (text, Called::ById),
        };
        let floor = Seq(floor.parse()?);
        Ok(Self { floor, called })
    }
}

impl Record {
    /// Reads what HGETALL gives: names and values in turn. None if something essential is missing.
    pub fn parse(fields: &[String]) -> Option<Self> {
        let (mut sid, mut node, mut dialect, mut seen) = (None, None, None, None);
        let (mut turn, mut former, mut rooms) = (0, Vec::new(), BTreeMap::new());
        for field in fields.chunks_exact(2) {
            let (name, value) = (field[0].as_str(), &field[1]);
            match name {
                "sid" => sid = Some(value.clone()),
                "node" => node = value.parse().ok(),
                "turn" => turn = value.parse().ok()?,
                "former" => {
                    let nodes = value.split_whitespace().map(str::parse);
                    former = nodes.collect::<Result<_, _>>().ok()?;
                }
                "dialect" => dialect = Some(value.clone()),
                "seen" => seen = value.parse().ok(),
                _ => {
                    if let Some(room) = name.strip_prefix(ROOM) {
                        rooms.insert(room.parse().ok()?, value.parse().ok()?);
                    }
                }
            }
        }
        Some(Self {
            sid: sid?,
            node: node?,
            turn,
            former,
            dialect,
            seen: seen?,
            rooms,
        })
    }

    /// The nodes that may have something of the socket.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        std::iter::once(self.node).chain(self.former.iter().copied())
    }

    /// How often it has changed hands once it has again.
    pub fn next_turn(&self) -> u64 {
        self.turn.saturating_add(1)
    }

    /// The name of a room's field.
    pub fn room_field(conversation: ConversationId) -> String {
        format!("{ROOM}{conversation}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_whole_or_not_at_all() {
        let (room, node) = (ConversationId::generate(), NodeId::generate());
        let former = [NodeId::generate(), NodeId::generate()];
        let fields = |skip: &str| -> Vec<String> {
            [
                ("user", "u".to_owned()),
                ("sid", "s".to_owned()),
                ("node", node.to_string()),
                ("turn", "3".to_owned()),
                ("former", format!(" {} {}", former[0], former[1])),
                ("seen", "5-0".to_owned()),
                (&Record::room_field(room), "7s".to_owned()),
            ]
            .into_iter()
            .filter(|(name, _)| *name != skip)
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
        };
        let record = Record::parse(&fields("")).unwrap();
        let entered = EnteredRoom {
            floor: Seq(7),
            called: Called::BySlug,
        };
        assert_eq!(record.rooms, [(room, entered)].into());
        assert_eq!(entered.to_string(), "7s");
        assert_eq!((record.turn, record.former.as_slice()), (3, &former[..]));
        assert_eq!((record.node, record.dialect), (node, None));
        let fresh = Record::parse(&fields("former")).unwrap();
        assert_eq!(fresh.nodes().collect::<Vec<_>>(), [node]);
        for essential in ["sid", "node", "seen"] {
            assert_eq!(Record::parse(&fields(essential)), None, "{essential}");
        }
    }
}
