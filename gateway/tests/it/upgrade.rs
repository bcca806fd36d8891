//! From polling to WebSocket.

use std::time::{Duration, Instant};

use crate::http::{Polling, Request};
use crate::raw::{Echo, PATIENCE, Raw, frame};

const CALM: [&str; 2] = ["--ping-interval-ms", "60000"];

/// A WebSocket for a session over polling, not probed yet.
fn websocket(session: &Polling<'_>) -> Raw {
    Raw::upgrade(session.echo.address, &session.upgrade_target())
}

/// The same where there was one before, which is refused until the server has noticed its end.
fn next_websocket(session: &Polling<'_>) -> Raw {
    let until = Instant::now() + PATIENCE;
    loop {
        let target = session.upgrade_target();
        let (raw, answer) = Raw::try_upgrade(session.echo.address, &target, "");
        if answer.status == 101 {
            return raw;
        }
        answer.is_refused(3);
        assert!(
            Instant::now() < until,
            "the one before was never noticed to have ended"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn probed(session: &Polling<'_>) -> Raw {
    probe(websocket(session))
}

fn probe(mut raw: Raw) -> Raw {
    raw.send_text("2probe");
    assert_eq!(raw.text(), "3probe");
    raw
}

fn upgraded(session: &Polling<'_>) -> Raw {
    let mut raw = probed(session);
    raw.send_text("5");
    raw.send_text("4hello");
    assert_eq!(raw.text(), "4hello");
    raw
}

fn refused_websocket(session: &Polling<'_>, code: u8) {
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        session.upgrade_target()
    );
    Request::raw(session.echo.address, head.as_bytes())
        .answer()
        .is_refused(code);
}

#[test]
fn a_session_moves_from_polling_to_websocket() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut raw = upgraded(&session);
    raw.send(true, 2, &[1, 2, 3]);
    assert_eq!(raw.frame().unwrap().payload, [1, 2, 3]);
}

#[test]
fn while_upgrading_every_poll_is_released_repeatedly() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut poll = session.waiting_poll();
    let mut raw = probed(&session);
    poll.answer().is(200, "6");
    for _ in 0..5 {
        session.poll().is(200, "6");
    }
    raw.send_text("5");
    raw.send_text("4moved");
    assert_eq!(raw.text(), "4moved");
}

#[test]
fn a_poll_that_waits_is_released_at_the_probe() {
    let echo = Echo::with(&CALM);
    // Not only when the next release is due. A slow machine may take as long as that, but not every time.
    let at_once = (0..20).any(|_| {
        let session = echo.polling("/engine.io/");
        let mut poll = session.waiting_poll();
        let _raw = probed(&session);
        let probed_at = Instant::now();
        poll.answer().is(200, "6");
        probed_at.elapsed() < Duration::from_millis(90)
    });
    assert!(at_once);
}

#[test]
fn while_upgrading_data_still_goes_out_in_polls() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut raw = probed(&session);
    session.post("4by post").is(200, "ok");
    session.poll().is(200, "4by post");
    session.post("4left behind").is(200, "ok");
    raw.send_text("5");
    assert_eq!(
        raw.text(),
        "4left behind",
        "what no poll took goes out on the WebSocket"
    );
}

#[test]
fn after_the_upgrade_polls_are_refused_and_the_websocket_is_unharmed() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut raw = upgraded(&session);
    session.poll().is_refused(3);
    session.post("4x").is_refused(3);
    session.post("1").is_refused(3);
    drop(session.begin_poll());
    raw.send_text("4unharmed");
    assert_eq!(raw.text(), "4unharmed");
}

#[test]
fn a_poll_that_follows_the_upgrade_at_once_is_refused() {
    let echo = Echo::with(&CALM);
    for _ in 0..20 {
        let session = echo.polling("/engine.io/");
        let mut raw = websocket(&session);
        raw.send_text("2probe");
        raw.send_text("5");
        // Before the second frame was read it is released like any other while the WebSocket probes.
        let mut answer = session.poll();
        let until = Instant::now() + PATIENCE;
        while answer.status == 200 && Instant::now() < until {
            answer.is(200, "6");
            answer = session.poll();
        }
        answer.is_refused(3);
        assert_eq!(raw.text(), "3probe");
        raw.send_text("4hello");
        assert_eq!(raw.text(), "4hello");
    }
}

#[test]
fn a_poll_that_waits_at_the_upgrade_harms_nobody() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut raw = probed(&session);
    session.poll().is(200, "6");
    let poll = session.begin_poll();
    raw.send_text("5");
    raw.send_text("4unharmed");
    assert_eq!(raw.text(), "4unharmed");
    // Not before: a poll that breaks off while polling carries the session ends it.
    drop(poll);
    raw.send_text("4still");
    assert_eq!(raw.text(), "4still");
}

#[test]
fn a_second_websocket_is_refused_without_harm() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut raw = probed(&session);
    refused_websocket(&session, 3);
    raw.send_text("5");
    raw.send_text("4first");
    assert_eq!(raw.text(), "4first");
    refused_websocket(&session, 3);
    raw.send_text("4unharmed");
    assert_eq!(raw.text(), "4unharmed");
}

#[test]
fn a_session_born_on_a_websocket_takes_no_other_request() {
    let echo = Echo::with(&CALM);
    let mut raw = Raw::upgrade(echo.address, "/engine.io/?EIO=4&transport=websocket");
    let open: serde_json::Value = serde_json::from_str(&raw.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap().to_owned();
    let session = Polling {
        echo: &echo,
        target: format!("/engine.io/?EIO=4&transport=polling&sid={sid}"),
        sid,
    };
    session.poll().is_refused(3);
    session.post("1").is_refused(3);
    refused_websocket(&session, 3);
    raw.send_text("4unharmed");
    assert_eq!(raw.text(), "4unharmed");
}

#[test]
fn a_probe_that_dies_leaves_polling_alive() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    for _ in 0..3 {
        drop(probe(next_websocket(&session)));
        // Until that is noticed polls are released, and no other may probe.
        let mut poll = session.poll_that_waits_again();
        session.post("4alive").is(200, "ok");
        poll.answer().is(200, "4alive");
    }
    let mut poll = session.waiting_poll();
    session.post("4and patient").is(200, "ok");
    poll.answer().is(200, "4and patient");
    // And another try may succeed.
    let mut raw = probe(next_websocket(&session));
    raw.send_text("5");
    raw.send_text("4hello");
    assert_eq!(raw.text(), "4hello");
}

#[test]
fn a_websocket_that_is_not_probed_properly_is_closed_and_polling_lives() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    for bytes in [
        frame(true, 1, b"5", Some([1, 2, 3, 4])),
        frame(true, 1, b"4hello", Some([1, 2, 3, 4])),
        frame(true, 2, b"x", Some([1, 2, 3, 4])),
        frame(true, 1, b"2probe", None),
    ] {
        let mut raw = next_websocket(&session);
        raw.send_raw(&bytes);
        assert!(raw.frame().is_none(), "{bytes:?}");
    }
    session.post("4alive").is(200, "ok");
    assert_eq!(session.packets(), "4alive");
}

#[test]
fn an_upgrade_that_takes_too_long_leaves_polling_alive() {
    let echo = Echo::with(&["--upgrade-timeout-ms", "8000"]);
    let session = echo.polling("/engine.io/");
    let mut raw = probed(&session);
    assert!(raw.frame().is_none());
    let mut poll = session.poll_that_waits_again();
    session.post("4alive").is(200, "ok");
    poll.answer().is(200, "4alive");
}

#[test]
fn frames_behind_the_upgrade_in_one_segment_are_not_lost() {
    let echo = Echo::with(&CALM);
    let session = echo.polling("/engine.io/");
    let mut raw = websocket(&session);
    let mut segment = Vec::new();
    for text in ["2probe", "5", "4one", "4two"] {
        segment.extend(frame(true, 1, text.as_bytes(), Some([1, 2, 3, 4])));
    }
    let three = frame(true, 1, b"4three", Some([1, 2, 3, 4]));
    segment.extend(&three[..4]);
    raw.send_raw(&segment);
    assert_eq!(raw.text(), "3probe");
    assert_eq!(raw.text(), "4one");
    assert_eq!(raw.text(), "4two");
    raw.send_raw(&three[4..]);
    assert_eq!(raw.text(), "4three");
}

#[test]
fn namespaces_and_the_heartbeat_go_on_after_the_upgrade() {
    let echo = Echo::with(&[
        "--connect-timeout-ms",
        "8000",
        "--ping-interval-ms",
        "300",
        "--ping-timeout-ms",
        "10000",
    ]);
    let session = echo.polling("/socket.io/");
    session.post("40").is(200, "ok");
    assert!(session.packets().contains("42[\"auth\",{}]"));
    let joined = Instant::now();
    let mut raw = probed(&session);
    raw.send_text("5");
    raw.send_text("42[\"message\",1]");
    assert_eq!(raw.text(), "42[\"message-back\",1]");
    while joined.elapsed() < Duration::from_millis(8_300) {
        assert_eq!(raw.frame().unwrap().payload, b"2");
        raw.send_text("3");
    }
    raw.send_text("42[\"message\",2]");
    assert_eq!(raw.text(), "42[\"message-back\",2]");
    raw.closed();
}

#[test]
fn the_heartbeat_of_a_session_that_upgrades_is_not_begun_anew() {
    let echo = Echo::with(&["--ping-interval-ms", "1500", "--ping-timeout-ms", "500"]);
    // One that is begun anew is always as late as that; one that is not may be, on a slow machine, but not every time.
    let mut seen = Vec::new();
    let goes_on = (0..10).any(|_| {
        let opened = Instant::now();
        let session = echo.polling("/engine.io/");
        std::thread::sleep(Duration::from_millis(1_000));
        let (mut raw, answer) = Raw::try_upgrade(echo.address, &session.upgrade_target(), "");
        if answer.status != 101 {
            return false;
        }
        for text in ["2probe", "5"] {
            if !raw.try_send_raw(&frame(true, 1, text.as_bytes(), Some([1, 2, 3, 4]))) {
                return false;
            }
        }
        let is_ping = std::iter::from_fn(|| raw.frame()).any(|frame| frame.payload == b"2");
        let pinged = opened.elapsed();
        raw.closed();
        let lived = opened.elapsed();
        seen.push((pinged, lived));
        is_ping && pinged < Duration::from_millis(2_400) && lived < Duration::from_millis(2_900)
    });
    assert!(goes_on, "{seen:?}");
}
