//! A server that is told to stop tells its sessions, however they are carried, and waits for them.

use std::cell::Cell;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::http::Request;
use crate::raw::{Echo, seen_in_time};

/// Less than a session over polling waits for its client with its last word.
pub(crate) const LINGER: Duration = Duration::from_millis(2_500);

#[test]
fn a_drain_ends_every_session_with_a_word() {
    seen_in_time(LINGER, a_drain);
}

fn a_drain(since: &Cell<Instant>) {
    let mut echo = Echo::alone(&["--ping-interval-ms", "60000"]);
    let mut raw = echo.session("/engine.io/");
    let (polled, told_later) = (echo.polling("/engine.io/"), echo.polling("/engine.io/"));
    let mut poll = polled.waiting_poll();
    // The connection stands already when the server stops to accept, as one from another node would; its request comes later.
    let head = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n", told_later.target);
    let mut late = Request::raw(echo.address, head.as_bytes());
    // It is accepted when a later one is.
    echo.has(3);
    since.set(Instant::now());
    let pid = echo.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    poll.answer().is(200, "1");
    assert_eq!(raw.closed(), Some(1012));
    late.more(b"\r\n");
    late.answer().is(200, "1");
    drop((polled, told_later));
    echo.leaves();
}
