//! How a session ends.

use confab_gateway::session::DisconnectReason;

use super::server::Server;

#[test]
fn a_server_that_goes_away_says_no_more_than_that() {
    let server = Server::start();
    let mut client = server.client("1.2");
    let mut new = server.open();
    server.drain();
    for client in [&mut client, &mut new] {
        let close = client.0.frame().unwrap();
        assert_eq!(close.opcode, 8, "no ERROR: {close:?}");
        assert_eq!(close.payload[..2], 1012_u16.to_be_bytes());
    }
    assert_eq!(server.ended(1), [DisconnectReason::Draining]);
}

#[test]
fn who_is_logged_out_is_told_so() {
    let server = Server::start();
    let mut client = server.patient();
    client.send("SEND\ndestination:/app/log-out\nreceipt:r\n\n\0");
    assert_eq!(client.error(1000).header("message"), "logged out");
    assert_eq!(server.ended(1), [DisconnectReason::LoggedOut]);
}

#[test]
fn an_error_is_said_once() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("SEND\ndestination:/app/fail\n\n\0SEND\ndestination:/app/x\n\n\0");
    let error = client.error(1000);
    assert_eq!(error.header("message"), "that was it");
    assert_eq!(error.body, "for good");
    assert_eq!(server.ended(1), [DisconnectReason::Unauthenticated]);
    assert_eq!(server.board.lock().sent.len(), 1);
}

#[test]
fn nothing_is_done_after_a_refusal_that_ends_the_session() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("SEND\ndestination:/app/conflict\n\n\0SEND\ndestination:/app/x\n\n\0");
    client.error(1008);
    assert_eq!(server.ended(1), [DisconnectReason::Refused]);
    assert_eq!(server.board.lock().sent.len(), 1);
    let mut client = server.client("1.2");
    client.send(
        "BEGIN\ntransaction:a\n\n\0SEND\ndestination:/app/conflict\ntransaction:a\n\n\0\
         SEND\ndestination:/app/x\ntransaction:a\n\n\0COMMIT\ntransaction:a\nreceipt:c\n\n\0",
    );
    client.error(1008);
    assert_eq!(server.ended(2), [DisconnectReason::Refused; 2]);
    assert_eq!(server.board.lock().sent.len(), 2);
}

#[test]
fn a_client_may_just_go() {
    let server = Server::start();
    drop(server.client("1.2"));
    assert_eq!(server.ended(1), [DisconnectReason::TransportClosed]);
    let mut client = server.client("1.2");
    client.0.send(true, 8, &1000_u16.to_be_bytes());
    assert_eq!(client.0.closed(), Some(1000));
    let mut client = server.client("1.2");
    client.send("DISCONNECT\n\n\0");
    assert_eq!(client.0.closed(), Some(1000));
    let ended = server.ended(3);
    assert_eq!(
        ended[1..],
        [
            DisconnectReason::TransportClosed,
            DisconnectReason::ClientClosed
        ]
    );
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_and_hurts_nobody() {
    let server = Server::with(|settings| settings.send_queue_bytes = 65_536);
    let mut neighbour = server.client("1.2");
    let mut client = server.client("1.2");
    client.send("SUBSCRIBE\nid:1\ndestination:/topic/lobby\n\n\0");
    let body = "x".repeat(60_000);
    let message = format!("SEND\ndestination:/app/lobby\n\n{body}\0");
    let message = crate::raw::frame(true, 1, message.as_bytes(), Some([1, 2, 3, 4]));
    // What the kernel buffers for both sides, the queue and its burst are some megabytes: far less than this.
    let sent = (0..5_000)
        .take_while(|_| client.0.try_send_raw(&message))
        .count();
    assert!(sent < 5_000, "the server took {sent} messages");
    assert_eq!(server.ended(1), [DisconnectReason::SlowConsumer]);
    neighbour.is_well();
}
