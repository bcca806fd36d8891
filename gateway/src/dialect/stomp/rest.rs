//! Where this dialect writes: the rests of MESSAGEs as WebSocket frames, one after the other.
//!
//! Owns what all of them have: from the line after the destination to the NUL. Must never know a subscription, or what a body says.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use confab_gateway_protocol::stomp::message_rest;
use confab_gateway_protocol::websocket;
use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::timestamp::Timestamp;
use serde::{Serialize, Serializer};

/// What tells a MESSAGE from others. The same wherever it is shown; of characters that no version escapes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Id {
    /// A message, as it was sent.
    Message(MessageId),
    /// A change of a conversation.
    Change(ConversationId, Seq),
    /// What somebody did that is no change.
    Passing(&'static str, UserId, Timestamp),
    /// How much was not read at a moment.
    Badge(ConversationId, Timestamp, i64),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => message.fmt(f),
            Self::Change(conversation, seq) => write!(f, "{conversation}.{}", seq.0),
            Self::Passing(what, user, at) => write!(f, "{what}.{user}.{}", millis(*at)),
            Self::Badge(conversation, at, unread) => {
                write!(f, "unread.{conversation}.{}.{unread}", millis(*at))
            }
        }
    }
}

/// A moment without the colons that it has in words.
fn millis(at: Timestamp) -> i128 {
    at.to_datetime().unix_timestamp_nanos() / 1_000_000
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Rests of MESSAGEs, in order.
#[derive(Debug, Default)]
pub(super) struct Rests(BytesMut);

impl Rests {
    /// Adds one, with this body.
    pub(super) fn add<T: Serialize>(&mut self, id: Id, body: &T) {
        let id = id.to_string();
        let mut written = Ok(());
        let frame = websocket::text_frame(|out| {
            written = message_rest(out, &id, "application/json", &[], |out| {
                serde_json::to_writer(out.writer(), body)
            });
        });
        match written {
            Ok(()) => self.0.extend_from_slice(frame.wire()),
            // Our own shapes have string keys and no failing serialisers; if one ever does, nothing half-written goes out.
            Err(error) => {
                tracing::error!(%error, "a message could not be encoded and was dropped");
            }
        }
    }

    /// All of them, as one chunk.
    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}
