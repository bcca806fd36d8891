//! What has to be known of a socket to recover it anywhere, as it is kept in Redis.

use std::collections::BTreeMap;

use confab_shared::id::{ConversationId, NodeId, Seq};

use crate::hub::offset::Offset;

/// What the name of a room's field begins with.
const ROOM: &str = "r:";

/// A socket's record. The user and the namespace are in it too; the script that hands it over compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its public id.
    pub sid: String,
    /// The node that has it, or had it last.
    pub node: NodeId,
    /// The dialect it speaks, if that is settled.
    pub dialect: Option<String>,
    /// Everything up to here is known to have reached the client.
    pub seen: Offset,
    /// The rooms it has joined, each with the last change before its joining.
    pub rooms: BTreeMap<ConversationId, Seq>,
}

impl Record {
    /// Reads what HGETALL gives: names and values in turn. None if something essential is missing.
    pub fn parse(fields: &[String]) -> Option<Self> {
        let (mut sid, mut node, mut dialect, mut seen) = (None, None, None, None);
        let mut rooms = BTreeMap::new();
        for field in fields.chunks_exact(2) {
            let (name, value) = (field[0].as_str(), &field[1]);
            match name {
                "sid" => sid = Some(value.clone()),
                "node" => node = value.parse().ok(),
                "dialect" => dialect = Some(value.clone()),
                "seen" => seen = value.parse().ok(),
                _ => {
                    if let Some(room) = name.strip_prefix(ROOM) {
                        rooms.insert(room.parse().ok()?, Seq(value.parse().ok()?));
                    }
                }
            }
        }
        Some(Self {
            sid: sid?,
            node: node?,
            dialect,
            seen: seen?,
            rooms,
        })
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
        let fields = |skip: &str| -> Vec<String> {
            [
                ("user", "u".to_owned()),
                ("sid", "s".to_owned()),
                ("node", node.to_string()),
                ("seen", "5-0".to_owned()),
                (&Record::room_field(room), "7".to_owned()),
            ]
            .into_iter()
            .filter(|(name, _)| *name != skip)
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
        };
        let record = Record::parse(&fields("")).unwrap();
        assert_eq!(record.rooms, [(room, Seq(7))].into());
        assert_eq!((record.node, record.dialect), (node, None));
        for essential in ["sid", "node", "seen"] {
            assert_eq!(Record::parse(&fields(essential)), None, "{essential}");
        }
    }
}
