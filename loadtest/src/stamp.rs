//! What the generator writes into every message: who sent it, as which of its sends, in which version, and when.
//!
//! With it a stored row or a received event is traced back to the send it came from without trusting anything that the servers
//! say about it.

/// The mark at the beginning of a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which client of the run.
    pub client: u32,
    /// Which of its sends, counted from 0.
    pub send: u32,
    /// 0 as sent, raised by one with each edit.
    pub version: u16,
    /// When it was first sent, in nanoseconds by [`clock`](crate::clock).
    pub at: u64,
}

/// Lengths in hexadecimal digits, in order.
const CLIENT: usize = 8;
const SEND: usize = 8;
const VERSION: usize = 4;
const AT: usize = 16;
/// How long a stamp is.
pub const STAMP_BYTES: usize = CLIENT + SEND + VERSION + AT;
/// How long the contents of the targets are.
pub const CONTENT_BYTES: usize = 100;

impl Stamp {
    /// The content of a message with this stamp: the stamp, then filler up to [`CONTENT_BYTES`].
    pub fn content(&self) -> String {
        let mut text = format!(
            "{:08x}{:08x}{:04x}{:016x}",
            self.client, self.send, self.version, self.at
        );
        text.extend(std::iter::repeat_n('.', CONTENT_BYTES - STAMP_BYTES));
        text
    }

    /// The stamp at the beginning of a message's content.
    pub fn read(content: &[u8]) -> Option<Self> {
        let (client, rest) = hex(content, CLIENT)?;
        let (send, rest) = hex(rest, SEND)?;
        let (version, rest) = hex(rest, VERSION)?;
        let (at, _) = hex(rest, AT)?;
        Some(Self {
            client: u32::try_from(client).ok()?,
            send: u32::try_from(send).ok()?,
            version: u16::try_from(version).ok()?,
            at,
        })
    }
}

fn hex(text: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (field, rest) = text.split_at_checked(digits)?;
    let mut value = 0;
    for byte in field {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back() {
        for stamp in [
            Stamp {
                client: 0,
                send: 0,
                version: 0,
                at: 0,
            },
            Stamp {
                client: 7,
                send: 99,
                version: 2,
                at: 123_456_789_012,
            },
            Stamp {
                client: u32::MAX,
                send: u32::MAX,
                version: u16::MAX,
                at: u64::MAX,
            },
        ] {
            let content = stamp.content();
            assert_eq!(content.len(), CONTENT_BYTES);
            assert_eq!(Stamp::read(content.as_bytes()), Some(stamp));
        }
    }

    #[test]
    fn other_texts_have_no_stamp() {
        assert_eq!(Stamp::read(b""), None);
        assert_eq!(Stamp::read(&[b'z'; 100]), None);
        assert_eq!(Stamp::read(&[b'0'; STAMP_BYTES - 1]), None);
    }
}
