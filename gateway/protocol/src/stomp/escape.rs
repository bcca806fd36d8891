//! How headers say what would end them.
//!
//! Owns the escapes of each version, both ways. It must never know which frames have them.

use bytes::{BufMut, BytesMut};

use super::error::DecodeError;
use super::version::Version;

/// Which characters of a header are written differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// None can be: 1.0, and in every version the frames that begin a session.
    None,
    /// Those of 1.1.
    V1_1,
    /// Those of 1.2.
    V1_2,
}

impl Escapes {
    /// Those of a version's usual frames.
    pub(super) fn of(version: Version) -> Self {
        match version {
            Version::V1_0 => Self::None,
            Version::V1_1 => Self::V1_1,
            Version::V1_2 => Self::V1_2,
        }
    }

    /// Appends a part of a header as it is written.
    pub(super) fn write(self, out: &mut BytesMut, part: &str) {
        let bytes = part.as_bytes();
        let mut plain_from = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if let Some(replacement) = self.replacement(byte) {
                out.put_slice(&bytes[plain_from..at]);
                out.put_slice(replacement);
                plain_from = at + 1;
            }
        }
        out.put_slice(&bytes[plain_from..]);
    }

    /// What is written instead of a byte.
    ///
    /// What would end the header or the frame and cannot be escaped becomes a space: a user's name must not add headers.
    fn replacement(self, byte: u8) -> Option<&'static [u8]> {
        match (byte, self) {
            (b'\n' | b'\r' | 0, Self::None) | (0, _) => Some(b" "),
            (b'\n', _) => Some(b"\\n"),
            (b'\r', Self::V1_2) => Some(b"\\r"),
            (b':', Self::V1_1 | Self::V1_2) => Some(b"\\c"),
            (b'\\', Self::V1_1 | Self::V1_2) => Some(b"\\\\"),
            _ => None,
        }
    }

    /// Appends what a part of a header says, given as it is written.
    pub(super) fn read(self, out: &mut String, part: &str) -> Result<(), DecodeError> {
        let mut rest = part;
        while self != Self::None
            && let Some((plain, escaped)) = rest.split_once('\\')
        {
            let mut chars = escaped.chars();
            let character = match chars.next().ok_or(DecodeError::UnfinishedEscape)? {
                'n' => '\n',
                'c' => ':',
                '\\' => '\\',
                'r' if self == Self::V1_2 => '\r',
                undefined => return Err(DecodeError::UndefinedEscape(undefined)),
            };
            out.push_str(plain);
            out.push(character);
            rest = chars.as_str();
        }
        out.push_str(rest);
        Ok(())
    }
}
