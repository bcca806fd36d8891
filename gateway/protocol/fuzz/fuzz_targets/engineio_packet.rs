//! Whatever decodes as an Engine.IO packet encodes to something that decodes to the same.

#![no_main]

use bytes::BytesMut;
use confab_gateway_protocol::engineio::{MessageKind, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let Ok(packet) = Packet::decode_utf8(message) else {
        return;
    };
    let mut out = BytesMut::new();
    assert_eq!(packet.encode(&mut out), MessageKind::Text);
    assert_eq!(Packet::decode_utf8(&out).expect("decodes again"), packet);
});
