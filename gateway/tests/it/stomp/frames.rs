//! What commands need, and what they are answered.

use super::server::Server;

#[test]
fn every_frame_that_asks_gets_its_receipt_in_order() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send(
        "SUBSCRIBE\nid:1\ndestination:/topic/lobby\nreceipt:subscribe\n\n\0\
         SEND\ndestination:/app/elsewhere\nreceipt:send\n\nx\0\
         SEND\ndestination:/app/elsewhere\n\nno receipt\0\
         ACK\nid:1\nreceipt:ack\n\n\0\
         NACK\nid:1\nreceipt:nack\n\n\0\
         BEGIN\ntransaction:t\nreceipt:begin\n\n\0\
         COMMIT\ntransaction:t\nreceipt:commit\n\n\0\
         BEGIN\ntransaction:t\n\n\0\
         ABORT\ntransaction:t\nreceipt:abort\n\n\0\
         UNSUBSCRIBE\nid:1\nreceipt:unsubscribe\n\n\0\
         DISCONNECT\nreceipt:disconnect\n\n\0\
         SEND\ndestination:/app/elsewhere\n\ntoo late\0",
    );
    for receipt in [
        "subscribe",
        "send",
        "ack",
        "nack",
        "begin",
        "commit",
        "abort",
        "unsubscribe",
        "disconnect",
    ] {
        assert_eq!(client.receipt(), receipt);
    }
    assert_eq!(client.0.closed(), Some(1000));
    assert_eq!(server.board.lock().sent.len(), 2);
}

#[test]
fn commands_need_their_headers() {
    let server = Server::start();
    for (version, frame, header) in [
        ("1.2", "SEND\n\nx\0", "destination"),
        ("1.2", "SUBSCRIBE\nid:1\n\n\0", "destination"),
        ("1.0", "SUBSCRIBE\n\n\0", "destination"),
        ("1.2", "UNSUBSCRIBE\n\n\0", "id"),
        ("1.0", "UNSUBSCRIBE\n\n\0", "id or destination"),
        ("1.2", "ACK\nmessage-id:1\nsubscription:1\n\n\0", "id"),
        ("1.1", "ACK\nmessage-id:1\n\n\0", "subscription"),
        ("1.1", "NACK\nsubscription:1\n\n\0", "message-id"),
        ("1.0", "ACK\nsubscription:1\n\n\0", "message-id"),
        ("1.2", "BEGIN\n\n\0", "transaction"),
        ("1.2", "COMMIT\n\n\0", "transaction"),
        ("1.2", "ABORT\n\n\0", "transaction"),
    ] {
        let mut client = server.client(version);
        client.send(frame);
        let error = client.error(1002);
        let command = frame.split('\n').next().unwrap();
        let says = format!("{command} without the header {header}");
        assert_eq!(error.header("message"), says, "{version}");
    }
}

#[test]
fn acknowledgements_are_taken_as_each_version_has_them() {
    let server = Server::start();
    for (version, frame) in [
        ("1.0", "ACK\nmessage-id:1\n"),
        ("1.1", "ACK\nmessage-id:1\nsubscription:1\n"),
        ("1.1", "NACK\nmessage-id:1\nsubscription:1\n"),
        ("1.2", "ACK\nid:1\n"),
        ("1.2", "NACK\nid:1\n"),
    ] {
        let mut client = server.client(version);
        client.send(&format!("{frame}receipt:r\n\n\0"));
        assert_eq!(client.receipt(), "r", "{version} {frame}");
        client.send(&format!("{frame}transaction:unknown\n\n\0"));
        assert!(client.error(1002).header("message").contains("transaction"));
    }
    let mut client = server.client("1.0");
    client.send("NACK\nmessage-id:1\n\n\0");
    assert!(client.error(1002).header("message").contains("NACK"));
}

#[test]
fn a_receipt_comes_when_it_is_stored() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("SEND\ndestination:/app/later\nreceipt:1\n\n\0");
    client.is_well();
    let reply = server.board.lock().waiting.pop().unwrap();
    reply.done();
    assert_eq!(client.receipt(), "1");
}

#[test]
fn a_disconnect_waits_for_what_was_asked_before() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send(
        "SEND\ndestination:/app/later\nreceipt:1\n\n\0SEND\ndestination:/app/later\n\n\0\
         SEND\ndestination:/app/later\nreceipt:3\n\n\0DISCONNECT\nreceipt:bye\n\n\0",
    );
    let until = std::time::Instant::now() + crate::raw::PATIENCE;
    while server.board.lock().waiting.len() < 3 {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut waiting = std::mem::take(&mut server.board.lock().waiting).into_iter();
    waiting.next().unwrap().done();
    assert_eq!(client.receipt(), "1");
    // Nobody will ever answer this one.
    drop(waiting.next());
    waiting.next().unwrap().done();
    assert_eq!(client.receipt(), "3");
    assert_eq!(client.receipt(), "bye");
    assert_eq!(client.0.closed(), Some(1000));
}

#[test]
fn a_disconnect_does_not_wait_for_ever() {
    let server = Server::with(|settings| {
        settings.rules.last_answers = std::time::Duration::from_millis(50);
    });
    let mut client = server.client("1.2");
    client.send("SEND\ndestination:/app/later\nreceipt:1\n\n\0DISCONNECT\nreceipt:bye\n\n\0");
    assert_eq!(client.receipt(), "bye");
    assert_eq!(client.0.closed(), Some(1000));
}

#[test]
fn messages_go_to_the_application_or_nowhere() {
    let server = Server::start();
    let mut client = server.patient();
    for destination in [
        "/topic/lobby",
        "/user/queue/messages",
        "/queue/x",
        "",
        "/app",
    ] {
        client.send(&format!(
            "SEND\ndestination:{destination}\nreceipt:r\n\nx\0"
        ));
        let (code, refusal) = client.refusal();
        assert_eq!(code, "VALIDATION_FAILED", "{destination}");
        assert_eq!(refusal.header("receipt-id"), "r");
    }
    client.send("SEND\ndestination:/pub/chat/x/sendMessage\nreceipt:r\n\nx\0");
    assert_eq!(client.receipt(), "r");
    assert_eq!(
        server.board.lock().sent,
        [("chat/x/sendMessage".into(), b"x".to_vec())]
    );
}

#[test]
fn frames_with_nothing_to_say_have_no_body() {
    let server = Server::start();
    for frame in ["BEGIN\ntransaction:t\n\nbody\0", "DISCONNECT\n\nbody\0"] {
        let mut client = server.client("1.2");
        client.send(frame);
        client.error(1002);
    }
}
