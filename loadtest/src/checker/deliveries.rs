//! What was delivered: everything, once, in order, and nothing else.

use std::collections::{BTreeSet, HashMap};

use super::Case;
use super::index::Index;
use super::report::{Report, Rule};
use crate::log::{ClientLog, Seen, Sight};
use crate::truth::StoredMessage;

pub(super) fn check(case: &Case<'_>, index: &Index, report: &mut Report) {
    for (client, log) in (0..).zip(case.logs) {
        for stray in &log.strays {
            report.add(Rule::Understood, || {
                format!("client {client} received: {stray}")
            });
        }
        let mut reader = Reader::new(case, index, client);
        for seen in log.seen.iter().filter(|seen| seen.sight == Sight::Message) {
            reader.delivered(seen, report);
        }
        reader.histories(log, report);
        reader.finish(log, report);
    }
}

/// What one client has of its conversations.
struct Reader<'a> {
    case: &'a Case<'a>,
    index: &'a Index,
    client: u32,
    rooms: HashMap<u32, Coverage<'a>>,
}

struct Coverage<'a> {
    rows: &'a [StoredMessage],
    /// By position: whether the client has it, by whichever way.
    has: Vec<bool>,
    connection: u16,
    /// The first position delivered on the present connection, and the last.
    first: usize,
    last: Option<usize>,
    /// Positions passed over on the present connection.
    skipped: BTreeSet<usize>,
}

impl<'a> Reader<'a> {
    fn new(case: &'a Case<'a>, index: &'a Index, client: u32) -> Self {
        let coverage = |conversation| {
            let rows = case
                .truth
                .conversation(conversation)
                .map_or(&[][..], |stored| &stored.messages);
            let has = vec![false; rows.len()];
            let skipped = BTreeSet::new();
            (
                conversation,
                Coverage {
                    rows,
                    has,
                    connection: 0,
                    first: 0,
                    last: None,
                    skipped,
                },
            )
        };
        Self {
            case,
            index,
            client,
            rooms: case.population.rooms_of(client).map(coverage).collect(),
        }
    }

    fn delivered(&mut self, seen: &Seen, report: &mut Report) {
        let client = self.client;
        // Events of conversations that the client is no member of are not logged but kept as strays.
        let Some(room) = self.rooms.get_mut(&seen.conversation) else {
            return;
        };
        if room.connection != seen.connection {
            room.gaps(client, seen.conversation, report);
            room.connection = seen.connection;
            room.last = None;
        }
        let is = |row: &StoredMessage| row.id == seen.message && row.seq == i64::from(seen.place);
        let next = room.last.map(|last| last + 1);
        if let Some(next) = next
            && room.rows.get(next).is_some_and(is)
        {
            room.last = Some(next);
            room.has[next] = true;
            return;
        }
        let here = || {
            format!(
                "client {client}, conversation {}, connection {}",
                seen.conversation, seen.connection
            )
        };
        let position = match self.index.row(seen.message) {
            Some((conversation, position))
                if conversation == seen.conversation && room.rows.get(position).is_some_and(is) =>
            {
                position
            }
            Some((conversation, position)) => {
                let row = self
                    .case
                    .truth
                    .conversation(conversation)
                    .and_then(|stored| stored.messages.get(position));
                report.add(Rule::OnlyStored, || {
                    format!("{}: received {seen:?}, and stored is {row:?} in conversation {conversation}", here())
                });
                return;
            }
            None => {
                report.add(Rule::OnlyStored, || {
                    format!(
                        "{}: received {seen:?}, and no such message is stored",
                        here()
                    )
                });
                return;
            }
        };
        room.has[position] = true;
        match room.last {
            None => {
                room.first = position;
                room.last = Some(position);
            }
            Some(last) if position > last => {
                room.skipped.extend(last + 1..position);
                room.last = Some(position);
            }
            Some(last) if position < room.first || room.skipped.remove(&position) => {
                let later = room.rows[last].seq;
                report.add(Rule::DeliveredInOrder, || {
                    format!(
                        "{}: message {} with seq {} came after seq {later}",
                        here(),
                        seen.message,
                        seen.place
                    )
                });
            }
            Some(_) => report.add(Rule::DeliveredOnce, || {
                format!(
                    "{}: message {} with seq {} came again",
                    here(),
                    seen.message,
                    seen.place
                )
            }),
        }
    }

    fn histories(&mut self, log: &ClientLog, report: &mut Report) {
        let client = self.client;
        for history in &log.histories {
            let Some(room) = self.rooms.get_mut(&history.conversation) else {
                continue;
            };
            for pair in history.messages.windows(2) {
                if pair[0].1 <= pair[1].1 {
                    report.add(Rule::DeliveredInOrder, || {
                        format!(
                            "client {client}, conversation {}: a history has {pair:?}",
                            history.conversation
                        )
                    });
                }
            }
            for &(message, seq) in &history.messages {
                match self.index.row(message) {
                    Some((conversation, position))
                        if conversation == history.conversation && room.rows[position].seq == i64::from(seq) =>
                    {
                        room.has[position] = true;
                    }
                    found => report.add(Rule::OnlyStored, || {
                        format!(
                            "client {client}, conversation {}: a history has message {message} with seq {seq}; stored: \
                             {found:?}",
                            history.conversation
                        )
                    }),
                }
            }
        }
    }

    fn finish(mut self, log: &ClientLog, report: &mut Report) {
        let client = self.client;
        if !log.is_connected() {
            report.add(Rule::Connected, || {
                format!("client {client}: its connections are {:?}", log.connections)
            });
        }
        for (conversation, room) in &mut self.rooms {
            room.gaps(client, *conversation, report);
            // Who is not back has what is known of it said above.
            let missing: Vec<i64> = room
                .rows
                .iter()
                .zip(&room.has)
                .filter(|(_, has)| !**has)
                .map(|(row, _)| row.seq)
                .collect();
            if log.is_connected() && !missing.is_empty() {
                report.add(Rule::Complete, || {
                    let way = if log.was_always_connected() { "connected all the time" } else { "reconnected" };
                    let stored = room.rows.len();
                    let (first, last) = (missing.first(), missing.last());
                    format!(
                        "client {client}, conversation {conversation}, {way}: {} of {stored} messages never came, seq \
                         {first:?} to {last:?} (connections: {:?})",
                        missing.len(),
                        log.connections
                    )
                });
            }
        }
    }
}

impl Coverage<'_> {
    /// What was passed over on a connection and never came on it.
    fn gaps(&mut self, client: u32, conversation: u32, report: &mut Report) {
        if let (Some(first), Some(last)) = (self.skipped.first(), self.skipped.last()) {
            report.add(Rule::NoGap, || {
                format!(
                    "client {client}, conversation {conversation}, connection {}: {} messages were passed over, seq {} to {}",
                    self.connection,
                    self.skipped.len(),
                    self.rows[*first].seq,
                    self.rows[*last].seq
                )
            });
        }
        self.skipped.clear();
    }
}
