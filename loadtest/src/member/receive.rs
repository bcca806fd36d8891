//! What a client receives: events are written down, acknowledgements settle what was asked for.
//!
//! Events are scanned, not parsed: this is where a generator spends its processor time.

use confab_shared::model::error::ErrorCode;
use serde::Deserialize;

use super::{Answer, Asked, Member};
use crate::client::Packet;
use crate::client::scan::Field;
use crate::log::{Outcome, Seen, Sight, TOMBSTONE};
use crate::stamp::Stamp;

/// How many unreadable events are kept as evidence.
const MAX_STRAYS: usize = 16;

#[derive(Debug)]
pub(super) struct Fields {
    id: Field,
    seq: Field,
    conversation: Field,
    content: Field,
    deleted: Field,
    message: Field,
    temp: Field,
    reader: Field,
    success: Field,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            id: Field::new("\"_id\":"),
            seq: Field::new("\"seq\":"),
            conversation: Field::new("\"conversationId\":"),
            content: Field::new("\"content\":\""),
            deleted: Field::new("\"isDeleted\":"),
            message: Field::new("\"messageId\":"),
            temp: Field::new("\"tempId\":"),
            reader: Field::new("\"readBy\":"),
            success: Field::new("\"success\":"),
        }
    }
}

impl Member {
    /// Takes one packet in, received at `now`.
    pub fn receive(&mut self, packet: &Packet<'_>, now: u64) -> Answer {
        match *packet {
            Packet::Event { name, body } => {
                self.recovery.saw(name, body);
                if self.event(name, body, now).is_none() {
                    let text = [name, b" ", &body[..body.len().min(500)]].concat();
                    self.stray(|| String::from_utf8_lossy(&text).into_owned());
                }
                Answer::None
            }
            Packet::Ack { id, body } => self.answered(id, body, now),
            Packet::Disconnected => {
                self.stray(|| "the end of the socket, though not of the session".into());
                Answer::None
            }
            Packet::Connected(_) | Packet::Refused(_) | Packet::Other => Answer::None,
        }
    }

    /// None for an event that cannot be read or is none of this client's.
    fn event(&mut self, name: &[u8], body: &[u8], now: u64) -> Option<()> {
        match name {
            b"newMessage" => {
                let (message, version, at) = self.shown_message(body)?;
                let seq = self.fields.seq.number(body)?;
                let place = self.place(body)?;
                self.places[place].sees(message, seq);
                if let Some(at) = at {
                    self.instruments.delivered(at, now);
                }
                self.saw(
                    place,
                    Sight::Message,
                    message,
                    u32::try_from(seq).ok()?,
                    version,
                );
            }
            b"messageUpdated" => {
                let (message, version, _) = self.shown_message(body)?;
                let place = self.place(body)?;
                self.saw(place, Sight::Edited, message, 0, version);
            }
            b"messageDeleted" => {
                let message = self.fields.message.quoted_number(body)?;
                let place = self.place(body)?;
                self.saw(place, Sight::Deleted, message, 0, TOMBSTONE);
            }
            b"messageRead" | b"conversationRead" => {
                let message = if name == b"messageRead" {
                    self.fields.message.quoted_number(body)?
                } else {
                    0
                };
                let reader = self
                    .population
                    .client_of(self.fields.reader.string(body)?)?;
                let place = self.place(body)?;
                self.saw(place, Sight::Read, message, reader, 0);
            }
            b"messageSent" => {
                let send = usize::try_from(self.fields.temp.quoted_number(body)?).ok()?;
                let record = self.log.sends.get_mut(send)?;
                record.notices = record.notices.saturating_add(1);
            }
            // A refusal is logged from its acknowledgement; the others say nothing of a conversation's messages.
            _ => {}
        }
        Some(())
    }

    /// A message's id, its version, and when it was sent, where its content says so.
    fn shown_message(&mut self, body: &[u8]) -> Option<(i64, u16, Option<u64>)> {
        let message = self.fields.id.quoted_number(body)?;
        match Stamp::read(self.fields.content.after(body)?) {
            Some(stamp) => Some((message, stamp.version, Some(stamp.at))),
            None if self.fields.deleted.after(body)?.starts_with(b"true") => {
                Some((message, TOMBSTONE, None))
            }
            None => None,
        }
    }

    fn place(&mut self, body: &[u8]) -> Option<usize> {
        let id = self.fields.conversation.string(body)?;
        if self
            .places
            .get(self.last_place)
            .is_none_or(|place| place.id != id)
        {
            self.last_place = self.places.iter().position(|place| place.id == id)?;
        }
        Some(self.last_place)
    }

    fn saw(&mut self, place: usize, sight: Sight, message: i64, number: u32, version: u16) {
        let conversation = self.places[place].conversation;
        let connection = self.connection();
        self.log.seen.push(Seen {
            message,
            place: number,
            conversation,
            version,
            connection,
            sight,
        });
    }

    pub(super) fn connection(&self) -> u16 {
        u16::try_from(self.log.connections.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    fn answered(&mut self, id: u32, body: &[u8], now: u64) -> Answer {
        let Some(asked) = self.asked.remove(&id) else {
            self.stray(|| {
                format!(
                    "an acknowledgement of nothing: {id} {}",
                    String::from_utf8_lossy(body)
                )
            });
            return Answer::None;
        };
        self.instruments.settled(1);
        let success = self
            .fields
            .success
            .after(body)
            .is_some_and(|rest| rest.starts_with(b"true"));
        let refusal = if success { None } else { Some(refusal(body)) };
        match asked {
            Asked::Join(place) => {
                self.places[place].joined = success;
                if success {
                    Answer::Joined
                } else {
                    Answer::NotJoined
                }
            }
            Asked::Send(send) => {
                let message = self.fields.message.quoted_number(body);
                let answer = refusal.map_or_else(|| message.ok_or(ErrorCode::Internal), Err);
                self.send_answered(send, answer, now)
            }
            Asked::Change(change) => {
                self.log.changes[change].outcome = match refusal {
                    None => Outcome::Done { value: (), at: now },
                    Some(code) if leaves_open(code) => Outcome::Unknown,
                    Some(code) => Outcome::Refused(code),
                };
                Answer::Settled
            }
        }
    }

    /// A message may be sent again although it is confirmed, or twice at once: then all its confirmations must be the same.
    fn send_answered(&mut self, send: usize, answer: Result<i64, ErrorCode>, now: u64) -> Answer {
        let record = &mut self.log.sends[send];
        match (record.outcome, answer) {
            (Outcome::Done { value, .. }, Ok(message)) if value == message => Answer::Stored(send),
            (Outcome::Done { .. }, Err(code)) if leaves_open(code) => Answer::Settled,
            (Outcome::Done { value, .. }, answer) => {
                self.stray(|| {
                    format!(
                        "send {send} was acknowledged as {value}, and then answered with {answer:?}"
                    )
                });
                Answer::Settled
            }
            (_, Ok(value)) => {
                record.outcome = Outcome::Done { value, at: now };
                self.instruments.acked(record.at, now);
                Answer::Stored(send)
            }
            (_, Err(code)) if leaves_open(code) => {
                record.outcome = Outcome::Unknown;
                Answer::Unsure(send)
            }
            (_, Err(code)) => {
                record.outcome = Outcome::Refused(code);
                Answer::Settled
            }
        }
    }

    /// Keeps evidence of something that makes no sense.
    fn stray(&mut self, what: impl FnOnce() -> String) {
        if self.log.strays.len() < MAX_STRAYS {
            self.log.strays.push(what());
        }
    }
}

/// Whether a refusal with this code leaves it open if what was asked for will happen or has happened.
fn leaves_open(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Timeout | ErrorCode::Overloaded)
}

/// The code of a refusal; one that cannot be read counts as a fault of the server's.
fn refusal(body: &[u8]) -> ErrorCode {
    #[derive(Deserialize)]
    struct Refused {
        error: Why,
    }
    #[derive(Deserialize)]
    struct Why {
        code: ErrorCode,
    }
    serde_json::from_slice::<[Refused; 1]>(body)
        .map_or(ErrorCode::Internal, |[refused]| refused.error.code)
}
