//! What a client asks for, in the words of the `conversations` dialect.

use super::{Asked, Member};
use crate::client::Connection;
use crate::index::at;
use crate::log::{Change, ChangeKind, Outcome, Sent};
use crate::stamp::Stamp;

impl Member {
    /// Sends a new message to one of its conversations.
    pub fn send(&mut self, connection: &mut Connection, place: usize, now: u64) {
        let conversation = self.places[place].conversation;
        let sent = Sent {
            conversation,
            at: now,
            attempts: 0,
            notices: 0,
            version: 0,
            outcome: Outcome::Pending,
        };
        self.log.sends.push(sent);
        self.resend(connection, self.log.sends.len() - 1);
    }

    /// Sends a message again, with the same temporary id and the same text. One that is confirmed stays so.
    pub fn resend(&mut self, connection: &mut Connection, send: usize) {
        let record = &mut self.log.sends[send];
        record.attempts = record.attempts.saturating_add(1);
        if !record.is_done() {
            record.outcome = Outcome::Pending;
        }
        let conversation = record.conversation;
        let content = self.stamp(send, 0).content();
        let Some(place) = self
            .places
            .iter()
            .find(|place| place.conversation == conversation)
        else {
            return;
        };
        let id = String::from_utf8_lossy(&place.id);
        let payload =
            format!(r#"{{"conversationId":"{id}","content":"{content}","tempId":"{send}"}}"#);
        self.ask(
            connection,
            "sendMessage",
            payload.as_bytes(),
            Asked::Send(send),
        );
    }

    /// Gives one of its stored messages its next version. Does nothing while the message is not known to be stored.
    pub fn edit(&mut self, connection: &mut Connection, send: usize, now: u64) {
        let record = &mut self.log.sends[send];
        let Outcome::Done { value: message, .. } = record.outcome else {
            return;
        };
        record.version += 1;
        let (conversation, version) = (record.conversation, record.version);
        let more = format!(r#","content":"{}""#, self.stamp(send, version).content());
        self.change(
            connection,
            "editMessage",
            Change::new(conversation, message, ChangeKind::Edit(version), now),
            &more,
        );
    }

    /// Deletes one of its stored messages. Does nothing while the message is not known to be stored.
    pub fn delete(&mut self, connection: &mut Connection, send: usize, now: u64) {
        let Sent {
            conversation,
            outcome: Outcome::Done { value: message, .. },
            ..
        } = self.log.sends[send]
        else {
            return;
        };
        self.change(
            connection,
            "deleteMessage",
            Change::new(conversation, message, ChangeKind::Delete, now),
            "",
        );
    }

    /// Marks one of its conversations read up to a message.
    pub fn read(&mut self, connection: &mut Connection, place: usize, message: i64, now: u64) {
        let change = Change::new(
            self.places[place].conversation,
            message,
            ChangeKind::Read,
            now,
        );
        self.change(connection, "markAsRead", change, "");
    }

    /// Marks one of its conversations read.
    pub fn read_all(&mut self, connection: &mut Connection, place: usize, now: u64) {
        let change = Change::new(self.places[place].conversation, 0, ChangeKind::ReadAll, now);
        self.change(connection, "markConversationAsRead", change, "");
    }

    fn change(&mut self, connection: &mut Connection, event: &str, change: Change, more: &str) {
        let Some(room) = self.population.rooms.get(at(change.conversation)) else {
            return;
        };
        let message = match change.message {
            0 => String::new(),
            message => format!(r#","messageId":"{message}""#),
        };
        let payload = format!(r#"{{"conversationId":"{}"{message}{more}}}"#, room.id);
        self.log.changes.push(change);
        self.ask(
            connection,
            event,
            payload.as_bytes(),
            Asked::Change(self.log.changes.len() - 1),
        );
    }

    pub(super) fn ask(
        &mut self,
        connection: &mut Connection,
        event: &str,
        payload: &[u8],
        asked: Asked,
    ) {
        connection.emit(event, self.next_ack, payload);
        self.asked.insert(self.next_ack, asked);
        self.instruments.asked();
        self.next_ack = self.next_ack.wrapping_add(1);
    }

    fn stamp(&self, send: usize, version: u16) -> Stamp {
        let number = u32::try_from(send).unwrap_or(u32::MAX);
        Stamp {
            client: self.client,
            send: number,
            version,
            at: self.log.sends[send].at,
        }
    }
}

impl Change {
    fn new(conversation: u32, message: i64, kind: ChangeKind, at: u64) -> Self {
        Self {
            conversation,
            message,
            kind,
            at,
            outcome: Outcome::Pending,
        }
    }
}
