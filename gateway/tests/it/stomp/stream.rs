//! Frames in a stream of bytes, whatever carries these.

use confab_gateway::session::DisconnectReason;

use super::client::{Client, Received};
use super::server::Server;

const SEND: &str = "SEND\ndestination:/app/lobby\nreceipt:r\n\nhello\0";

fn sent(server: &Server) -> Vec<String> {
    let sent = std::mem::take(&mut server.board.lock().sent);
    sent.into_iter()
        .map(|(_, body)| String::from_utf8(body).unwrap())
        .collect()
}

#[test]
fn frames_may_be_split_anywhere_and_several_may_come_at_once() {
    let server = Server::start();
    let mut client = server.client("1.2");
    for byte in SEND.as_bytes() {
        client.0.send(true, 1, &[*byte]);
    }
    assert_eq!(client.receipt(), "r");
    client.send(&format!("{SEND}\n\r\n\n{SEND}{}", &SEND[..10]));
    assert_eq!(
        (client.receipt(), client.receipt()),
        ("r".into(), "r".into())
    );
    client.send(&SEND[10..]);
    assert_eq!(client.receipt(), "r");
    assert_eq!(sent(&server), ["hello"; 4]);
}

#[test]
fn binary_messages_and_fragments_are_pieces_as_well() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.0.send(true, 2, &SEND.as_bytes()[..20]);
    client.0.send(true, 1, &SEND.as_bytes()[20..]);
    assert_eq!(client.receipt(), "r");
    client.0.send(false, 2, &SEND.as_bytes()[..20]);
    client.0.send(true, 9, b"ping");
    client.0.send(true, 0, &SEND.as_bytes()[20..]);
    let pong = client.0.frame().unwrap();
    assert_eq!(
        (pong.opcode, pong.payload.as_slice()),
        (10, b"ping".as_slice())
    );
    assert_eq!(client.receipt(), "r");
    assert_eq!(sent(&server), ["hello"; 2]);
}

#[test]
fn a_body_ends_at_its_length_or_at_the_first_nul() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("SEND\ndestination:/app/lobby\nreceipt:1\ncontent-length:5\n\na\0b\0c\0");
    assert_eq!(client.receipt(), "1");
    client.send("SEND\r\ndestination:/app/lobby\r\nreceipt:2\r\n\r\nabc\0\r\n");
    assert_eq!(client.receipt(), "2");
    assert_eq!(sent(&server), ["a\0b\0c", "abc"]);
    client.send("SEND\ndestination:/app/lobby\ncontent-length:2\n\nabc\0");
    client.error(1002);
}

#[test]
fn the_first_of_repeated_headers_counts() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("SEND\ndestination:/app/a\ndestination:/app/b\nreceipt:1\nreceipt:2\n\n\0");
    assert_eq!(client.receipt(), "1");
    assert_eq!(server.board.lock().sent[0].0, "a");
}

#[test]
fn escapes_are_those_of_the_version() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("BEGIN\ntransaction:t\nreceipt:a\\cb\\\\c\\nd\\re\n\n\0");
    assert_eq!(client.receipt(), "a\\cb\\\\c\\nd\\re", "and back again");
    let mut client = server.client("1.0");
    client.send("BEGIN\ntransaction:t\nreceipt:a\\tb\n\n\0");
    assert_eq!(client.receipt(), "a\\tb");
    for (version, receipt) in [
        ("1.1", "a\\rb"),
        ("1.1", "a\\t"),
        ("1.2", "a\\tb"),
        ("1.2", "a\\"),
    ] {
        let mut client = server.client(version);
        client.send(&format!("BEGIN\ntransaction:t\nreceipt:{receipt}\n\n\0"));
        client.error(1002);
    }
}

#[test]
fn connect_has_no_escapes() {
    let server = Server::start();
    let mut client = server.open();
    client.send("CONNECT\naccept-version:1.2\ntoken:a\\cb\n\n\0");
    assert_eq!(client.frame().header("user-name"), "a\\cb");
}

#[test]
fn what_is_no_frame_is_answered_by_error_and_nothing_after_it_is_done() {
    let server = Server::start();
    for (bad, says) in [
        ("HELLO\n\n\0", "HELLO"),
        ("send\ndestination:/app/x\n\n\0", "send"),
        ("MESSAGE\n\n\0", "MESSAGE"),
        ("SEND\nno colon\n\n\0", "colon"),
        (
            "SEND\ndestination:/app/x\ncontent-length:x\n\n\0",
            "content-length",
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "unknown command"),
    ] {
        let mut client = server.client("1.2");
        client.send(&format!("{bad}{SEND}"));
        let error = client.error(1002);
        assert!(error.header("message").contains(says), "{error:?}");
        assert_eq!(error.header("content-type"), "text/plain");
    }
    assert!(sent(&server).is_empty());
}

#[test]
fn what_is_too_large_is_refused_as_soon_as_it_is_known() {
    let server = Server::with(|settings| {
        settings.rules.frames.max_frame = 1_000;
        settings.rules.frames.max_headers = 8;
        settings.rules.frames.max_header = 100;
        settings.max_payload = 4_000;
    });
    let headers = "x:y\n".repeat(8);
    let body = "x".repeat(1_000);
    let value = "v".repeat(100);
    for bad in [
        "SEND\ndestination:/app/x\ncontent-length:1000000\n\n".to_owned(),
        format!("SEND\ndestination:/app/x\n\n{body}"),
        format!("SEND\ndestination:/app/x\n{headers}"),
        format!("SEND\ndestination:/app/x\nh:{value}"),
    ] {
        let mut client = server.client("1.2");
        client.send(&bad);
        let error = client.error(1009);
        assert!(error.header("message").contains("exceeds"), "{error:?}");
    }
    // A message that the WebSocket does not take at all.
    let mut client = server.client("1.2");
    client.send(&"\n".repeat(4_001));
    assert_eq!(
        client.error(1009).header("message"),
        "the message is too large"
    );
    let mut client = server.client("1.2");
    client.send(&"\n".repeat(4_000));
    client.is_well();
    assert!(sent(&server).is_empty());
    let ended = server.ended(5);
    assert_eq!(ended, [DisconnectReason::PayloadTooLarge; 5]);
}

#[test]
fn text_must_be_text_and_frames_must_be_masked() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.0.send(true, 1, b"SEND\n\xff");
    assert_eq!(client.0.closed(), Some(1002));
    let mut client = server.client("1.2");
    client
        .0
        .send_raw(&crate::raw::frame(true, 1, SEND.as_bytes(), None));
    assert_eq!(client.0.closed(), Some(1002));
    let mut client = server.client("1.2");
    client
        .0
        .send(true, 2, b"SEND\ndestination:/app/lobby\nx:\xff\n\n\0");
    assert!(client.error(1002).header("message").contains("UTF-8"));
    // In a body it is the application's business.
    let mut client = server.client("1.2");
    client.0.send(
        true,
        2,
        b"SEND\ndestination:/app/lobby\nreceipt:r\n\n\xff\0",
    );
    assert_eq!(client.receipt(), "r");
}

#[test]
fn many_small_frames_in_one_message_are_all_dealt_with() {
    let server = Server::start();
    let mut client = server.client("1.2");
    let many: Vec<String> = (0..2_000)
        .map(|number| format!("ACK\nid:x\nreceipt:{number}\n\n\0"))
        .collect();
    client.send(&many.concat());
    for number in 0..2_000 {
        assert_eq!(client.receipt(), number.to_string());
    }
}

#[test]
fn what_the_server_says_is_escaped_as_the_version_has_it() {
    let server = Server::start();
    let say = |client: &mut Client| {
        client.send("SEND\ndestination:/app/conflict\n\n\0");
        client.frame()
    };
    let mut client = server.patient();
    let refusal: Received = say(&mut client);
    assert_eq!(refusal.command, "MESSAGE");
    assert_eq!(
        refusal.body,
        r#"{"code":"CONFLICT","message":"not\nnow","destination":"/app/conflict"}"#
    );
    let mut client = server.client("1.1");
    let error = say(&mut client);
    assert_eq!(
        (error.command.as_str(), error.header("message")),
        ("ERROR", "not\\nnow")
    );
}
