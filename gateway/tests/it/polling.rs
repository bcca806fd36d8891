//! Engine.IO over HTTP long-polling: handshake, polls, heartbeat, and how a session ends.

use std::time::{Duration, Instant};

use crate::http::Request;
use crate::raw::{Echo, PATIENCE};

/// Pings that can be waited for, and time enough to answer them.
const HEARTBEATS: [&str; 4] = ["--ping-interval-ms", "300", "--ping-timeout-ms", "10000"];
/// Heartbeats that stay out of the way.
const CALM: [&str; 2] = ["--ping-interval-ms", "60000"];

#[test]
fn the_open_packet_over_polling_offers_the_upgrade() {
    let echo = Echo::with(&HEARTBEATS);
    let answer = echo.get("/engine.io/?EIO=4&transport=polling", "").answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), ["text/plain; charset=UTF-8"]);
    assert_eq!(answer.header("cache-control"), ["no-store"]);
    assert!(answer.text().starts_with("0{\"sid\":\""), "{answer:?}");
    let open: serde_json::Value = serde_json::from_str(&answer.text()[1..]).unwrap();
    assert_eq!(open.as_object().unwrap().len(), 5, "{open}");
    assert_eq!(open["upgrades"], serde_json::json!(["websocket"]));
    assert_eq!(
        (&open["pingInterval"], &open["pingTimeout"]),
        (&300.into(), &10_000.into())
    );
    assert_eq!(open["maxPayload"], 1_000_000);
}

#[test]
fn refused_polling_requests_say_why() {
    let echo = Echo::with(&CALM);
    let cases = [
        ("GET", "transport=polling", 5),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "EIO=4&transport=abc", 0),
        ("POST", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=polling&sid=nobody", 1),
        ("POST", "EIO=4&transport=polling&sid=", 1),
    ];
    for (method, query, code) in cases {
        let head = format!(
            "{method} /engine.io/?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = Request::raw(echo.address, head.as_bytes()).answer();
        answer.is_refused(code);
        assert_eq!(
            answer.header("content-type"),
            ["application/json"],
            "{query}"
        );
    }
    let session = echo.polling("/engine.io/");
    let put = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        session.target
    );
    Request::raw(echo.address, put.as_bytes())
        .answer()
        .is_refused(3);
}

#[test]
fn a_sid_that_nobody_minted_is_unknown() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let other = Echo::with(&CALM);
    other.get(&session.target, "").answer().is_refused(1);
    let last = if session.sid.ends_with('A') { 'B' } else { 'A' };
    let forged = format!("{}{last}", &session.sid[..session.sid.len() - 1]);
    echo.get(&session.target.replace(&session.sid, &forged), "")
        .answer()
        .is_refused(1);
    session.post("4still here").is(200, "ok");
    assert_eq!(session.packets(), "4still here");
}

#[test]
fn a_poll_waits_until_there_is_something_and_several_packets_share_an_answer() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut poll = session.waiting_poll();
    session.post("4hello").is(200, "ok");
    poll.answer().is(200, "4hello");
    session
        .post("4one\u{1e}4two\u{1e}bAQIDBA==\u{1e}4three")
        .is(200, "ok");
    assert_eq!(
        session.packets(),
        "4one\u{1e}4two\u{1e}bAQIDBA==\u{1e}4three"
    );
}

#[test]
fn an_answer_keeps_max_payload_and_the_rest_follows_in_order() {
    let echo = Echo::with(&["--max-payload", "100", "--ping-interval-ms", "60000"]);
    let session = echo.polling("/engine.io/");
    let packet = |name: char| format!("4{}", name.to_string().repeat(39));
    session
        .post(&format!("{}\u{1e}{}", packet('a'), packet('b')))
        .is(200, "ok");
    session
        .post(&format!("{}\u{1e}{}", packet('c'), packet('d')))
        .is(200, "ok");
    assert_eq!(
        session.poll().text(),
        format!("{}\u{1e}{}", packet('a'), packet('b'))
    );
    assert_eq!(
        session.poll().text(),
        format!("{}\u{1e}{}", packet('c'), packet('d'))
    );
}

#[test]
fn the_server_pings_over_polling_and_a_pong_keeps_the_session() {
    let echo = Echo::with(&HEARTBEATS);
    let session = echo.polling("/engine.io/");
    for _ in 0..3 {
        session.poll().is(200, "2");
        session.post("3").is(200, "ok");
    }
    session.post("4still here").is(200, "ok");
    assert_eq!(session.packets(), "4still here");
}

#[test]
fn a_polling_session_without_pong_is_gone_at_interval_plus_timeout() {
    let echo = Echo::with(&["--ping-interval-ms", "300", "--ping-timeout-ms", "8000"]);
    let opened = Instant::now();
    let silent = echo.polling("/engine.io/");
    let polled = echo.polling("/engine.io/");
    polled.poll().is(200, "2");
    let mut poll = polled.begin_poll();
    poll.answer().is(200, "1");
    let lived = opened.elapsed();
    assert!(lived >= Duration::from_millis(8_290), "{lived:?}");
    echo.has(0);
    polled.poll().is_refused(1);
    silent.poll().is_refused(1);
    silent.post("3").is_refused(1);
}

#[test]
fn a_second_get_closes_the_session() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut first = session.waiting_poll();
    session.poll().is_refused(3);
    first.answer().is(200, "1");
    session.poll().is_refused(1);
    session.post("4x").is_refused(1);
}

#[test]
fn a_poll_that_is_repeated_gets_its_answer_again() {
    let echo = Echo::with(&CALM);
    // Unless the end of the connection that carried it is noticed too late, as it may be on a slow machine, but not every time.
    assert!((0..5).any(|_| is_repeated(&echo)));
}

fn is_repeated(echo: &Echo) -> bool {
    let session = echo.polling("/engine.io/");
    let poll = |name: &str| {
        echo.get(&format!("{}&t={name}", session.target), "")
            .answer()
    };
    session.post("4one").is(200, "ok");
    poll("a").is(200, "4one");
    session.post("4two").is(200, "ok");
    // A proxy repeats it, because its gateway died before the answer was through.
    for _ in 0..2 {
        let answer = poll("a");
        if answer.text() == "4two" {
            return false;
        }
        answer.is(200, "4one");
    }
    poll("b").is(200, "4two");
    // While the connection lives that carried it, it is another one of the same name: some clients count seconds.
    session.post("4again").is(200, "ok");
    let mut carried = echo.get(&format!("{}&t=c", session.target), "");
    carried.answer().is(200, "4again");
    session.post("4and again").is(200, "ok");
    poll("c").is(200, "4and again");
    session.post("4three").is(200, "ok");
    poll("a").is(200, "4three");
    // Polls without a name are all different.
    session.post("4four").is(200, "ok");
    session.poll().is(200, "4four");
    session.post("4five").is(200, "ok");
    session.poll().is(200, "4five");
    true
}

#[test]
fn the_clients_close_releases_its_poll_with_a_noop() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut poll = session.waiting_poll();
    session.post("1").is(200, "ok");
    poll.answer().is(200, "6");
    session.poll().is_refused(1);
    session.post("4x").is_refused(1);
}

#[test]
fn the_clients_close_may_overtake_its_poll() {
    let echo = Echo::with(&CALM);
    // The server waits for a moment; a poll that comes too late for that is refused.
    let released = (0..20).any(|_| {
        let session = echo.polling("/engine.io/");
        let mut close = session.begin_post(1, b"1");
        // What comes later than this was answered comes later than the close, and so much later that nobody is there who does not wait.
        echo.open_sessions();
        std::thread::sleep(Duration::from_millis(20));
        let poll = session.begin_poll().answer();
        close.answer().is(200, "ok");
        session.poll().is_refused(1);
        if poll.status != 200 {
            poll.is_refused(1);
            return false;
        }
        poll.is(200, "6");
        true
    });
    assert!(released, "no poll was waited for");

    let session = echo.polling("/engine.io/");
    session.post("1").is(200, "ok");
    session.poll().is_refused(1);
}

#[test]
fn the_clients_close_gives_up_the_link_and_not_its_sockets() {
    let echo = Echo::alone(&CALM);
    let session = echo.polling("/engine.io/");
    session.post("1").is(200, "ok");
    session.poll().is_refused(1);
    let mut raw = echo.session("/engine.io/");
    raw.send_text("1");
    raw.closed();
    let ended = "confab_gateway_sessions_closed_total{reason=\"transport_closed\"} 2\n";
    let metrics = || echo.get("/metrics", "").answer();
    let until = Instant::now() + PATIENCE;
    while !metrics().text().contains(ended) {
        assert!(Instant::now() < until, "{}", metrics().text());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_get_that_the_client_aborts_closes_the_session() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    drop(session.waiting_poll());
    echo.has(0);
    session.poll().is_refused(1);
    session.post("4x").is_refused(1);
}

#[test]
fn a_session_over_polling_that_joins_nothing_is_closed_in_time() {
    let echo = Echo::with(&["--connect-timeout-ms", "8000"]);
    let session = echo.polling("/socket.io/");
    session.post("40").is(200, "ok");
    assert!(session.packets().starts_with("40{\"sid\":\""));
    // It began later, so when it is closed the other one's time is over, too.
    let idle = echo.polling("/socket.io/");
    idle.begin_poll().answer().is(200, "1");
    idle.poll().is_refused(1);
    session.post("42[\"message\",1]").is(200, "ok");
    assert_eq!(session.packets(), "42[\"message-back\",1]");
}

#[test]
fn socket_io_over_polling() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/socket.io/");
    session.post("40{\"token\":\"123\"}").is(200, "ok");
    let packets = session.packets();
    let (connected, auth) = packets.split_once('\u{1e}').unwrap();
    assert!(connected.starts_with("40{\"sid\":\""), "{packets}");
    assert_eq!(auth, "42[\"auth\",{\"token\":\"123\"}]");
    session.post("40/random").is(200, "ok");
    assert_eq!(
        session.packets(),
        "44/random,{\"message\":\"Invalid namespace\"}"
    );
    session
        .post("452-[\"message\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]\u{1e}bAQID\u{1e}bBAUG")
        .is(200, "ok");
    assert_eq!(
        session.packets(),
        "452-[\"message-back\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]\u{1e}bAQID\u{1e}bBAUG"
    );
    session
        .post("42456[\"message-with-ack\",1,\"2\"]")
        .is(200, "ok");
    assert_eq!(session.packets(), "43456[1,\"2\"]");
    session.post("41\u{1e}40/custom").is(200, "ok");
    assert!(session.packets().starts_with("40/custom,{\"sid\":\""));
}
