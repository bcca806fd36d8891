//! Any sequence of messages: an assembled packet has what it announced, within limits, and nothing is left behind.

#![no_main]

use bytes::Bytes;
use confab_gateway_protocol::socketio::{Assembler, AssemblerLimits};
use libfuzzer_sys::fuzz_target;

/// Separates messages: no byte of UTF-8, so that text stays whole.
const SEPARATOR: u8 = 0xff;
/// Begins a binary message: no byte of UTF-8 either.
const BINARY: u8 = 0xfe;

fuzz_target!(|input: &[u8]| {
    let limits = AssemblerLimits {
        max_attachments: 4,
        max_attachment_bytes: 64,
    };
    let mut assembler = Assembler::new(limits);
    for message in input.split(|&byte| byte == SEPARATOR) {
        let was_waiting = assembler.is_waiting();
        if let Some((&BINARY, attachment)) = message.split_first() {
            let result = assembler.binary(Bytes::copy_from_slice(attachment));
            assert!(was_waiting || result.is_err());
            if let Ok(Some(whole)) = &result {
                let attachments = whole.attachments();
                assert_eq!(whole.packet().attachments(), attachments.len());
                assert!((1..=limits.max_attachments).contains(&attachments.len()));
                assert!(
                    attachments.iter().map(Bytes::len).sum::<usize>()
                        <= limits.max_attachment_bytes
                );
            }
            assert_eq!(assembler.is_waiting(), matches!(result, Ok(None)));
        } else if let Ok(text) = std::str::from_utf8(message) {
            let result = assembler.text(text);
            assert!(!was_waiting || result.is_err());
            if let Ok(Some(packet)) = &result {
                assert_eq!(packet.attachments(), 0);
            }
            assert_eq!(assembler.is_waiting(), matches!(result, Ok(None)));
        }
    }
});
