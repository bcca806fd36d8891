//! Any stream of bytes, in any pieces: the same items come out, limits are kept, and what was read is read again.

#![no_main]

use confab_gateway_protocol::stomp::{DecodeError, Decoder, Frame, Item, Limits, Version};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    max_frame: 256,
    max_headers: 4,
    max_header: 48,
};

/// The longest first line that is kept, whatever a frame may have.
const LONGEST_COMMAND: usize = 17;

fuzz_target!(|input: &[u8]| {
    let Some((&[version, piece], stream)) = input.split_first_chunk() else {
        return;
    };
    let version = [Version::V1_0, Version::V1_1, Version::V1_2][usize::from(version % 3)];
    let whole = decode([stream], version);
    let pieces = stream.chunks(usize::from(piece % 16) + 1);
    assert_eq!(decode(pieces, version), whole);

    for item in &whole.0 {
        let Item::Frame(frame) = item else { continue };
        assert!(frame.headers().len() <= LIMITS.max_headers && frame.body.len() < LIMITS.max_frame);
        let again = written(frame, version);
        let mut decoder = Decoder::new(Limits {
            max_frame: usize::MAX,
            max_header: usize::MAX,
            ..LIMITS
        });
        decoder.set_version(version);
        decoder.push(&again);
        assert_eq!(decoder.next(), Ok(Some(item.clone())));
        assert_eq!((decoder.next(), decoder.kept()), (Ok(None), 0));
    }
});

fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    version: Version,
) -> (Vec<Item>, Option<DecodeError>) {
    let mut decoder = Decoder::new(LIMITS);
    decoder.set_version(version);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
        assert!(decoder.kept() <= LIMITS.max_frame.max(LONGEST_COMMAND));
    }
    (items, None)
}

/// Writes a frame as a client of this version would.
fn written(frame: &Frame, version: Version) -> Vec<u8> {
    let has_escapes = version != Version::V1_0 && !frame.command.begins_session();
    let escaped = |part: &str| {
        if !has_escapes {
            return part.to_owned();
        }
        let part = part
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace(':', "\\c");
        match version {
            Version::V1_2 => part.replace('\r', "\\r"),
            _ => part,
        }
    };
    let mut wire = format!("{}\r\n", frame.command);
    for (name, value) in frame.headers().iter() {
        wire += &format!("{}:{}\r\n", escaped(name), escaped(value));
    }
    let mut wire = (wire + "\r\n").into_bytes();
    wire.extend_from_slice(&frame.body);
    wire.push(0);
    wire
}
