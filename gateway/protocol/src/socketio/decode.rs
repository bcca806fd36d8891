//! From the text of an Engine.IO message to a Socket.IO packet.
//!
//! Owns the grammar `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]` and what JSON each type may carry. It must
//! never change that JSON.

use std::borrow::Cow;

use super::error::DecodeError;
use super::packet::{Ack, Body, Event, Packet};
use super::{RESERVED_EVENT_NAMES, ROOT_NAMESPACE, placeholder};
use crate::json::{Args, Json};

/// As many digits as the largest id has.
const MAX_ACK_ID_DIGITS: usize = 20;

/// Decodes the packet in the text of an Engine.IO message.
///
/// A packet with attachments is only its first part: see [`Assembler`](super::Assembler). The length of `text` is
/// bounded by whoever received it.
pub fn decode(text: &str, max_attachments: usize) -> Result<Packet<'_>, DecodeError> {
    let mut chars = text.chars();
    let kind = Kind::of(chars.next().ok_or(DecodeError::Empty)?)?;
    let rest = chars.as_str();
    let (attachments, rest) = if kind.is_binary() {
        take_attachments(rest, max_attachments)?
    } else {
        (0, rest)
    };
    let (namespace, query, rest) = take_namespace(rest);
    let (ack_id, rest) = take_ack_id(rest)?;
    let payload = match rest {
        "" => None,
        json => Some(Json::check(json).map_err(DecodeError::MalformedJson)?),
    };
    if ack_id.is_some() && !kind.has_ack_id() {
        return Err(DecodeError::UnexpectedAckId);
    }
    if let (Some(payload), 1..) = (payload, attachments) {
        placeholder::check(payload, attachments)?;
    }
    let body = match kind {
        Kind::Connect => Body::Connect(payload.map(object).transpose()?),
        Kind::Disconnect if payload.is_some() => return Err(DecodeError::UnexpectedPayload),
        Kind::Disconnect => Body::Disconnect,
        Kind::Event | Kind::BinaryEvent => {
            let (name, args) = name_and_args(payload)?;
            Body::Event(Event {
                name,
                args,
                ack_id,
                attachments,
            })
        }
        Kind::Ack | Kind::BinaryAck => {
            let id = ack_id.ok_or(DecodeError::MissingAckId)?;
            Body::Ack(Ack {
                id,
                args: array(payload)?,
                attachments,
            })
        }
        Kind::ConnectError => Body::ConnectError(payload.map(object_or_string).transpose()?),
    };
    Ok(Packet {
        namespace,
        query,
        body,
    })
}

/// The packet types, in the order of their digits.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

impl Kind {
    fn of(digit: char) -> Result<Self, DecodeError> {
        match digit {
            '0' => Ok(Self::Connect),
            '1' => Ok(Self::Disconnect),
            '2' => Ok(Self::Event),
            '3' => Ok(Self::Ack),
            '4' => Ok(Self::ConnectError),
            '5' => Ok(Self::BinaryEvent),
            '6' => Ok(Self::BinaryAck),
            unknown => Err(DecodeError::UnknownType(unknown)),
        }
    }

    fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }

    fn has_ack_id(self) -> bool {
        matches!(
            self,
            Self::Event | Self::Ack | Self::BinaryEvent | Self::BinaryAck
        )
    }
}

fn take_attachments(text: &str, max: usize) -> Result<(usize, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest
        .strip_prefix('-')
        .ok_or(DecodeError::MalformedAttachments)?;
    if digits.is_empty() {
        return Err(DecodeError::MalformedAttachments);
    }
    // Only digits, so what does not parse is too large.
    match digits.parse::<usize>() {
        Ok(count) if count <= max => Ok((count, rest)),
        Ok(_) | Err(_) => Err(DecodeError::TooManyAttachments { max }),
    }
}

/// The comma that ends a namespace may be missing at the packet's end.
fn take_namespace(text: &str) -> (&str, Option<&str>, &str) {
    if !text.starts_with('/') {
        return (ROOT_NAMESPACE, None, text);
    }
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    match name.split_once('?') {
        Some((path, query)) => (path, Some(query), rest),
        None => (name, None, rest),
    }
}

fn take_ack_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    if digits.len() > MAX_ACK_ID_DIGITS {
        return Err(DecodeError::AckIdTooLarge);
    }
    let id = digits.parse().map_err(|_| DecodeError::AckIdTooLarge)?;
    Ok((Some(id), rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn name_and_args(payload: Option<Json<'_>>) -> Result<(Cow<'_, str>, Args<'_>), DecodeError> {
    let (name, args) = array(payload)?
        .split_first()
        .ok_or(DecodeError::MissingEventName)?;
    let name = event_name(name)?;
    if RESERVED_EVENT_NAMES.contains(&&*name) {
        return Err(DecodeError::ReservedEventName);
    }
    Ok((name, args))
}

fn event_name(json: Json<'_>) -> Result<Cow<'_, str>, DecodeError> {
    if json.is_number() {
        return Ok(Cow::Borrowed(json.as_str()));
    }
    let quoted = json
        .as_str()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = quoted.ok_or(DecodeError::MissingEventName)?;
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    Ok(json.parse().map_or(Cow::Borrowed(text), Cow::Owned))
}

fn array(payload: Option<Json<'_>>) -> Result<Args<'_>, DecodeError> {
    let payload = payload.ok_or(DecodeError::MissingPayload)?;
    payload
        .elements()
        .ok_or(DecodeError::WrongPayload { expected: "array" })
}

fn object(payload: Json<'_>) -> Result<Json<'_>, DecodeError> {
    if payload.is_object() {
        Ok(payload)
    } else {
        Err(DecodeError::WrongPayload { expected: "object" })
    }
}

fn object_or_string(payload: Json<'_>) -> Result<Json<'_>, DecodeError> {
    if payload.is_string() {
        Ok(payload)
    } else {
        object(payload)
    }
}
