//! What was delivered: everything, once, in order, and nothing else.

use std::collections::{BTreeMap, HashMap};

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
        let mut reader = Reader::new(case, index, client, log.sessions());
        for (nth, seen) in log.seen.iter().enumerate() {
            if seen.sight == Sight::Message {
                reader.delivered(seen, &log.seen[..nth], report);
            }
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
    /// By connection.
    sessions: Vec<u16>,
    rooms: HashMap<u32, Coverage<'a>>,
}

struct Coverage<'a> {
    rows: &'a [StoredMessage],
    /// By position: whether the client has it, by whichever way.
    has: Vec<bool>,
    session: u16,
    connection: u16,
    /// The first position delivered in the present session, and the last.
    first: usize,
    last: Option<usize>,
    /// The last position delivered before the session was last recovered.
    before_gap: Option<usize>,
    /// Positions passed over in the present session, and whether a recovered gap lies there.
    skipped: BTreeMap<usize, bool>,
}

impl<'a> Reader<'a> {
    fn new(case: &'a Case<'a>, index: &'a Index, client: u32, sessions: Vec<u16>) -> Self {
        let coverage = |conversation| {
            let rows = case
                .truth
                .conversation(conversation)
                .map_or(&[][..], |stored| &stored.messages);
            let has = vec![false; rows.len()];
            let skipped = BTreeMap::new();
            (
                conversation,
                Coverage {
                    rows,
                    has,
                    session: 0,
                    connection: 0,
                    first: 0,
                    last: None,
                    before_gap: None,
                    skipped,
                },
            )
        };
        Self {
            case,
            index,
            client,
            sessions,
            rooms: case.population.rooms_of(client).map(coverage).collect(),
        }
    }

    fn delivered(&mut self, seen: &Seen, before: &[Seen], report: &mut Report) {
        let client = self.client;
        // Events of conversations that the client is no member of are not logged but kept as strays.
        let Some(room) = self.rooms.get_mut(&seen.conversation) else {
            return;
        };
        let session = self.sessions.get(usize::from(seen.connection)).copied();
        let over_gap = room.turns_to(
            seen.connection,
            session.unwrap_or(seen.connection),
            || (client, seen.conversation),
            report,
        );
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
                room.skipped
                    .extend((last + 1..position).map(|passed| (passed, over_gap)));
                room.last = Some(position);
            }
            Some(last) if position < room.first || room.skipped.contains_key(&position) => {
                let later = room.rows[last].seq;
                let in_gap = room.skipped.remove(&position);
                let rule = if in_gap.unwrap_or(room.before_gap.is_some()) {
                    Rule::RecoveredInOrder
                } else {
                    Rule::DeliveredInOrder
                };
                report.add(rule, || {
                    format!(
                        "{}: message {} with seq {} came after seq {later}",
                        here(),
                        seen.message,
                        seen.place
                    )
                });
            }
            Some(_) => {
                let rule = if room.before_gap.is_some_and(|before| position <= before) {
                    Rule::RecoveredOnce
                } else {
                    Rule::DeliveredOnce
                };
                report.add(rule, || {
                    format!(
                        "{}: message {} with seq {} came again: {}",
                        here(),
                        seen.message,
                        seen.place,
                        circumstances(seen, before)
                    )
                });
            }
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
                    let way = if log.was_always_connected() {
                        "connected all the time"
                    } else if log.had_one_session() {
                        "always recovered"
                    } else {
                        "reconnected"
                    };
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

/// Where among what a client saw something stands that it has seen before.
fn circumstances(seen: &Seen, before: &[Seen]) -> String {
    let on_this = |other: &&Seen| other.connection == seen.connection;
    let Some((earlier, first)) = before
        .iter()
        .enumerate()
        .rev()
        .find(|(_, other)| (other.sight, other.message) == (seen.sight, seen.message))
    else {
        return "its first time is not known".into();
    };
    format!(
        "it is event {} of its connection, and was event {} of connection {}; between them came {} events, {} of this \
         conversation",
        before.iter().filter(on_this).count(),
        before[..earlier]
            .iter()
            .filter(|other| other.connection == first.connection)
            .count(),
        first.connection,
        before.len() - earlier - 1,
        before[earlier + 1..]
            .iter()
            .filter(|other| other.conversation == seen.conversation)
            .count()
    )
}

impl Coverage<'_> {
    /// The next delivery comes on this connection. Says whether there is a recovered gap between the last one and it.
    fn turns_to(
        &mut self,
        connection: u16,
        session: u16,
        whose: impl FnOnce() -> (u32, u32),
        report: &mut Report,
    ) -> bool {
        if self.connection == connection {
            return false;
        }
        let recovered = self.session == session;
        if recovered {
            self.before_gap = self.last;
        } else {
            let (client, conversation) = whose();
            self.gaps(client, conversation, report);
            (self.last, self.before_gap) = (None, None);
        }
        (self.connection, self.session) = (connection, session);
        recovered
    }

    /// What was passed over in a session and never came in it.
    fn gaps(&mut self, client: u32, conversation: u32, report: &mut Report) {
        for (over_gap, rule) in [(false, Rule::NoGap), (true, Rule::RecoveredComplete)] {
            let mut passed = self
                .skipped
                .iter()
                .filter(|(_, recovered)| **recovered == over_gap)
                .map(|(position, _)| self.rows[*position].seq);
            if let Some(first) = passed.next() {
                let count = 1 + passed.clone().count();
                let last = passed.next_back().unwrap_or(first);
                report.add(rule, || {
                    format!(
                        "client {client}, conversation {conversation}, connections {} to {}: {count} messages were passed \
                         over, seq {first} to {last}",
                        self.session, self.connection
                    )
                });
            }
        }
        self.skipped.clear();
    }
}
