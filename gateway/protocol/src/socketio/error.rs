//! Why a text is no Socket.IO packet.

use thiserror::Error;

/// Why a text is no Socket.IO packet.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// There is not even a type.
    #[error("the packet is empty")]
    Empty,
    /// The first character is no packet type of this version.
    #[error("unknown packet type {0:?}")]
    UnknownType(char),
    /// A binary packet without its number of attachments.
    #[error("the number of attachments is malformed")]
    MalformedAttachments,
    /// A binary packet with more attachments than are allowed.
    #[error("more than {max} attachments")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// The acknowledgement id does not fit 64 bits.
    #[error("the acknowledgement id is too large")]
    AckIdTooLarge,
    /// An acknowledgement id where there is nothing to acknowledge.
    #[error("a packet of this type has no acknowledgement id")]
    UnexpectedAckId,
    /// An acknowledgement that does not say of what.
    #[error("the acknowledgement has no id")]
    MissingAckId,
    /// The payload is no JSON.
    #[error("the payload is no JSON")]
    MalformedJson(#[source] serde_json::Error),
    /// An event or acknowledgement without a payload.
    #[error("the payload is missing")]
    MissingPayload,
    /// A disconnection with a payload.
    #[error("a packet of this type has no payload")]
    UnexpectedPayload,
    /// The payload is JSON, but not of the kind this packet type has.
    #[error("the payload is no {expected}")]
    WrongPayload {
        /// What it should have been.
        expected: &'static str,
    },
    /// An event's array does not begin with a string or a number.
    #[error("the event has no name")]
    MissingEventName,
    /// The event's name is one of those that never travel.
    #[error("the event's name is reserved")]
    ReservedEventName,
    /// A placeholder points to an attachment that the packet does not have.
    #[error("a placeholder points to no attachment")]
    IllegalPlaceholder,
    /// The payload of a packet with attachments is nested more deeply than it is searched for placeholders.
    #[error("the payload is nested more than {max} deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
}
