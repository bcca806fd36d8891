//! SENDs that wait for their transaction's end.

use super::server::Server;

fn sent(server: &Server) -> Vec<String> {
    server
        .board
        .lock()
        .sent
        .iter()
        .map(|(_, body)| String::from_utf8(body.clone()).unwrap())
        .collect()
}

#[test]
fn messages_of_a_transaction_are_sent_when_it_is_committed() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send(
        "BEGIN\ntransaction:a\n\n\0BEGIN\ntransaction:b\n\n\0\
         SEND\ndestination:/app/x\ntransaction:a\nreceipt:1\n\n1\0\
         SEND\ndestination:/app/x\ntransaction:b\nreceipt:never\n\nnever\0\
         SEND\ndestination:/app/x\n\nat once\0\
         SEND\ndestination:/app/x\ntransaction:a\n\n2\0",
    );
    client.send("BEGIN\ntransaction:c\nreceipt:all taken\n\n\0");
    assert_eq!(client.receipt(), "all taken");
    assert_eq!(sent(&server), ["at once"]);
    client.send("ABORT\ntransaction:b\nreceipt:aborted\n\n\0");
    assert_eq!(client.receipt(), "aborted");
    client.send("COMMIT\ntransaction:a\nreceipt:committed\n\n\0");
    assert_eq!(client.receipt(), "1");
    assert_eq!(client.receipt(), "committed");
    assert_eq!(sent(&server), ["at once", "1", "2"]);
    client.send("COMMIT\ntransaction:a\n\n\0");
    assert!(
        client
            .error(1002)
            .header("message")
            .contains("no such transaction")
    );
}

#[test]
fn a_commit_is_done_when_all_of_it_is_stored() {
    let server = Server::start();
    let mut client = server.client("1.2");
    client.send("BEGIN\ntransaction:a\n\n\0");
    for _ in 0..3 {
        client.send("SEND\ndestination:/app/later\ntransaction:a\n\n\0");
    }
    client.send("COMMIT\ntransaction:a\nreceipt:committed\n\n\0");
    client.is_well();
    let waiting = std::mem::take(&mut server.board.lock().waiting);
    assert_eq!(waiting.len(), 3);
    // In whatever order.
    for reply in waiting.into_iter().rev() {
        client.is_well();
        reply.done();
    }
    assert_eq!(client.receipt(), "committed");
}

#[test]
fn a_message_that_cannot_be_sent_spoils_its_transaction() {
    let server = Server::start();
    let mut client = server.patient();
    for bad in ["/app/nonsense", "/topic/lobby"] {
        client.send(&format!(
            "BEGIN\ntransaction:a\n\n\0SEND\ndestination:/app/x\ntransaction:a\n\n1\0\
             SEND\ndestination:{bad}\ntransaction:a\nreceipt:s\n\n2\0\
             SEND\ndestination:/app/x\ntransaction:a\n\n3\0\
             COMMIT\ntransaction:a\nreceipt:c\n\n\0"
        ));
        let (code, refusal) = client.refusal();
        assert_eq!(code, "VALIDATION_FAILED");
        assert_eq!(refusal.header("receipt-id"), "s");
        let (code, refusal) = client.refusal();
        assert_eq!(code, "CONFLICT");
        assert_eq!(refusal.header("receipt-id"), "c");
    }
    client.is_well();
    assert!(sent(&server).is_empty());
}

#[test]
fn a_commit_with_a_refused_message_has_no_receipt() {
    let server = Server::start();
    let mut client = server.patient();
    client.send(
        "BEGIN\ntransaction:a\n\n\0SEND\ndestination:/app/x\ntransaction:a\n\n\0\
         SEND\ndestination:/app/too-often\ntransaction:a\n\n\0COMMIT\ntransaction:a\nreceipt:c\n\n\0",
    );
    assert_eq!(client.refusal().0, "RATE_LIMITED");
    client.is_well();
}

#[test]
fn a_commit_that_is_refused_sends_nothing_and_is_refused_once() {
    let server = Server::start();
    let mut client = server.patient();
    client.send(
        "BEGIN\ntransaction:a\n\n\0SEND\ndestination:/app/x\ntransaction:a\nreceipt:1\n\n\0\
         SEND\ndestination:/app/full\ntransaction:a\nreceipt:2\n\n\0COMMIT\ntransaction:a\nreceipt:c\n\n\0",
    );
    let (code, refusal) = client.refusal();
    assert_eq!(code, "CONFLICT");
    assert_eq!(refusal.header("receipt-id"), "c");
    client.is_well();
    assert!(sent(&server).is_empty());
    // Nothing is owed any more.
    client.send("DISCONNECT\nreceipt:bye\n\n\0");
    assert_eq!(client.receipt(), "bye");
}

#[test]
fn transactions_have_names_of_their_own() {
    let server = Server::start();
    for (frame, says) in [
        ("BEGIN\ntransaction:a\n\n\0", "there is a transaction"),
        ("COMMIT\ntransaction:b\n\n\0", "no such transaction"),
        ("ABORT\ntransaction:b\n\n\0", "no such transaction"),
        (
            "SEND\ndestination:/app/x\ntransaction:b\n\n\0",
            "no such transaction",
        ),
    ] {
        let mut client = server.client("1.2");
        client.send(&format!("BEGIN\ntransaction:a\n\n\0{frame}"));
        let error = client.error(1002);
        assert!(error.header("message").contains(says), "{error:?}");
    }
    assert!(sent(&server).is_empty());
}

#[test]
fn what_waits_is_bounded() {
    let server = Server::with(|settings| {
        settings.rules.session.transactions.transactions = 2;
        settings.rules.session.transactions.messages = 3;
        settings.rules.session.transactions.bytes = 1_000;
    });
    let send = "SEND\ndestination:/app/x\ntransaction:0\n\nx\0";
    let large = format!(
        "SEND\ndestination:/app/x\ntransaction:0\n\n{}\0",
        "x".repeat(1_000)
    );
    for (frames, says) in [
        ("BEGIN\ntransaction:2\n\n\0", "too many transactions"),
        (send.repeat(4).as_str(), "hold too much"),
        (large.as_str(), "hold too much"),
    ] {
        let mut client = server.client("1.2");
        client.send("BEGIN\ntransaction:0\n\n\0BEGIN\ntransaction:1\n\n\0");
        client.send(frames);
        assert!(client.error(1002).header("message").contains(says));
    }
    let mut client = server.client("1.2");
    for _ in 0..10 {
        client.send("BEGIN\ntransaction:0\n\n\0");
        client.send(&send.repeat(3));
        client.send("COMMIT\ntransaction:0\n\n\0");
    }
    client.is_well();
    assert_eq!(sent(&server).len(), 30);
}
