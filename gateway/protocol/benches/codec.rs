//! Nanoseconds per packet on the paths every message takes. `cargo bench -p confab-gateway-protocol`.
//!
//! Deliberately without a harness: the figures tell an order of magnitude and a regression by a factor, and nothing has
//! to be compiled for them. Without `--bench` (as when all targets are tested) each runs a few times, to see that it does.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{Body, DecodeError, Packet};
use confab_gateway_protocol::{engineio, socketio, websocket};

const SEND: &str = concat!(
    r#"42/chat,17["sendMessage",{"conversationId":"0190a6f3-5b0c-7cc2-b1de-0e3a6a1f2b3c","#,
    r#""content":"It was the best of times, it was the worst of times.","tempId":"c-1720000000000-17"}]"#
);

const MESSAGE: &str = concat!(
    r#"{"message":{"_id":"184467","conversationId":"0190a6f3-5b0c-7cc2-b1de-0e3a6a1f2b3c","#,
    r#""sender":{"_id":"0190a6f3-0000-7cc2-b1de-0e3a6a1f2b3c","name":"Ada","username":"ada"},"#,
    r#""content":"It was the best of times, it was the worst of times.","type":"text","status":"sent","seq":42,"#,
    r#""createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","isEdited":false,"#,
    r#""isDeleted":false,"replyTo":null},"conversationId":"0190a6f3-5b0c-7cc2-b1de-0e3a6a1f2b3c"}"#
);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        1_000_000
    } else {
        10
    };
    let message = Json::check(MESSAGE)?;

    measure("decode sendMessage", rounds, || decode_send().is_ok());
    measure("decode sendMessage, first argument", rounds, || {
        decode_send().is_ok_and(|packet| match packet.body {
            Body::Event(event) => event.args.first().is_some(),
            _ => false,
        })
    });
    measure("encode newMessage as a frame", rounds, || {
        !new_message(message).is_empty()
    });
    measure("encode a heartbeat as a frame", rounds, || {
        let ping = engineio::Packet::Ping("");
        !websocket::text_frame(|out| {
            ping.encode(out);
        })
        .wire()
        .is_empty()
    });
    let frame = new_message(message);
    measure("share an encoded frame", rounds, || {
        !black_box(frame.clone()).is_empty()
    });
    Ok(())
}

fn decode_send() -> Result<Packet<'static>, DecodeError> {
    match engineio::Packet::decode(black_box(SEND)) {
        Ok(engineio::Packet::Message(text)) => socketio::decode(text, 10),
        _ => Err(DecodeError::Empty),
    }
}

fn new_message(message: Json<'_>) -> Bytes {
    websocket::text_frame(|out| {
        engineio::begin_message(out);
        socketio::event(out, "/chat", None, "newMessage")
            .json(black_box(message))
            .finish();
    })
    .into_wire()
}

fn measure(name: &str, rounds: u32, mut run: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut good = 0;
    for _ in 0..rounds {
        good += u32::from(black_box(run()));
    }
    assert_eq!(good, rounds, "{name} failed");
    println!(
        "{name:40} {:>8.1} ns",
        start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
    );
}
