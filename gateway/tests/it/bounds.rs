//! What one client may cost the others.

use std::time::{Duration, Instant};

use crate::http::{Polling, Request};
use crate::raw::{Echo, PATIENCE};

const CALM: [&str; 2] = ["--ping-interval-ms", "60000"];

/// A request's bytes, with a header that may hold anything.
fn request(target: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{name}: ");
    [head.as_bytes(), value, b"\r\n\r\n"].concat()
}

#[test]
fn a_clients_odd_headers_do_not_end_the_polls_of_others() {
    let nodes = Echo::nodes(2, &CALM);
    let (owner, edge) = (&nodes[0].0, &nodes[1].0);
    let there = |session: Polling<'_>| Polling {
        echo: edge,
        target: session.target,
        sid: session.sid,
    };
    let bystander = there(owner.polling("/engine.io/"));
    let mut poll = bystander.waiting_poll();
    for name in ["Accept-Encoding", "Content-Type", "Cookie", "User-Agent"] {
        let odd = there(owner.polling("/engine.io/"));
        odd.post("4x").is(200, "ok");
        let bytes = request(&odd.target, name, &vec![0xff; 60_000]);
        Request::raw(edge.address, &bytes).answer().is(200, "4x");
    }
    let long = format!("{}&x={}", bystander.target, "x".repeat(4_096));
    assert_eq!(edge.get(&long, "").answer().status, 414);
    let origin = request(&bystander.target, "Origin", &[b'x'; 5_000]);
    let refused = Request::raw(edge.address, &origin).answer();
    assert_eq!(refused.status, 431);
    assert!(poll.is_waiting(Duration::from_millis(50)), "it was ended");
    bystander.post("4on").is(200, "ok");
    poll.answer().is(200, "4on");
}

#[test]
fn posts_that_are_refused_do_not_end_the_polls_of_others() {
    let nodes = Echo::nodes(2, &CALM);
    let (owner, edge) = (&nodes[0].0, &nodes[1].0);
    let there = |session: Polling<'_>| Polling {
        echo: edge,
        target: session.target,
        sid: session.sid,
    };
    let bystander = there(owner.polling("/engine.io/"));
    let mut poll = bystander.waiting_poll();
    let over = there(owner.polling("/engine.io/"));
    over.post("1").is(200, "ok");
    let body = format!("4{}", "x".repeat(900_000));
    for _ in 0..20 {
        over.post(&body).is_refused(1);
    }
    assert!(poll.is_waiting(Duration::from_millis(50)), "it was ended");
    bystander.post("4on").is(200, "ok");
    poll.answer().is(200, "4on");
}

#[test]
fn a_node_that_is_full_says_so_and_takes_sessions_again() {
    let mut flags = vec!["--max-sessions", "2"];
    flags.extend(CALM);
    let echo = Echo::alone(&flags);
    let (mut websocket, polling) = (echo.session("/engine.io/"), echo.polling("/engine.io/"));
    for target in ["/engine.io/", "/socket.io/"] {
        let refused = echo
            .get(&format!("{target}?EIO=4&transport=polling"), "")
            .answer();
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after"), ["5"]);
        assert!(refused.text().starts_with("{\"code\":4,"));
    }
    polling.post("1").is(200, "ok");
    websocket.send_text("1");
    assert_eq!(websocket.closed(), Some(1000));
    let until = Instant::now() + PATIENCE;
    for _ in 0..2 {
        let handshake = || echo.get("/engine.io/?EIO=4&transport=polling", "").answer();
        while handshake().status != 200 {
            assert!(Instant::now() < until, "a place was never given back");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
