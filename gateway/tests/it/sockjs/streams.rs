//! One node: answers that come bit by bit.

use std::io::Read;
use std::time::Duration;

use confab_gateway::session::DisconnectReason;

use super::bench::{Node, Setup};
use super::client::Stream;
use crate::http::Request;

#[test]
fn a_stream_has_each_frame_on_a_line() {
    let node = Node::start();
    let session = node.session();
    let mut stream = session.stream().opened();
    for header in [
        "content-type: application/javascript; charset=UTF-8\r\n",
        "cache-control: no-store, no-cache, no-transform, must-revalidate, max-age=0\r\n",
        "x-accel-buffering: no\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        assert!(stream.head.contains(header), "{}", stream.head);
    }
    session.send(&["x"]);
    stream.expect("a[\"x\"]\n");
    session.send(&["y", "line\nline"]);
    stream.expect("a[\"y\"]\na[\"line\\nline\"]\n");
    assert!(stream.is_silent(Duration::from_millis(50)));
}

#[test]
fn an_event_source_has_each_frame_in_an_event() {
    let node = Node::start();
    let session = node.session();
    let mut events = session.events().opened();
    let kind = "content-type: text/event-stream; charset=UTF-8\r\n";
    assert!(events.head.contains(kind), "{}", events.head);
    session.try_send(r#"["  \u0000\n\r "]"#).is(204, "");
    events.expect("data: a[\"  \\u0000\\n\\r \"]\r\n\r\n");
    // sockjs-client undoes this.
    session.send(&["100% %41"]);
    events.expect("data: a[\"100%25 %2541\"]\r\n\r\n");
}

#[test]
fn a_stream_ends_when_it_has_carried_enough_and_the_next_one_goes_on() {
    let node = Node::start();
    for is_events in [false, true] {
        let session = node.session();
        let receive = || {
            if is_events {
                session.events()
            } else {
                session.stream()
            }
        };
        let mut stream = receive().opened();
        let message = "x".repeat(128);
        let dressed = |message: &str| {
            if is_events {
                format!("data: a[\"{message}\"]\r\n\r\n")
            } else {
                format!("a[\"{message}\"]\n")
            }
        };
        let frame = dressed(&message);
        let mut carried = 0;
        while carried < 4_096 {
            session.send(&[&message]);
            stream.expect(&frame);
            carried += frame.len();
        }
        assert_eq!(stream.rest(), "");
        session.send(&["between"]);
        let mut next = receive().begun();
        next.expect(&dressed("between"));
    }
}

#[test]
fn what_passes_the_limit_of_a_stream_waits_for_the_next_one() {
    let node = Node::start();
    let session = node.session();
    let mut stream = session.stream().opened();
    session.send(&["flood 9"]);
    let frame = format!("a[\"{}\"]\n", "x".repeat(1_000));
    // The frame that reaches the limit is the last one.
    assert_eq!(stream.rest(), frame.repeat(5));
    let mut next = session.stream().begun();
    next.expect(&frame.repeat(4));
    assert!(next.is_silent(Duration::from_millis(50)));
}

#[test]
fn a_stream_without_news_hears_that_the_server_is_there() {
    let mut setup = Setup::default();
    setup.config.heartbeat_ms = 150;
    let node = Node::with(setup);
    let session = node.session();
    let mut stream = session.stream().opened();
    stream.expect("h\nh\nh\n");
    session.send(&["x"]);
    stream.expect_among_beats("a[\"x\"]\n");
    let mut events = node.session().events().opened();
    events.expect("data: h\r\n\r\ndata: h\r\n\r\n");
}

#[test]
fn a_stream_that_its_client_closes_has_ended_its_session() {
    let node = Node::start();
    let session = node.session();
    drop(session.stream().opened());
    node.ended(&[DisconnectReason::TransportClosed]);
    let told = "c[1002,\"Connection interrupted\"]\n";
    for _ in 0..3 {
        assert_eq!(session.stream().begun().rest(), told);
    }
}

#[test]
fn a_client_that_reads_nothing_is_cut_off() {
    let node = Node::with(Setup {
        send_queue_bytes: 50_000,
        ..{
            let mut setup = Setup::default();
            setup.config.response_limit = usize::MAX;
            setup
        }
    });
    let session = node.session();
    let _unread = session.stream().opened();
    for _ in 0..400 {
        if session.try_send(r#"["flood 40"]"#).status != 204 {
            break;
        }
    }
    node.ended(&[DisconnectReason::SlowConsumer]);
    node.has(0);
}

#[test]
fn a_client_of_http_1_0_reads_until_the_connection_ends() {
    let node = Node::start();
    let session = node.session();
    let head = format!("POST {}/xhr_streaming HTTP/1.0\r\n\r\n", session.path);
    let stream = Stream::new(Request::raw(node.address, head.as_bytes()).into_stream());
    assert!(!stream.head.contains("chunked"), "{}", stream.head);
    session.send(&["x", "bye"]);
    let mut text = String::new();
    stream.into_stream().read_to_string(&mut text).unwrap();
    let expected = "\no\na[\"x\"]\nc[3000,\"Go away!\"]\n";
    assert!(text.starts_with("hh") && text.ends_with(expected));
}
