//! One node: SockJS over a WebSocket.

use confab_gateway::session::DisconnectReason;

use super::bench::{Node, Setup};
use super::client::Client;
use crate::raw::{Frame, Raw};

fn open(session: &Client) -> Raw {
    let mut raw = Raw::upgrade(session.address, &format!("{}/websocket", session.path));
    said(&mut raw, "o");
    raw
}

#[track_caller]
fn said(raw: &mut Raw, text: &str) {
    let frame = raw.frame().unwrap();
    let found = String::from_utf8_lossy(&frame.payload).into_owned();
    assert_eq!((frame.opcode, found.as_str()), (1, text));
}

#[test]
fn messages_come_alone_or_several_at_a_time() {
    let node = Node::start();
    let mut raw = open(&node.session());
    raw.send_text("");
    raw.send_text(r#"["a","b"]"#);
    said(&mut raw, r#"a["a"]"#);
    said(&mut raw, r#"a["b"]"#);
    raw.send_text(r#""alone""#);
    said(&mut raw, r#"a["alone"]"#);
    raw.send(true, 9, b"ping");
    let pong = Frame {
        opcode: 10,
        payload: b"ping".to_vec(),
    };
    assert_eq!(raw.frame(), Some(pong));
}

#[test]
fn what_is_no_message_ends_the_session() {
    for broken in [r#"["a"#, "{}", "[1]"] {
        let node = Node::start();
        let mut raw = open(&node.session());
        raw.send_text(broken);
        said(&mut raw, r#"c[1002,"protocol_violation"]"#);
        assert_eq!(raw.closed(), Some(1002));
        node.ended(&[DisconnectReason::ProtocolViolation]);
    }
}

#[test]
fn the_end_is_said_in_the_protocols_words() {
    let node = Node::start();
    let mut raw = open(&node.session());
    raw.send_text(r#"["bye"]"#);
    said(&mut raw, r#"c[3000,"Go away!"]"#);
    assert_eq!(raw.closed(), Some(1000));
    let mut raw = open(&node.session());
    raw.send_text(r#"["bye one"]"#);
    said(&mut raw, r#"a["one"]"#);
    said(&mut raw, r#"a["the last"]"#);
    said(&mut raw, r#"c[1000,"logged_out"]"#);
    assert_eq!(raw.closed(), Some(1000));
    let mut raw = open(&node.session());
    node.drain();
    said(&mut raw, r#"c[1012,"draining"]"#);
    assert_eq!(raw.closed(), Some(1012));
}

#[test]
fn a_session_is_its_connections_whatever_it_is_called() {
    let node = Node::start();
    let session = node.session();
    let (mut one, mut other) = (open(&session), open(&session));
    one.send_text(r#"["one"]"#);
    other.send_text(r#"["other"]"#);
    said(&mut one, r#"a["one"]"#);
    said(&mut other, r#"a["other"]"#);
    session.poll().is(200, "o\n");
    assert_eq!(node.sessions(), 3);
    drop(one);
    node.has(2);
}

#[test]
fn a_client_without_news_hears_that_the_server_is_there() {
    let mut setup = Setup::default();
    setup.config.heartbeat_ms = 150;
    let node = Node::with(setup);
    let mut raw = open(&node.session());
    said(&mut raw, "h");
    said(&mut raw, "h");
}

#[test]
fn a_request_that_opens_no_websocket_is_told_so() {
    let node = Node::start();
    let answer = node.request("GET", "/ws/0/0/websocket", "", "");
    answer.is(400, "Can \"Upgrade\" only to \"WebSocket\".");
    for headers in ["", "Upgrade: websocket\r\nConnection: Upgrade\r\n"] {
        let answer = node.request("POST", "/ws/0/0/websocket", headers, "");
        answer.is(405, "");
        assert_eq!(answer.header("allow"), ["GET"]);
    }
}
