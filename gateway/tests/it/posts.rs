//! POSTs of polling sessions: limits, order, and what breaks the protocol.

use std::time::Duration;

use crate::raw::Echo;

const CALM: [&str; 2] = ["--ping-interval-ms", "60000"];

#[test]
fn a_post_is_answered_ok() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let answer = session.post("4hello");
    answer.is(200, "ok");
    assert_eq!(answer.header("content-type"), ["text/html"]);
    assert_eq!(answer.header("cache-control"), ["no-store"]);
}

#[test]
fn a_post_over_max_payload_is_413_and_the_session_goes_on() {
    let echo = Echo::with(&["--max-payload", "1000", "--ping-interval-ms", "60000"]);
    let session = echo.polling("/engine.io/");
    let fits = format!("4{}", "x".repeat(999));
    session.post(&fits).is(200, "ok");
    assert_eq!(session.packets(), fits);
    assert_eq!(session.post(&format!("{fits}x")).status, 413);
    // Without a Content-Length, and far too large.
    let chunk = format!("800\r\n{}\r\n", "x".repeat(0x800));
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
        session.target
    );
    let answer = crate::http::Request::raw(echo.address, head.as_bytes()).answer();
    assert_eq!(answer.status, 413);
    session.post("4on").is(200, "ok");
    assert_eq!(session.packets(), "4on");
}

#[test]
fn an_invalid_packet_closes_the_session() {
    let echo = Echo::with(&CALM);
    for body in ["abc", "", "4a\u{1e}", "2probe", "0{}", "b#", "4a\u{1e}9"] {
        let session = echo.polling("/engine.io/");
        session.post(body).is_refused(3);
        session.poll().is_refused(1);
    }
    let session = echo.polling("/engine.io/");
    session.begin_post(2, b"4\xff").answer().is_refused(3);
    let session = echo.polling("/socket.io/");
    let mut poll = session.waiting_poll();
    session.post("4abc").is_refused(3);
    poll.answer().is(200, "1");
}

#[test]
fn packets_before_an_invalid_one_are_processed() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut poll = session.waiting_poll();
    session.post("4before\u{1e}abc").is_refused(3);
    // Never together with the end: clients would process it too late to say that they have it.
    poll.answer().is(200, "4before");
    session.poll().is_refused(1);
}

#[test]
fn a_second_post_beside_the_first_closes_the_session() {
    // Another node would wait for all of the first one, and the session not know of it.
    let echo = Echo::alone(&CALM);
    // On a slow machine the second may be the first that is read, but not every time.
    assert!((0..5).any(|_| is_closed_by_a_second_post(&echo)));
}

fn is_closed_by_a_second_post(echo: &Echo) -> bool {
    let session = echo.polling("/engine.io/");
    let mut poll = session.waiting_poll();
    let mut first = session.begin_post(6, b"4he");
    std::thread::sleep(Duration::from_millis(100));
    echo.open_sessions();
    let second = session.post("4other");
    if second.status == 200 {
        return false;
    }
    second.is_refused(3);
    poll.answer().is(200, "1");
    first.more(b"llo");
    first.answer().is_refused(1);
    true
}

#[test]
fn a_post_that_breaks_off_closes_the_session() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut poll = session.waiting_poll();
    let first = session.begin_post(6, b"4he");
    std::thread::sleep(Duration::from_millis(30));
    drop(first);
    poll.answer().is(200, "1");
    session.poll().is_refused(1);
}

#[test]
fn a_chunked_post_that_breaks_off_is_not_processed() {
    let echo = Echo::with(&CALM);
    for sent in ["4\r\n4hel", "4\r\n4hel\r\n", "4\r\n4hel\r\n0\r\n"] {
        let session = echo.polling("/engine.io/");
        let mut poll = session.waiting_poll();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{sent}",
            session.target
        );
        let post = crate::http::Request::raw(echo.address, head.as_bytes());
        std::thread::sleep(Duration::from_millis(30));
        drop(post);
        poll.answer().is(200, "1");
        session.poll().is_refused(1);
    }
}

#[test]
fn a_post_that_stalls_is_timed_out() {
    let echo = Echo::with(&["--ping-interval-ms", "2000", "--ping-timeout-ms", "500"]);
    let session = echo.polling("/engine.io/");
    let answer = session.begin_post(6, b"4he").answer();
    assert_eq!(answer.status, 408);
    session.poll().is_refused(1);
}

#[test]
fn a_post_that_was_read_is_processed_though_its_client_has_gone() {
    let echo = Echo::with(&CALM);
    for _ in 0..20 {
        let session = echo.polling("/engine.io/");
        let mut poll = session.waiting_poll();
        let body = format!("4{}", "x".repeat(20_000));
        drop(session.begin_post(body.len(), body.as_bytes()));
        poll.answer().is(200, &body);
    }
}

#[test]
fn posts_follow_each_other_on_one_connection() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut connection = session.begin_post(3, b"4x0");
    connection.answer().is(200, "ok");
    for n in 1..5 {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n4x{n}",
            session.target
        );
        connection.more(head.as_bytes());
        connection.answer().is(200, "ok");
    }
    assert_eq!(session.packets(), "4x0\u{1e}4x1\u{1e}4x2\u{1e}4x3\u{1e}4x4");
}
