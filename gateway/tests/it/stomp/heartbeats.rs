//! Heart-beats, both ways.

use std::time::{Duration, Instant};

use confab_gateway::session::DisconnectReason;

use super::client::Client;
use super::server::{SLOWLY, Server};

/// How often clients are to give a sign of life: so seldom that a test on a slow machine gives it in time.
const WANTS: u32 = 2_000;

fn server() -> Server {
    Server::with(|settings| {
        settings.rules.heart_beat.sends_ms = 50;
        settings.rules.heart_beat.wants_ms = WANTS;
    })
}

fn connect(server: &Server, heart_beat: &str) -> Client {
    let mut client = server.open();
    client.send(&format!(
        "CONNECT\naccept-version:1.2\nheart-beat:{heart_beat}\n\n\0"
    ));
    assert_eq!(client.frame().header("heart-beat"), format!("50,{WANTS}"));
    client
}

#[test]
fn the_server_beats_for_whoever_wants_it() {
    let server = server();
    let start = Instant::now();
    let mut client = connect(&server, "0,10");
    for _ in 0..5 {
        let beat = client.0.frame().unwrap();
        assert_eq!(
            (beat.opcode, beat.payload.as_slice()),
            (1, b"\n".as_slice())
        );
    }
    // As often as it can; it need not be more often.
    assert!(start.elapsed() >= Duration::from_millis(200));
    let mut quiet = connect(&server, "0,0");
    std::thread::sleep(Duration::from_millis(200));
    quiet.send("BEGIN\ntransaction:t\nreceipt:r\n\n\0");
    let next = quiet.0.frame().unwrap();
    assert!(next.payload.starts_with(b"RECEIPT"), "{next:?}");
    let mut slow = connect(&server, "0,10000");
    std::thread::sleep(Duration::from_millis(150));
    slow.send("BEGIN\ntransaction:t\nreceipt:r\n\n\0");
    let next = slow.0.frame().unwrap();
    assert!(next.payload.starts_with(b"RECEIPT"), "{next:?}");
}

#[test]
fn a_client_that_promised_beats_and_is_silent_is_given_up_after_three() {
    let server = server();
    let start = Instant::now();
    let mut client = connect(&server, "10,0");
    let error = client.error(1008);
    assert_eq!(error.header("message"), "no heart-beat in time");
    let silent = start.elapsed();
    assert!(silent >= Duration::from_secs(6), "{silent:?}");
    assert_eq!(server.ended(1), [DisconnectReason::PingTimeout]);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let server = server();
    let mut client = connect(&server, "100,0");
    for piece in ["\n", "\r\n", "ACK\n", "id:1\n", "\n", "\0", "\n"] {
        std::thread::sleep(Duration::from_secs(1));
        client.send(piece);
    }
    client.is_well();
}

#[test]
fn who_promises_nothing_may_be_silent() {
    let server = server();
    let mut client = connect(&server, "0,0");
    std::thread::sleep(SLOWLY);
    client.is_well();
    let server = Server::with(|settings| settings.rules.heart_beat.wants_ms = 0);
    let mut client = server.open();
    client.send("CONNECT\naccept-version:1.2\nheart-beat:10,0\n\n\0");
    assert_eq!(client.frame().header("heart-beat"), "10000,0");
    std::thread::sleep(Duration::from_millis(200));
    client.is_well();
}

#[test]
fn who_waits_for_the_server_is_not_silent() {
    let server = server();
    let mut client = connect(&server, "100,0");
    client.send("SEND\ndestination:/app/slowly\nreceipt:r\n\n\0");
    assert_eq!(client.receipt(), "r", "more than three intervals later");
    client.is_well();
    let mut neighbour = connect(&server, "0,0");
    neighbour.send("SEND\ndestination:/app/slowly\nreceipt:r\n\n\0");
    client.is_well();
    assert_eq!(neighbour.receipt(), "r");
}
