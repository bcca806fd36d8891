//! Nanoseconds per packet on the paths every message takes. `cargo bench -p confab-gateway-protocol`.
//!
//! Deliberately without a harness: the figures tell an order of magnitude and a regression by a factor, and nothing has
//! to be compiled for them. Without `--bench` (as when all targets are tested) each runs a few times, to see that it does.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{Body, DecodeError, Packet};
use confab_gateway_protocol::stomp::{Decoder, Item, Limits, Version};
use confab_gateway_protocol::{engineio, socketio, sockjs, stomp, websocket};

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

/// The body has 80 bytes, as `content-length` says.
const STOMP_SEND: &str = concat!(
    "SEND\ndestination:/app/chat.sendMessage\ncontent-type:application/json\ncontent-length:80\n\n",
    r#"{"sender":"ada","content":"It was the best of times, it was the.","type":"CHAT"}"#,
    "\0"
);

const STOMP_BODY: &str = concat!(
    r#"{"type":"CHAT","content":"It was the best of times, it was the worst of times.","sender":"ada","#,
    r#""roomId":"general","id":"0190a6f3-5b0c-7cc2-b1de-0e3a6a1f2b3c","timestamp":"2026-01-01T00:00:00.000Z"}"#
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
    measure_stomp(rounds);
    Ok(())
}

fn measure_stomp(rounds: u32) {
    let mut decoder = Decoder::new(Limits {
        max_frame: 65_536,
        max_headers: 64,
        max_header: 4096,
    });
    decoder.set_version(Version::V1_2);
    measure("decode a STOMP SEND", rounds, || {
        decoder.push(black_box(STOMP_SEND).as_bytes());
        let is_send =
            matches!(decoder.next(), Ok(Some(Item::Frame(frame))) if frame.body.len() == 80);
        is_send && decoder.next() == Ok(None)
    });
    measure("decode a STOMP heart-beat", rounds, || {
        decoder.push(black_box(stomp::HEART_BEAT));
        decoder.next() == Ok(Some(Item::HeartBeat))
    });
    let mut out = BytesMut::new();
    measure("write the rest of a MESSAGE", rounds, || {
        out.clear();
        message_rest(&mut out);
        !out.is_empty()
    });
    out.clear();
    stomp::message_head(&mut out, Version::V1_2, "sub-0", "/topic/general");
    message_rest(&mut out);
    let piece = out.split().freeze();
    measure("write a MESSAGE as a SockJS frame", rounds, || {
        !websocket::text_frame(|out| sockjs::message(out, black_box(&piece)))
            .wire()
            .is_empty()
    });
    let mut sent = BytesMut::new();
    sockjs::message(&mut sent, STOMP_SEND.as_bytes());
    let sent = sent.split_off(1);
    measure("read a SEND from a SockJS frame", rounds, || {
        sockjs::messages(black_box(&sent))
            .is_ok_and(|all| all.map(|text| text.len()).sum::<usize>() > 80)
    });
}

fn message_rest(out: &mut BytesMut) {
    stomp::message_rest(out, "184467", "application/json", &[], |out| {
        out.put_slice(black_box(STOMP_BODY).as_bytes());
    });
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
