//! Whatever decodes as a Socket.IO packet encodes to something that decodes to the same, and its arguments are JSON that
//! keeps its bytes.

#![no_main]

use bytes::BytesMut;
use confab_gateway_protocol::json::{Args, Json};
use confab_gateway_protocol::socketio::{self, Body};
use libfuzzer_sys::fuzz_target;

const MAX_ATTACHMENTS: usize = 10;

fuzz_target!(|text: &str| {
    let Ok(packet) = socketio::decode(text, MAX_ATTACHMENTS) else {
        return;
    };
    assert!(packet.attachments() <= MAX_ATTACHMENTS);
    assert!(socketio::is_valid_namespace(packet.namespace));
    match &packet.body {
        Body::Event(event) => check(event.args, text),
        Body::Ack(ack) => check(ack.args, text),
        Body::Connect(_) | Body::Disconnect | Body::ConnectError(_) => {}
    }
    let mut out = BytesMut::new();
    socketio::encode(&mut out, &packet);
    let wire = std::str::from_utf8(&out).expect("a packet is text");
    assert_eq!(
        socketio::decode(wire, MAX_ATTACHMENTS).expect("decodes again"),
        packet
    );
});

fn check(args: Args<'_>, text: &str) {
    assert!(text.contains(args.as_str()));
    let mut last_end = 0;
    for arg in args {
        assert_eq!(Json::check(arg.as_str()).expect("an argument is JSON"), arg);
        let at = arg.as_str().as_ptr() as usize - args.as_str().as_ptr() as usize;
        // Between two arguments there is one comma, and white space.
        let between = args.as_str()[last_end..at].trim_matches([' ', '\t', '\r', '\n']);
        assert_eq!(between, if last_end == 0 { "" } else { "," });
        last_end = at + arg.as_str().len();
    }
    assert_eq!(args.as_str().len(), last_end);
}
