//! WebSocket frames, read back the way RFC 6455 describes them.

use bytes::{BufMut, Bytes, BytesMut};
use confab_gateway_protocol::websocket::{self, FrameBuilder, Opcode};
use proptest::collection::vec;
use proptest::prelude::*;

/// Reads a frame as RFC 6455 describes it: first byte, payload.
fn read_frame(wire: &[u8]) -> (u8, &[u8]) {
    assert_eq!(wire[1] & 0x80, 0, "a server's frame is not masked");
    let (len, payload) = match wire[1] {
        126 => (
            u64::from(u16::from_be_bytes([wire[2], wire[3]])),
            &wire[4..],
        ),
        127 => (
            u64::from_be_bytes(wire[2..10].try_into().unwrap()),
            &wire[10..],
        ),
        short => (u64::from(short), &wire[2..]),
    };
    assert_eq!(len, payload.len() as u64);
    (wire[0], payload)
}

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn frames_are_read_back(payload: Vec<u8>, len in prop_oneof![0..300_usize, 65_530..65_545_usize]) {
        let payload: Vec<u8> = payload.iter().copied().chain(std::iter::repeat(b'x')).take(len).collect();
        let frame = websocket::binary_frame(|out| out.put_slice(&payload));
        prop_assert_eq!(read_frame(frame.wire()), (0x82, &payload[..]));
        prop_assert_eq!(frame.payload(), &payload);
        let mut small = FrameBuilder::with_capacity(0);
        small.payload().put_slice(&payload);
        let text = small.finish(Opcode::Text);
        prop_assert_eq!(read_frame(text.wire()), (0x81, &payload[..]));
        let (header, header_len) = websocket::header(Opcode::Text, payload.len());
        prop_assert_eq!(&text.wire()[..header_len], &header[..header_len]);
        prop_assert_eq!(websocket::pong_frame(&payload).is_ok(), len <= 125);
    }

    #[test]
    fn close_frames_fit(code: u16, reason: String, repeat in 1..50_usize) {
        let reason = reason.repeat(repeat);
        let frame = websocket::close_frame(code, &reason);
        let (first, payload) = read_frame(frame.wire());
        prop_assert_eq!(first, 0x88);
        prop_assert!(payload.len() <= 125);
        prop_assert_eq!(&payload[..2], &code.to_be_bytes());
        let kept = std::str::from_utf8(&payload[2..]).unwrap();
        prop_assert!(reason.starts_with(kept));
        prop_assert!(kept == reason || payload.len() > 121);
    }

    #[test]
    fn a_chunk_gives_back_the_frames_written_into_it(
        contents in vec((0..3_u8, any::<Vec<u8>>(), prop_oneof![0..300_usize, 65_530..65_545_usize]), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let written: Vec<_> = contents.into_iter().map(|(kind, content, len)| {
            let payload: Vec<u8> = content.into_iter().chain(std::iter::repeat(b'x')).take(len).collect();
            match kind {
                0 => websocket::text_frame(|out| out.put_slice(&payload)),
                1 => websocket::binary_frame(|out| out.put_slice(&payload)),
                _ => websocket::close_frame(1000, "bye"),
            }
        }).collect();
        let mut chunk = BytesMut::new();
        for frame in &written {
            chunk.put_slice(frame.wire());
        }
        let chunk = chunk.freeze();
        let read: Result<Vec<_>, _> = websocket::frames(chunk.clone()).collect();
        prop_assert_eq!(read.as_ref(), Ok(&written));

        // Cut anywhere, the frames before the cut are read and the rest is refused, once.
        if !chunk.is_empty() {
            let cut = cut.index(chunk.len());
            let whole = written.iter().scan(0, |end, frame| {
                *end += frame.wire().len();
                Some(*end)
            });
            let ends: Vec<usize> = whole.filter(|end| *end <= cut).collect();
            let mut frames = websocket::frames(chunk.slice(..cut));
            for frame in &written[..ends.len()] {
                prop_assert_eq!(frames.next(), Some(Ok(frame.clone())));
            }
            let at_an_end = cut == ends.last().copied().unwrap_or(0);
            prop_assert_eq!(frames.next().map(|read| read.is_err()), (!at_an_end).then_some(true));
            prop_assert_eq!(frames.next(), None);
        }
    }

    #[test]
    fn reading_frames_takes_anything(bytes: Vec<u8>) {
        let len = bytes.len();
        let read: usize = websocket::frames(Bytes::from(bytes))
            .map_while(Result::ok)
            .map(|frame| frame.wire().len())
            .sum();
        prop_assert!(read <= len);
    }
}
