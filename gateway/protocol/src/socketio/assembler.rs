//! Puts packets with attachments together.
//!
//! Owns what has arrived of a packet whose attachments come in later messages, within limits. It must never know what
//! the transport is, nor close anything: after an error the session is beyond repair and its owner ends it.

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

use super::decode::decode;
use super::error::DecodeError;
use super::packet::{Ack, Body, Event, Packet};
use crate::json::Args;

/// What one packet may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssemblerLimits {
    /// The most attachments.
    pub max_attachments: usize,
    /// The most bytes of all its attachments together. Each of them is a message of its own to the transport, so that
    /// the transport's limit does not bound what is kept here.
    pub max_attachment_bytes: usize,
}

/// Why a message cannot follow those before it.
#[derive(Debug, Error)]
pub enum AssemblerError {
    /// The text is no packet.
    #[error("malformed packet")]
    Malformed(#[from] DecodeError),
    /// A text message while attachments are missing.
    #[error("a text message where {missing} attachments are missing")]
    UnexpectedText {
        /// How many.
        missing: usize,
    },
    /// A binary message that belongs to no packet.
    #[error("a binary message that no packet announced")]
    UnexpectedBinary,
    /// The attachments are too large.
    #[error("attachments of more than {max} bytes")]
    AttachmentsTooLarge {
        /// The limit.
        max: usize,
    },
}

/// Takes a session's messages in their order and gives back packets when they are whole.
///
/// A packet without attachments passes through, borrowed; only those with attachments are kept.
#[derive(Debug)]
pub struct Assembler {
    limits: AssemblerLimits,
    pending: Option<Pending>,
}

/// A packet that waits for its attachments.
#[derive(Debug)]
struct Pending {
    head: Head,
    missing: usize,
    bytes: usize,
    attachments: Vec<Bytes>,
}

impl Assembler {
    /// An assembler that waits for a packet.
    pub fn new(limits: AssemblerLimits) -> Self {
        Self {
            limits,
            pending: None,
        }
    }

    /// Takes a text message. `None` means that its attachments are still to come.
    pub fn text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, AssemblerError> {
        if let Some(pending) = self.pending.take() {
            return Err(AssemblerError::UnexpectedText {
                missing: pending.missing,
            });
        }
        let packet = decode(text, self.limits.max_attachments)?;
        let missing = packet.attachments();
        let Some(head) = Head::of(&packet).filter(|_| missing > 0) else {
            return Ok(Some(packet));
        };
        self.pending = Some(Pending {
            head,
            missing,
            bytes: 0,
            attachments: Vec::with_capacity(missing),
        });
        Ok(None)
    }

    /// Takes a binary message, and gives the packet back if it was the last one missing.
    pub fn binary(&mut self, attachment: Bytes) -> Result<Option<AssembledPacket>, AssemblerError> {
        let mut pending = self
            .pending
            .take()
            .ok_or(AssemblerError::UnexpectedBinary)?;
        pending.bytes = pending.bytes.saturating_add(attachment.len());
        if pending.bytes > self.limits.max_attachment_bytes {
            return Err(AssemblerError::AttachmentsTooLarge {
                max: self.limits.max_attachment_bytes,
            });
        }
        pending.attachments.push(attachment);
        pending.missing = pending.missing.saturating_sub(1);
        if pending.missing > 0 {
            self.pending = Some(pending);
            return Ok(None);
        }
        Ok(Some(AssembledPacket {
            head: pending.head,
            attachments: pending.attachments,
        }))
    }

    /// Whether a packet is waiting for attachments.
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }
}

/// A packet together with its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssembledPacket {
    head: Head,
    attachments: Vec<Bytes>,
}

impl AssembledPacket {
    /// The packet, an event or an acknowledgement; placeholders stand where its attachments belong.
    pub fn packet(&self) -> Packet<'_> {
        self.head.packet(self.attachments.len())
    }

    /// The attachments, in the order that placeholders count them.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The attachments, in the order that placeholders count them.
    pub fn into_attachments(self) -> Vec<Bytes> {
        self.attachments
    }
}

/// The text part of a packet, copied out of the message it came in, since that is gone when the attachments arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    namespace: String,
    query: Option<String>,
    args: String,
    kind: HeadKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HeadKind {
    Event { name: String, ack_id: Option<u64> },
    Ack { id: u64 },
}

impl Head {
    /// `None` for packets that never have attachments.
    fn of(packet: &Packet<'_>) -> Option<Self> {
        let (args, kind) = match &packet.body {
            Body::Event(event) => (
                event.args,
                HeadKind::Event {
                    name: event.name.to_string(),
                    ack_id: event.ack_id,
                },
            ),
            Body::Ack(ack) => (ack.args, HeadKind::Ack { id: ack.id }),
            Body::Connect(_) | Body::Disconnect | Body::ConnectError(_) => return None,
        };
        let query = packet.query.map(str::to_owned);
        Some(Self {
            namespace: packet.namespace.to_owned(),
            query,
            args: args.as_str().to_owned(),
            kind,
        })
    }

    fn packet(&self, attachments: usize) -> Packet<'_> {
        let args = Args::trusted(&self.args);
        let body = match &self.kind {
            HeadKind::Event { name, ack_id } => Body::Event(Event {
                name: Cow::Borrowed(name),
                args,
                ack_id: *ack_id,
                attachments,
            }),
            HeadKind::Ack { id } => Body::Ack(Ack {
                id: *id,
                args,
                attachments,
            }),
        };
        Packet {
            namespace: &self.namespace,
            query: self.query.as_deref(),
            body,
        }
    }
}
