//! Engine.IO v4: handshake and heartbeat.

use std::time::{Duration, Instant};

use crate::raw::{Echo, Raw};

/// Pings that can be waited for, and time enough to answer them.
const HEARTBEATS: [&str; 4] = ["--ping-interval-ms", "300", "--ping-timeout-ms", "10000"];

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn the_open_packet_has_exactly_its_fields() {
    let echo = Echo::with(&HEARTBEATS);
    let mut raw = Raw::upgrade(echo.address, "/engine.io/?EIO=4&transport=websocket");
    let open = raw.text();
    let fields: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let names: Vec<&str> = fields
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for name in [
        "sid",
        "upgrades",
        "pingInterval",
        "pingTimeout",
        "maxPayload",
    ] {
        assert!(names.contains(&name), "{open}");
    }
    assert_eq!(names.len(), 5, "{open}");
    assert_eq!(fields["upgrades"], serde_json::json!([]));
    assert_eq!(
        (&fields["pingInterval"], &fields["pingTimeout"]),
        (&300.into(), &10_000.into())
    );
    assert_eq!(fields["maxPayload"], 1_000_000);
}

#[test]
fn refused_handshakes_say_why() {
    let echo = Echo::start();
    let cases = [
        (
            "GET",
            "transport=websocket",
            5,
            "Unsupported protocol version",
        ),
        (
            "GET",
            "EIO=3&transport=websocket",
            5,
            "Unsupported protocol version",
        ),
        (
            "GET",
            "EIO=44&transport=websocket",
            5,
            "Unsupported protocol version",
        ),
        ("GET", "EIO=4", 0, "Transport unknown"),
        (
            "GET",
            "EIO=4&transport=carrier-pigeon",
            0,
            "Transport unknown",
        ),
        (
            "POST",
            "EIO=4&transport=websocket",
            2,
            "Bad handshake method",
        ),
        (
            "GET",
            "EIO=4&transport=websocket&sid=nobody",
            1,
            "Session ID unknown",
        ),
    ];
    for (method, query, code, message) in cases {
        let request = format!(
            "{method} /engine.io/?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{UPGRADE}\r\n"
        );
        let (status, body) = echo.request(&request);
        assert!(status.contains("400"), "{query}: {status}");
        assert_eq!(
            body,
            format!("{{\"code\":{code},\"message\":\"{message}\"}}"),
            "{query}"
        );
    }
    let (status, body) = echo
        .request("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        status.contains("400") && body.contains("\"code\":3"),
        "no upgrade: {status} {body}"
    );
}

#[test]
fn the_server_pings_and_a_pong_keeps_the_session() {
    let echo = Echo::with(&HEARTBEATS);
    let mut raw = echo.session("/engine.io/");
    for _ in 0..3 {
        let frame = raw.frame().unwrap();
        assert_eq!(
            (frame.opcode, frame.payload.as_slice()),
            (1, b"2".as_slice())
        );
        raw.send_text("3");
    }
    raw.send_text("4still here");
    assert_eq!(raw.text(), "4still here");
}

#[test]
fn a_session_without_pong_is_gone_at_interval_plus_timeout() {
    let echo = Echo::with(&["--ping-interval-ms", "300", "--ping-timeout-ms", "8000"]);
    let opened = Instant::now();
    let mut raw = echo.session("/engine.io/");
    assert_eq!(raw.frame().unwrap().payload, b"2");
    raw.send_text("4a message is no pong");
    assert_eq!(raw.frame().unwrap().payload, b"4a message is no pong");
    raw.closed();
    let lived = opened.elapsed();
    assert!(lived >= Duration::from_millis(8_290), "{lived:?}");
}

#[test]
fn pings_keep_their_interval_where_the_timeout_is_longer() {
    let echo = Echo::with(&["--ping-interval-ms", "200", "--ping-timeout-ms", "30000"]);
    let mut raw = echo.session("/engine.io/");
    let opened = Instant::now();
    for _ in 0..4 {
        assert_eq!(raw.frame().unwrap().payload, b"2");
        raw.send_text("3");
    }
    let took = opened.elapsed();
    assert!(took < Duration::from_secs(30), "four pings took {took:?}");
}

#[test]
fn text_and_binary_come_back_as_they_were_sent() {
    let echo = Echo::start();
    let mut raw = echo.session("/engine.io/");
    raw.send_text("4h\u{e9}llo \u{1f600}");
    assert_eq!(raw.text(), "4h\u{e9}llo \u{1f600}");
    raw.send(true, 2, &[0, 1, 2, 255]);
    let frame = raw.frame().unwrap();
    assert_eq!((frame.opcode, frame.payload), (2, vec![0, 1, 2, 255]));
}

#[test]
fn the_clients_close_ends_the_session() {
    let echo = Echo::start();
    let mut raw = echo.session("/engine.io/");
    raw.send_text("1");
    assert_eq!(raw.closed(), Some(1000));
}

#[test]
fn invalid_packets_end_the_session() {
    let echo = Echo::start();
    for packet in ["", "x", "9", "2probe", "0{}"] {
        let mut raw = echo.session("/engine.io/");
        raw.send_text(packet);
        assert_eq!(raw.closed(), Some(1002), "{packet:?}");
    }
}
