//! What clients send is read, said again as a server would, and read once more.

#![no_main]

use bytes::BytesMut;
use confab_gateway_protocol::sockjs::{Merger, frame_messages, message, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let framed = frame_messages(payload).map(Iterator::collect::<Vec<_>>);
    if let Ok(posted) = messages(payload) {
        assert_eq!(
            Ok(posted.collect()),
            framed,
            "an array is an array either way"
        );
    }
    let pieces: Vec<Vec<u8>> = match &framed {
        Ok(said) => {
            let len: usize = said.iter().map(|text| text.len() + 2).sum();
            assert!(len <= payload.len(), "more than was sent");
            said.iter().map(|text| text.as_bytes().to_vec()).collect()
        }
        Err(_) => vec![payload.to_vec()],
    };
    let mut merger = Merger::new(usize::MAX);
    for piece in &pieces {
        let mut frame = BytesMut::new();
        message(&mut frame, piece);
        assert!(!frame.iter().any(|&byte| byte < 0x20));
        merger.push(&frame).expect("there is no limit");
    }
    let Some(frame) = merger.finish() else {
        assert!(pieces.is_empty());
        return;
    };
    let again: Vec<_> = messages(&frame[1..]).expect("is read again").collect();
    let expected: Vec<_> = pieces
        .iter()
        .map(|piece| String::from_utf8_lossy(piece))
        .collect();
    assert_eq!(again, expected);
});
