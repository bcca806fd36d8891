//! A run that breaks no promise, for tests to break.

use confab_shared::id::{ConversationId, UserId};

use crate::checker::{Case, Rule};
use crate::client::Kind;
use crate::log::{Change, ChangeKind, ClientLog, Link, Outcome, Seen, Sent, Sight, TOMBSTONE};
use crate::setup::{Person, Population, Room};
use crate::stamp::Stamp;
use crate::truth::{ShownUnread, StoredConversation, StoredMember, StoredMessage, Truth};

pub(super) const MS: u64 = 1_000_000;

/// A run of one conversation and three clients that all behave.
pub(super) struct Run {
    pub(super) population: Population,
    pub(super) logs: Vec<ClientLog>,
    pub(super) truth: Truth,
    pub(super) shown: Vec<ShownUnread>,
}

impl Run {
    /// Clients 0 and 1 sent in turn, `messages` in all, one after the other; everybody saw everything; client 2 has read
    /// all but the last one.
    pub(super) fn good(messages: u32) -> Self {
        let users: Vec<Person> = (0..3)
            .map(|_| Person {
                id: UserId::generate(),
                token: String::new(),
            })
            .collect();
        let room = Room {
            id: ConversationId::generate(),
            members: vec![0, 1, 2],
        };
        let mut logs = vec![ClientLog::default(); 3];
        for (client, log) in logs.iter_mut().enumerate() {
            log.connections.push(link(&format!("{client}")));
        }
        let mut stored = StoredConversation {
            last_seq: 1,
            ..StoredConversation::default()
        };
        for number in 0..messages {
            let client = number % 2;
            let (id, seq, at) = (
                100 + i64::from(number),
                2 + number,
                u64::from(number) * 10 * MS,
            );
            let sent = Sent {
                conversation: 0,
                at,
                attempts: 1,
                notices: 1,
                version: 0,
                outcome: Outcome::Done {
                    value: id,
                    at: at + 5 * MS,
                },
            };
            let sender = &mut logs[client as usize];
            sender.sends.push(sent);
            let stamp = Stamp {
                client,
                send: number / 2,
                version: 0,
                at,
            };
            stored.messages.push(StoredMessage {
                id,
                seq: i64::from(seq),
                change_seq: i64::from(seq),
                ordinal: i64::from(number) + 1,
                sender: users[client as usize].id,
                stamp: Some(stamp),
                deleted: false,
            });
            for log in &mut logs {
                log.seen.push(message(id, seq));
            }
            (stored.last_seq, stored.message_count) = (i64::from(seq), i64::from(number) + 1);
        }
        let mut run = Self {
            population: Population::new(users, vec![room]),
            logs,
            truth: Truth {
                conversations: vec![stored],
            },
            shown: Vec::new(),
        };
        let total = i64::from(messages);
        run.member(0, total - 1, 1);
        run.member(1, total, 0);
        run.member(2, total - 1, 1);
        run.read(2, 100 + total - 2, i64::from(messages) * 10);
        run
    }

    fn member(&mut self, client: u32, read_count: i64, unread: i64) {
        let user = self.population.users[client as usize].id;
        let conversation = self.population.rooms[0].id;
        self.stored().members.push(StoredMember {
            user,
            read_count,
            read_seq: 0,
            read_message: None,
            unread,
        });
        self.shown.push(ShownUnread {
            client,
            conversation,
            unread,
        });
    }

    /// A reading, confirmed, stored and shown to everybody.
    fn read(&mut self, client: u32, message: i64, ms: i64) {
        let at = u64::try_from(ms).unwrap() * MS;
        let outcome = Outcome::Done {
            value: (),
            at: at + MS,
        };
        self.logs[client as usize].changes.push(Change {
            conversation: 0,
            message,
            kind: ChangeKind::Read,
            at,
            outcome,
        });
        let stored = self.stored();
        stored.last_seq += 1;
        let seq = stored.last_seq;
        let member = &mut stored.members[client as usize];
        (member.read_seq, member.read_message) = (seq, Some(message));
        for log in &mut self.logs {
            log.seen.push(Seen {
                place: client,
                sight: Sight::Read,
                ..message_seen(message)
            });
        }
    }

    /// An edit of the first message of client 0, likewise.
    pub(super) fn edit(&mut self) {
        let log = &mut self.logs[0];
        log.sends[0].version = 1;
        let outcome = Outcome::Done {
            value: (),
            at: 901 * MS,
        };
        log.changes.push(Change {
            conversation: 0,
            message: 100,
            kind: ChangeKind::Edit(1),
            at: 900 * MS,
            outcome,
        });
        let stored = self.stored();
        stored.last_seq += 1;
        stored.messages[0].change_seq = stored.last_seq;
        stored.messages[0].stamp.as_mut().unwrap().version = 1;
        for log in &mut self.logs {
            log.seen.push(Seen {
                sight: Sight::Edited,
                version: 1,
                ..message_seen(100)
            });
        }
    }

    /// A deletion of the same message, likewise.
    pub(super) fn delete(&mut self) {
        let outcome = Outcome::Done {
            value: (),
            at: 951 * MS,
        };
        let change = Change {
            conversation: 0,
            message: 100,
            kind: ChangeKind::Delete,
            at: 950 * MS,
            outcome,
        };
        self.logs[0].changes.push(change);
        let stored = self.stored();
        stored.last_seq += 1;
        let row = &mut stored.messages[0];
        (row.change_seq, row.stamp, row.deleted) = (stored.last_seq, None, true);
        for log in &mut self.logs {
            log.seen.push(Seen {
                sight: Sight::Deleted,
                version: TOMBSTONE,
                ..message_seen(100)
            });
        }
    }

    pub(super) fn stored(&mut self) -> &mut StoredConversation {
        &mut self.truth.conversations[0]
    }

    pub(super) fn broken(&self) -> Vec<Rule> {
        let case = Case {
            population: &self.population,
            logs: &self.logs,
            truth: &self.truth,
            shown: &self.shown,
        };
        let report = case.check();
        assert_eq!(report.is_clean(), report.total() == 0);
        report.counts().keys().copied().collect()
    }
}

/// A connection from the beginning to the end, with ids of its own.
pub(super) fn link(ids: &str) -> Link {
    Link {
        gateway: 0,
        kind: Kind::Polling,
        sid: format!("sid {ids}"),
        pid: Some(format!("pid {ids}")),
        recovered: false,
        opened: 0,
        closed: None,
    }
}

fn message_seen(message: i64) -> Seen {
    Seen {
        message,
        place: 0,
        conversation: 0,
        version: 0,
        connection: 0,
        sight: Sight::Message,
    }
}

pub(super) fn message(id: i64, seq: u32) -> Seen {
    Seen {
        place: seq,
        ..message_seen(id)
    }
}
