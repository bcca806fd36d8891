//! What browsers ask of polling: cross-origin requests and compression.

use std::io::Read;

use crate::http::Request;
use crate::raw::Echo;

#[test]
fn a_page_of_another_origin_may_read_the_answers() {
    let echo = Echo::start();
    let answer = echo
        .get(
            "/engine.io/?EIO=4&transport=polling",
            "Origin: https://app.example\r\n",
        )
        .answer();
    assert_eq!(
        answer.header("access-control-allow-origin"),
        ["https://app.example"]
    );
    assert_eq!(answer.header("access-control-allow-credentials"), ["true"]);
    assert_eq!(answer.header("vary"), ["origin"]);
    let refused = echo
        .get(
            "/engine.io/?EIO=4&transport=polling&sid=x",
            "Origin: https://app.example\r\n",
        )
        .answer();
    refused.is_refused(1);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        ["https://app.example"]
    );
    let same = echo.get("/engine.io/?EIO=4&transport=polling", "").answer();
    assert!(same.header("access-control-allow-origin").is_empty());
}

#[test]
fn a_preflight_is_answered() {
    let echo = Echo::start();
    let head = "OPTIONS /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\
                Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\
                Access-Control-Request-Headers: authorization,content-type\r\n\r\n";
    let answer = Request::raw(echo.address, head.as_bytes()).answer();
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        ["https://app.example"]
    );
    assert_eq!(answer.header("access-control-allow-methods"), ["GET, POST"]);
    assert_eq!(
        answer.header("access-control-allow-headers"),
        ["authorization,content-type"]
    );
}

#[test]
fn only_listed_origins_may_talk_to_us() {
    let echo = Echo::with(&["--cors-origin", "https://app.example"]);
    let target = "/engine.io/?EIO=4&transport=polling";
    let evil = echo
        .get(target, "Origin: https://evil.example\r\n")
        .answer();
    evil.is(403, "{\"code\":4,\"message\":\"Forbidden\"}");
    assert!(evil.header("access-control-allow-origin").is_empty());
    let good = echo.get(target, "Origin: https://app.example\r\n").answer();
    assert_eq!(good.status, 200);
}

#[test]
fn large_answers_are_compressed_for_clients_that_can_read_it() {
    let echo = Echo::with(&["--ping-interval-ms", "60000"]);
    let session = echo.polling("/engine.io/");
    let poll = |packet: &str, headers: &str| {
        session.post(packet).is(200, "ok");
        echo.get(&session.target, headers).answer()
    };
    let (small, large) = ("4small", format!("4{}", "large ".repeat(1_000)));
    let gzip = "Accept-Encoding: gzip, deflate, br\r\n";
    let answer = poll(&large, gzip);
    assert_eq!(answer.header("content-encoding"), ["gzip"]);
    assert_eq!(answer.header("vary"), ["Accept-Encoding"]);
    assert!(answer.body.len() < 500, "{} bytes", answer.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, large);
    for (packet, headers) in [
        (small, gzip),
        (&large, ""),
        (&large, "Accept-Encoding: gzip;q=0\r\n"),
    ] {
        let answer = poll(packet, headers);
        answer.is(200, packet);
        assert!(answer.header("content-encoding").is_empty());
    }
}
