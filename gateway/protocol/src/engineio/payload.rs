//! Many Engine.IO packets in one long-polling body.
//!
//! Owns the separator and the base64 form of binary packets. It must never know which request the body belongs to.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::packet::{Packet, PacketError};

/// ASCII's record separator, which JSON can contain only escaped.
const SEPARATOR: u8 = 0x1e;

/// Clients are told to pad; some do not, and nothing is lost by reading them.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a polling body may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// The most bytes of the whole body.
    pub max_bytes: usize,
    /// The most packets in it.
    pub max_packets: usize,
}

/// Why a body is refused before any packet in it is looked at.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// The body is larger than the handshake allowed.
    #[error("the payload exceeds {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// The body holds more packets than one request may.
    #[error("the payload exceeds {max_packets} packets")]
    TooManyPackets {
        /// The limit.
        max_packets: usize,
    },
    /// The body is no text.
    #[error("the payload is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
}

/// Splits a polling body into its packets. They are decoded one by one as the iterator is driven; whoever meets an
/// error should drop the rest.
pub fn decode_payload(
    body: &[u8],
    limits: PayloadLimits,
) -> Result<PayloadPackets<'_>, PayloadError> {
    if body.len() > limits.max_bytes {
        return Err(PayloadError::TooLarge {
            max_bytes: limits.max_bytes,
        });
    }
    // A separator too many already decides it, however long the rest is.
    if memchr::memchr_iter(SEPARATOR, body)
        .take(limits.max_packets)
        .count()
        >= limits.max_packets
    {
        return Err(PayloadError::TooManyPackets {
            max_packets: limits.max_packets,
        });
    }
    let text = std::str::from_utf8(body).map_err(PayloadError::NotUtf8)?;
    Ok(PayloadPackets { rest: Some(text) })
}

/// Iterator over the packets of a polling body.
#[derive(Debug, Clone)]
pub struct PayloadPackets<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for PayloadPackets<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest?;
        let (packet, rest) = match text.split_once(char::from(SEPARATOR)) {
            Some((packet, rest)) => (packet, Some(rest)),
            None => (text, None),
        };
        self.rest = rest;
        Some(decode_packet(packet))
    }
}

impl std::iter::FusedIterator for PayloadPackets<'_> {}

fn decode_packet(packet: &str) -> Result<Packet<'_>, PacketError> {
    match packet.strip_prefix('b') {
        Some(base64) => match LENIENT.decode(base64) {
            Ok(bytes) => Ok(Packet::Binary(Bytes::from(bytes))),
            Err(error) => Err(PacketError::MalformedBase64(error)),
        },
        None => Packet::decode(packet),
    }
}

/// The packet did not fit; the body is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the payload has no room for the packet")]
pub struct PayloadFull;

/// Joins packets into one polling body of bounded size.
///
/// The first packet always fits, however large: what is too large for every body could otherwise never be sent.
#[derive(Debug)]
pub struct PayloadEncoder {
    out: BytesMut,
    max_bytes: usize,
}

impl PayloadEncoder {
    /// An empty body that takes packets until it would exceed `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            out: BytesMut::new(),
            max_bytes,
        }
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Appends a packet. Its text must have no raw record separator, which JSON never has: the format cannot escape it.
    pub fn push(&mut self, packet: &Packet<'_>) -> Result<(), PayloadFull> {
        self.append(|out| match packet {
            Packet::Binary(bytes) => write_base64(out, bytes),
            text => {
                text.encode(out);
            }
        })
    }

    /// Appends a text packet that is encoded already, as the content of a WebSocket text message is.
    pub fn push_encoded(&mut self, packet: &[u8]) -> Result<(), PayloadFull> {
        self.append(|out| out.put_slice(packet))
    }

    /// The body.
    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }

    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), PayloadFull> {
        let before = self.out.len();
        if before > 0 {
            self.out.put_u8(SEPARATOR);
        }
        write(&mut self.out);
        if before > 0 && self.out.len() > self.max_bytes {
            self.out.truncate(before);
            return Err(PayloadFull);
        }
        Ok(())
    }
}

fn write_base64(out: &mut BytesMut, bytes: &[u8]) {
    // The alphabet is ASCII and the length known, so the text can be written where it belongs.
    let encoded_len = bytes.len().div_ceil(3) * 4;
    out.put_u8(b'b');
    let from = out.len();
    out.resize(from + encoded_len, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[from..]);
    debug_assert_eq!(written, Ok(encoded_len), "base64 has a fixed length");
}
