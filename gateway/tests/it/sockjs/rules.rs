//! One node: what the protocol says of addresses, headers, polls, and how a session begins and ends.

use std::time::Duration;

use confab_gateway::config::{LimitsConfig, SockJsConfig};
use confab_gateway::session::DisconnectReason;

use super::bench::{Node, Setup, until};

const NOT_KEPT: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const ORIGIN: &str = "Origin: https://app.example\r\n";

fn with_config(change: impl FnOnce(&mut SockJsConfig)) -> Node {
    let mut setup = Setup::default();
    change(&mut setup.config);
    Node::with(setup)
}

#[test]
fn the_endpoint_greets_and_knows_no_other_addresses() {
    let node = Node::start();
    for path in ["/ws", "/ws/"] {
        let answer = node.request("GET", path, "", "");
        answer.is(200, "Welcome to SockJS!\n");
        assert_eq!(answer.header("content-type"), ["text/plain; charset=UTF-8"]);
    }
    for path in [
        "/ws/a",
        "/ws/a.html",
        "/ws//",
        "/ws/a/a",
        "/ws//a/xhr",
        "/ws/a./a/xhr",
        "/ws/a/a./xhr",
        "/ws/a/a/jsonp",
        "/ws/a/a/jsonp_send",
        "/ws/a/a/htmlfile",
        "/ws/iframe.html",
        "/wsx/info",
    ] {
        assert_eq!(node.request("GET", path, "", "").status, 404, "{path}");
        assert_eq!(node.request("POST", path, "", "").status, 404, "{path}");
    }
    assert_eq!(node.sessions(), 0);
}

#[test]
fn info_says_what_there_is_and_is_never_kept() {
    let node = Node::start();
    let read = || {
        let answer = node.request("GET", "/ws/info", ORIGIN, "");
        assert_eq!(
            answer.header("content-type"),
            ["application/json; charset=UTF-8"]
        );
        assert_eq!(answer.header("cache-control"), [NOT_KEPT]);
        serde_json::from_str::<serde_json::Value>(answer.text()).unwrap()
    };
    let (first, second) = (read(), read());
    assert_eq!(first["websocket"], true);
    assert_eq!(first["origins"], serde_json::json!(["*:*"]));
    assert_eq!(first["cookie_needed"], false);
    assert!(u32::try_from(first["entropy"].as_u64().unwrap()).is_ok());
    assert_ne!(first["entropy"], second["entropy"]);
    assert!(first.get("base_url").is_none());
    let elsewhere = with_config(|config| config.base_url = "https://a.example/ws".into());
    let answer = elsewhere.request("GET", "/ws/info", "", "");
    let info: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(info["base_url"], "https://a.example/ws");
}

#[test]
fn pages_are_asked_what_they_may_and_others_may_nothing() {
    let node = Node::start();
    for (path, methods) in [
        ("/ws/info", "OPTIONS, GET"),
        ("/ws/a/b/xhr", "OPTIONS, POST"),
        ("/ws/a/b/xhr_send", "OPTIONS, POST"),
        ("/ws/a/b/xhr_streaming", "OPTIONS, POST"),
        ("/ws/a/b/eventsource", "OPTIONS, GET"),
    ] {
        let wish = format!("{ORIGIN}Access-Control-Request-Headers: a, b\r\n");
        let answer = node.request("OPTIONS", path, &wish, "");
        answer.is(204, "");
        for (name, value) in [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", "a, b"),
            ("access-control-max-age", "31536000"),
            ("cache-control", "public, max-age=31536000"),
        ] {
            assert_eq!(answer.header(name), [value], "{path}");
        }
        assert_eq!(answer.header("expires").len(), 1);
        let evil = "Origin: https://evil.example\r\n";
        assert_eq!(node.request("OPTIONS", path, evil, "").status, 403);
        for method in ["POST", "GET"] {
            assert_eq!(node.request(method, path, evil, "").status, 403, "{path}");
        }
        let answer = node.request("DELETE", path, "", "");
        answer.is(405, "");
        assert_eq!(answer.header("allow"), [methods]);
    }
    assert_eq!(node.sessions(), 0);
}

#[test]
fn a_session_is_carried_by_polls() {
    let node = Node::start();
    let session = node.session();
    let path = format!("{}/xhr", session.path);
    let opened = node.request("POST", &path, ORIGIN, "");
    opened.is(200, "o\n");
    for (name, value) in [
        ("content-type", "application/javascript; charset=UTF-8"),
        ("cache-control", NOT_KEPT),
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(opened.header(name), [value]);
    }
    let sent = session.try_send(r#"["x"]"#);
    sent.is(204, "");
    assert_eq!(sent.header("content-type"), ["text/plain; charset=UTF-8"]);
    assert_eq!(sent.header("cache-control"), [NOT_KEPT]);
    session.poll().is(200, "a[\"x\"]\n");
    let mut poll = session.waiting_poll();
    session.send(&["later"]);
    poll.answer().is(200, "a[\"later\"]\n");
    session.send(&["a", "b"]);
    session.send(&["c"]);
    session.poll().is(200, "a[\"a\",\"b\",\"c\"]\n");
    // The first part of its address is for load balancers.
    session.send(&["d"]);
    let elsewhere = path.replace("/000/", "/999/");
    node.request("POST", &elsewhere, "", "")
        .is(200, "a[\"d\"]\n");
    assert_eq!(node.sessions(), 1);
}

#[test]
fn a_body_is_taken_as_a_whole_or_not_at_all() {
    let node = Node::start();
    let session = node.session();
    session.try_send(r#"["x"]"#).is(404, "");
    let session = session.opened();
    session.try_send("").is(500, "Payload expected.");
    for broken in [r#"["x"#, r#"["x", 1]"#, r#""x""#, "{}"] {
        session.try_send(broken).is(500, "Broken JSON encoding.");
    }
    let too_large = format!("[\"{}\"]", "x".repeat(10_000));
    assert_eq!(session.try_send(&too_large).status, 413);
    // Its client is gone in the middle of it.
    let whole = r#"["one","two"]"#;
    drop(session.begin_send(whole.len(), r#"["one","#));
    // And another one's before the answer came, but everything had been said.
    drop(session.begin_send(whole.len(), whole));
    session.poll().is(200, "a[\"one\",\"two\"]\n");
    session.try_send("[]").is(204, "");
    for kind in ["text/plain", "application/xml", "T", ""] {
        let headers = format!("Content-Type: {kind}\r\n");
        let path = format!("{}/xhr_send", session.path);
        node.request("POST", &path, &headers, r#"["a"]"#)
            .is(204, "");
    }
    session.poll().is(200, "a[\"a\",\"a\",\"a\",\"a\"]\n");
}

#[test]
fn messages_of_several_bodies_are_processed_in_order() {
    let node = Node::start();
    let session = node.session().opened();
    let body = r#"["slow one","two"]"#;
    let mut first = session.begin_send(body.len(), body);
    assert!(first.is_waiting(Duration::from_millis(100)));
    session.send(&["three"]);
    first.answer().is(204, "");
    session.poll().is(200, "a[\"one\",\"two\",\"three\"]\n");
}

#[test]
fn a_second_receiver_is_turned_away_and_the_first_goes_on() {
    let node = Node::start();
    let session = node.session().opened();
    let mut poll = session.waiting_poll();
    let told = "c[2010,\"Another connection still open\"]\n";
    for _ in 0..2 {
        session.poll().is(200, told);
    }
    assert_eq!(session.stream().begun().rest(), told);
    session.send(&["x"]);
    poll.answer().is(200, "a[\"x\"]\n");
}

#[test]
fn whoever_comes_after_the_end_is_told_why_for_a_while() {
    let node = with_config(|config| config.disconnect_delay_ms = 10_000);
    let session = node.session().opened();
    session.send(&["bye"]);
    for _ in 0..3 {
        session.poll().is(200, "c[3000,\"Go away!\"]\n");
    }
    let mut events = session.events().begun();
    assert_eq!(events.rest(), "data: c[3000,\"Go away!\"]\r\n\r\n");
    session.try_send(r#"["x"]"#).is(404, "");
    node.ended(&[DisconnectReason::ClientClosed]);
    until(|| {
        let answer = session.poll();
        assert_eq!(answer.status, 200);
        answer.text() == "o\n"
    });
}

#[test]
fn what_was_said_before_the_end_comes_before_it() {
    let node = Node::start();
    let session = node.session().opened();
    session.send(&["bye one"]);
    session.poll().is(200, "a[\"one\",\"the last\"]\n");
    session.poll().is(200, "c[1000,\"logged_out\"]\n");
    let session = node.session().opened();
    let mut poll = session.waiting_poll();
    session.send(&["bye two"]);
    poll.answer().is(200, "a[\"two\",\"the last\"]\n");
    session.poll().is(200, "c[1000,\"logged_out\"]\n");
    let session = node.session();
    let mut stream = session.stream().opened();
    session.send(&["bye three"]);
    assert_eq!(
        stream.rest(),
        "a[\"three\"]\na[\"the last\"]\nc[1000,\"logged_out\"]\n"
    );
}

#[test]
fn a_client_that_breaks_off_has_ended_its_session() {
    let node = Node::start();
    let session = node.session().opened();
    drop(session.waiting_poll());
    node.ended(&[DisconnectReason::TransportClosed]);
    for _ in 0..2 {
        session
            .poll()
            .is(200, "c[1002,\"Connection interrupted\"]\n");
    }
    node.has(0);
}

#[test]
fn a_session_lasts_for_a_while_without_a_receiver() {
    let node = with_config(|config| config.disconnect_delay_ms = 10_000);
    let session = node.session().opened();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_secs(3));
        session.send(&["x"]);
        session.poll().is(200, "a[\"x\"]\n");
    }
    node.ended(&[]);
    node.has(0);
    node.ended(&[DisconnectReason::TransportClosed]);
    session
        .poll()
        .is(200, "c[1002,\"Connection interrupted\"]\n");
}

#[test]
fn a_poll_without_news_hears_that_the_server_is_there() {
    let node = with_config(|config| config.heartbeat_ms = 200);
    let session = node.session().opened();
    for _ in 0..2 {
        session.poll().is(200, "h\n");
    }
    session.send(&["x"]);
    session.poll().is(200, "a[\"x\"]\n");
}

#[test]
fn sessions_are_limited_like_all_others() {
    let node = Node::with(Setup {
        max_sessions: 1,
        ..Setup::default()
    });
    let first = node.session().opened();
    let refused = node.session().poll();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after").len(), 1);
    first.send(&["still here"]);
    let mut setup = Setup::default();
    setup.config.disconnect_delay_ms = 10_000;
    let node = Node::with(Setup {
        limits: LimitsConfig {
            sessions_per_ip: 1,
            handshakes_per_ip: 0,
            sessions_per_user: 0,
        },
        ..setup
    });
    let first = node.session().opened();
    assert_eq!(node.session().poll().status, 429);
    first.send(&["bye"]);
    first.poll().is(200, "c[3000,\"Go away!\"]\n");
    node.has(0);
    // Its name is taken for a while, and that counts.
    assert_eq!(node.session().poll().status, 429);
    until(|| node.session().poll().status == 200);
}

#[test]
fn a_node_that_drains_tells_its_clients() {
    let node = Node::start();
    let (polling, streaming) = (node.session().opened(), node.session());
    let mut poll = polling.waiting_poll();
    let mut stream = streaming.stream().opened();
    node.drain();
    poll.answer().is(200, "c[1012,\"draining\"]\n");
    assert_eq!(stream.rest(), "c[1012,\"draining\"]\n");
    node.has(0);
}
