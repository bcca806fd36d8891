//! A frame read by the letter of RFC 6455 gives back its payload.

#![no_main]

use bytes::BufMut;
use confab_gateway_protocol::websocket::{FrameBuilder, Opcode, close_frame, pong_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[repeat, capacity], content)) = input.split_first_chunk() else {
        return;
    };
    // Repetition reaches the lengths at which the header grows.
    let payload = content.repeat(1 + usize::from(repeat));
    let mut builder = FrameBuilder::with_capacity(usize::from(capacity));
    builder.payload().put_slice(&payload);
    let frame = builder.finish(Opcode::Binary);
    assert_eq!(read(frame.wire()), (0x82, &payload[..]));
    assert_eq!(frame.payload(), payload);

    match pong_frame(content) {
        Ok(pong) => assert_eq!(read(pong.wire()), (0x8a, content)),
        Err(_) => assert!(content.len() > 125),
    }
    if let Ok(reason) = std::str::from_utf8(content) {
        let close = close_frame(1000, reason);
        let (first, payload) = read(close.wire());
        assert_eq!((first, &payload[..2]), (0x88, &1000_u16.to_be_bytes()[..]));
        assert!(payload.len() <= 125 && content.starts_with(&payload[2..]));
        assert!(
            std::str::from_utf8(&payload[2..]).is_ok(),
            "the reason is cut inside a character"
        );
    }
});

/// The first byte and the payload. Lengths have to be in their shortest form.
fn read(wire: &[u8]) -> (u8, &[u8]) {
    let (len, payload) = match wire[1] {
        126 => (
            u64::from(u16::from_be_bytes([wire[2], wire[3]])),
            &wire[4..],
        ),
        127 => (
            u64::from_be_bytes(wire[2..10].try_into().expect("eight bytes")),
            &wire[10..],
        ),
        short => (u64::from(short), &wire[2..]),
    };
    let shortest = match len {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    assert_eq!(wire.len() - payload.len(), shortest);
    assert_eq!(len, payload.len() as u64);
    (wire[0], payload)
}
