//! WebSocket framing (RFC 6455) as a client needs it: server frames in, masked frames out.
//!
//! Owns the byte layout only. It never reads from or writes to a socket, and it never copies what it reads: the generator shares
//! its processors with the system under test, so a received delivery must cost next to nothing.

use std::ops::Range;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Text,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Text),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// A whole frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    /// Where its payload lies in the buffer.
    pub(super) payload: Range<usize>,
}

/// What is at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Frame(Frame),
    /// Not all of it is here yet; this many bytes in total are needed at least.
    Incomplete(usize),
}

/// Reads the frame at the start of `bytes`. Fragments, binary frames and extensions are refused: Confab sends none of them
/// to a client that asked for none.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let &[first, second, ..] = bytes else {
        return Ok(Parsed::Incomplete(2));
    };
    if first & 0b0111_0000 != 0 {
        return Err("a reserved bit is set, and no extension was agreed on");
    }
    if first & 0b1000_0000 == 0 {
        return Err("a fragmented message");
    }
    if second & MASKED != 0 {
        return Err("a masked frame from a server");
    }
    let opcode = Opcode::of(first & 0b1111).ok_or("a frame that is neither text nor control")?;
    let (start, length) = match second & 0b0111_1111 {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
            _ => return Ok(Parsed::Incomplete(4)),
        },
        127 => match bytes
            .get(2..10)
            .and_then(|field| <[u8; 8]>::try_from(field).ok())
        {
            Some(field) => (10, u64::from_be_bytes(field)),
            None => return Ok(Parsed::Incomplete(10)),
        },
        short => (2, u64::from(short)),
    };
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(start))
        .filter(|end| *end <= MAX_FRAME)
        .ok_or("a frame beyond every limit")?;
    if bytes.len() < end {
        return Ok(Parsed::Incomplete(end));
    }
    Ok(Parsed::Frame(Frame {
        opcode,
        payload: start..end,
    }))
}

/// The bit of the second byte that says that a mask follows the length.
const MASKED: u8 = 0b1000_0000;
/// A server that sends more at once is broken; the buffer does not follow it.
const MAX_FRAME: usize = 16 << 20;

/// Appends a masked frame.
pub(super) fn encode(out: &mut Vec<u8>, opcode: Opcode, mask: [u8; 4], payload: &[u8]) {
    out.push(0b1000_0000 | opcode.bits());
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(MASKED | short),
        (_, Ok(medium)) => {
            out.push(MASKED | 0x7E);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(MASKED | 0x7F);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        encode(&mut masked, Opcode::Text, [0; 4], payload);
        let header = masked.len() - payload.len() - 4;
        masked[1] &= 0b0111_1111;
        masked.drain(header..header + 4);
        masked
    }

    #[test]
    fn frames_of_every_length_are_read_whole_and_never_before() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; length];
            let bytes = server_frame(&payload);
            let Ok(Parsed::Frame(frame)) = parse(&bytes) else {
                panic!("{length}")
            };
            assert_eq!(&bytes[frame.payload], payload);
            for cut in [0, 1, 2, 3, 9, bytes.len() - 1] {
                if cut < bytes.len() {
                    assert!(
                        matches!(parse(&bytes[..cut]), Ok(Parsed::Incomplete(needed)) if needed > cut)
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_masked_comes_back_by_the_same_mask() {
        let (mask, payload) = ([1, 2, 3, 4], b"hello, world");
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, mask, payload);
        assert_eq!(out[..2], [0x81, 0x8C]);
        let back: Vec<u8> = out[6..]
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        assert_eq!(back, payload);
    }

    #[test]
    fn what_confab_never_sends_is_refused() {
        for bad in [[0x01, 0], [0x82, 0], [0xC1, 0], [0x81, 0x80]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
