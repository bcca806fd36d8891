//! How a session begins.

use std::time::Duration;

use confab_gateway::session::DisconnectReason;

use super::client::Client;
use super::server::Server;
use crate::http::Request;
use crate::raw::Raw;

fn connected(client: &mut Client, frame: &str) -> super::client::Received {
    client.send(frame);
    let connected = client.frame();
    assert_eq!(connected.command, "CONNECTED", "{connected:?}");
    connected
}

#[test]
fn connected_says_what_was_agreed_on() {
    let server = Server::start();
    let frame = connected(
        &mut server.open(),
        "CONNECT\naccept-version:1.0,1.1,1.2\nhost:example\nheart-beat:0,0\ntoken:alice\n\n\0",
    );
    assert_eq!(frame.header("version"), "1.2");
    assert_eq!(frame.header("heart-beat"), "10000,10000");
    assert_eq!(frame.header("user-name"), "alice");
    assert_eq!(frame.header("session").len(), 20);
    assert!(frame.header("server").starts_with("Confab/"));
    let anonymous = connected(&mut server.open(), "STOMP\naccept-version:1.1\n\n\0");
    assert_eq!(anonymous.header("version"), "1.1");
    assert_eq!(anonymous.header("user-name"), "");
    assert_ne!(anonymous.header("session"), frame.header("session"));
}

#[test]
fn whoever_names_no_version_speaks_the_first_and_the_host_may_be_missing() {
    let server = Server::start();
    let mut client = server.open();
    let frame = connected(&mut client, "CONNECT\n\n\0");
    assert_eq!(frame.header("version"), "1.0");
    client.is_well();
}

#[test]
fn a_receipt_that_connect_asks_for_is_not_given() {
    let server = Server::start();
    let mut client = server.open();
    let frame = connected(&mut client, "CONNECT\naccept-version:1.2\nreceipt:r\n\n\0");
    assert_eq!(frame.header("receipt-id"), "");
    client.is_well();
}

#[test]
fn a_token_may_stand_in_many_places() {
    let server = Server::start();
    for header in [
        "Authorization:Bearer alice",
        "authorization:bearer alice",
        "token:alice",
        "passcode:alice",
        "login:somebody\npasscode:alice",
        "Authorization:Basic eDp5\ntoken:alice",
        "Authorization:Bearer alice\ntoken:bad\npasscode:bad",
        "token:\npasscode: alice",
    ] {
        let frame = connected(
            &mut server.open(),
            &format!("CONNECT\naccept-version:1.2\n{header}\n\n\0"),
        );
        assert_eq!(frame.header("user-name"), "alice", "{header}");
    }
    for (target, headers) in [
        ("/ws?access_token=alice", ""),
        ("/ws?token=alice", ""),
        ("/ws/websocket?x=1&token=alice", ""),
        ("/ws", "Authorization: Bearer alice\r\n"),
    ] {
        let (raw, answer) = Raw::try_upgrade(server.address, target, headers);
        assert_eq!(answer.status, 101);
        let frame = connected(&mut Client(raw), "CONNECT\naccept-version:1.2\n\n\0");
        assert_eq!(frame.header("user-name"), "alice", "{target} {headers}");
    }
    let mut client = Client(Raw::upgrade(server.address, "/ws?token=bad"));
    let frame = connected(
        &mut client,
        "CONNECT\naccept-version:1.2\ntoken:alice\n\n\0",
    );
    assert_eq!(frame.header("user-name"), "alice", "the frame goes first");
}

#[test]
fn who_is_refused_gets_an_error_and_who_is_to_come_back_does_not() {
    let server = Server::start();
    let mut refused = server.open();
    refused.send("CONNECT\naccept-version:1.2\ntoken:bad\n\n\0SEND\ndestination:/app/x\n\n\0");
    assert_eq!(refused.error(1000).header("message"), "Unauthorized");
    let mut elsewhere = server.open();
    elsewhere.send("CONNECT\naccept-version:1.2\ntoken:elsewhere\n\n\0");
    let close = elsewhere.0.frame().unwrap();
    assert_eq!(
        (close.opcode, &close.payload[..2]),
        (8, &1013_u16.to_be_bytes()[..])
    );
    assert!(server.board.lock().sent.is_empty());
    assert!(server.board.lock().ended.is_empty(), "they never connected");
}

#[test]
fn nothing_comes_before_connect_and_there_is_one_of_it() {
    let server = Server::start();
    for frame in [
        "SEND\ndestination:/app/x\n\nhello\0",
        "SUBSCRIBE\nid:1\ndestination:/topic/public\n\n\0",
        "DISCONNECT\nreceipt:r\n\n\0",
    ] {
        let mut client = server.open();
        client.send(frame);
        let error = client.error(1002);
        assert!(error.header("message").ends_with("before CONNECT"));
    }
    let mut client = server.client("1.2");
    client.send("CONNECT\naccept-version:1.2\n\n\0");
    assert_eq!(client.error(1002).header("message"), "already connected");
    assert_eq!(server.ended(1), [DisconnectReason::ProtocolViolation]);
    assert!(server.board.lock().sent.is_empty());
}

#[test]
fn a_version_must_be_common_and_heart_beats_must_be_numbers() {
    let server = Server::start();
    let mut client = server.open();
    client.send("CONNECT\naccept-version:2.0\n\n\0");
    let error = client.error(1002);
    assert_eq!(error.header("version"), "1.0,1.1,1.2");
    for heart_beat in ["", "1", "a,b", "-1,0", "1;2"] {
        let mut client = server.open();
        client.send(&format!(
            "CONNECT\naccept-version:1.2\nheart-beat:{heart_beat}\n\n\0"
        ));
        assert!(client.error(1002).header("message").contains("heart-beat"));
    }
}

#[test]
fn who_does_not_connect_in_time_is_told_so() {
    let server = Server::with(|settings| {
        settings.rules.connect_timeout = Duration::from_secs(8);
    });
    let mut client = server.client("1.2");
    // These began later, so when they are told the other one's time is over, too.
    let mut silent = server.open();
    let mut slow = server.open();
    slow.send("\n\nCONN");
    for client in [&mut silent, &mut slow] {
        assert_eq!(client.error(1008).header("message"), "no CONNECT in time");
    }
    client.is_well();
}

#[test]
fn the_best_subprotocol_is_told_and_none_need_be_offered() {
    let server = Server::start();
    for (offered, chosen) in [
        ("", None),
        (
            "Sec-WebSocket-Protocol: v10.stomp, v11.stomp, v12.stomp\r\n",
            Some("v12.stomp"),
        ),
        (
            "Sec-WebSocket-Protocol: v11.stomp,v10.stomp\r\n",
            Some("v11.stomp"),
        ),
        (
            "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: v10.stomp\r\n",
            Some("v10.stomp"),
        ),
        ("Sec-WebSocket-Protocol: mqtt\r\n", None),
    ] {
        let (raw, answer) = Raw::try_upgrade(server.address, "/ws", offered);
        assert_eq!(answer.status, 101);
        let told = answer.header("sec-websocket-protocol");
        assert_eq!(told, chosen.into_iter().collect::<Vec<_>>(), "{offered}");
        connected(&mut Client(raw), "CONNECT\naccept-version:1.1\n\n\0");
    }
}

#[test]
fn pages_from_elsewhere_and_other_paths_are_refused() {
    let server = Server::with(|settings| settings.origins = "https://app.example");
    let (_, answer) = Raw::try_upgrade(server.address, "/ws", "Origin: https://evil.example\r\n");
    assert_eq!(answer.status, 403);
    let (raw, answer) = Raw::try_upgrade(server.address, "/ws", "Origin: https://app.example\r\n");
    assert_eq!(answer.status, 101);
    connected(&mut Client(raw), "CONNECT\naccept-version:1.2\n\n\0");
    for target in ["/ws/x", "/ws/websocket/x"] {
        let (_, answer) = Raw::try_upgrade(server.address, target, "");
        assert_eq!(answer.status, 404, "{target}");
    }
    let long = format!("/ws?{}", "x".repeat(5_000));
    let (_, answer) = Raw::try_upgrade(server.address, &long, "");
    assert_eq!(answer.status, 414);
    let post = format!(
        "POST /ws HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        server.address
    );
    let status = Request::raw(server.address, post.as_bytes())
        .answer()
        .status;
    assert_eq!(status, 404);
}

#[test]
fn a_full_server_says_so() {
    let server = Server::with(|settings| settings.max_sessions = 1);
    let client = server.client("1.2");
    let (_, answer) = Raw::try_upgrade(server.address, "/ws", "");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after").len(), 1);
    drop(client);
    assert_eq!(server.ended(1), [DisconnectReason::TransportClosed]);
}

#[test]
fn sessions_per_address_are_limited_and_the_address_is_the_clients() {
    let server = Server::with(|settings| {
        settings.limits.sessions_per_ip = 1;
        settings.proxies = "127.0.0.0/8";
    });
    let from = |address: &str| {
        let forwarded = format!("X-Forwarded-For: 6.6.6.6, {address}\r\n");
        let (raw, answer) = Raw::try_upgrade(server.address, "/ws", &forwarded);
        (Client(raw), answer.status)
    };
    let (mut first, status) = from("192.0.2.1");
    assert_eq!(status, 101);
    assert_eq!(from("192.0.2.1").1, 429);
    let (_second, status) = from("192.0.2.2");
    assert_eq!(status, 101);
    connected(&mut first, "CONNECT\naccept-version:1.2\n\n\0");
    first.send("DISCONNECT\n\n\0");
    assert_eq!(first.0.closed(), Some(1000));
    let until = std::time::Instant::now() + crate::raw::PATIENCE;
    while from("192.0.2.1").1 != 101 {
        assert!(
            std::time::Instant::now() < until,
            "the place was never given back"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
