//! Subscriptions, and what is shown there.

use confab_gateway::session::DisconnectReason;

use super::client::Client;
use super::server::Server;

fn say(client: &mut Client, room: &str, body: &str) {
    client.send(&format!("SEND\ndestination:/app/{room}\n\n{body}\0"));
}

fn subscribe(client: &mut Client, headers: &str) {
    client.send(&format!("SUBSCRIBE\n{headers}\nreceipt:s\n\n\0"));
    assert_eq!(client.receipt(), "s");
}

#[test]
fn a_message_is_addressed_to_each_subscription() {
    let server = Server::start();
    let mut client = server.client("1.2");
    subscribe(&mut client, "id:one\ndestination:/topic/lobby");
    subscribe(
        &mut client,
        "id:t\\cwo\ndestination:/sub/room/lobby\nack:client",
    );
    say(&mut client, "lobby", "{\"a\":1}");
    let first = client.frame();
    assert_eq!(first.command, "MESSAGE");
    assert_eq!(first.header("subscription"), "one");
    assert_eq!(first.header("destination"), "/topic/lobby");
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("message-id"), "1");
    assert_eq!(first.header("ack"), "");
    assert_eq!(first.body, "{\"a\":1}");
    let second = client.frame();
    assert_eq!(second.header("subscription"), "t\\cwo");
    assert_eq!(second.header("destination"), "/sub/room/lobby");
    assert_ne!(
        second.header("ack"),
        "",
        "who acknowledges needs a name for that"
    );
    assert_eq!(second.body, "{\"a\":1}");
    client.send(&format!(
        "ACK\nid:{}\nreceipt:a\n\n\0",
        second.header("ack")
    ));
    assert_eq!(client.receipt(), "a");
}

#[test]
fn an_id_is_taken_until_it_is_given_back() {
    let server = Server::start();
    let mut client = server.client("1.1");
    subscribe(&mut client, "id:1\ndestination:/topic/lobby");
    client.send("UNSUBSCRIBE\nid:1\nreceipt:u\n\n\0");
    assert_eq!(client.receipt(), "u");
    say(&mut client, "lobby", "unheard");
    subscribe(&mut client, "id:1\ndestination:/topic/other");
    say(&mut client, "other", "heard");
    assert_eq!(client.frame().body, "heard");
    client.send("SUBSCRIBE\nid:1\ndestination:/topic/lobby\nreceipt:s\n\n\0");
    let error = client.error(1002);
    assert!(error.header("message").contains("subscription"));
    assert_eq!(error.header("receipt-id"), "s");
    assert_eq!(server.ended(1), [DisconnectReason::ProtocolViolation]);
}

#[test]
fn what_was_refused_leaves_its_id_free() {
    let server = Server::start();
    let mut client = server.patient();
    for _ in 0..3 {
        client.send("SUBSCRIBE\nid:1\ndestination:/topic/closed\nreceipt:s\n\n\0");
        let (code, refusal) = client.refusal();
        assert_eq!(code, "NOT_FOUND");
        assert_eq!(refusal.header("receipt-id"), "s");
    }
    subscribe(&mut client, "id:1\ndestination:/topic/lobby");
    client.send("UNSUBSCRIBE\nid:unknown\nreceipt:u\n\n\0");
    assert_eq!(client.receipt(), "u", "whoever was refused need not know");
}

#[test]
fn the_first_version_needs_no_ids() {
    let server = Server::start();
    let mut client = server.client("1.0");
    subscribe(&mut client, "destination:/topic/lobby");
    say(&mut client, "lobby", "one");
    let frame = client.frame();
    assert_eq!(frame.header("destination"), "/topic/lobby");
    assert_eq!(frame.body, "one");
    client.send("UNSUBSCRIBE\ndestination:/topic/lobby\nreceipt:u\n\n\0");
    assert_eq!(client.receipt(), "u");
    say(&mut client, "lobby", "two");
    subscribe(&mut client, "id:x\ndestination:/topic/lobby");
    client.send("UNSUBSCRIBE\ndestination:/topic/lobby\nreceipt:u\n\n\0");
    assert_eq!(
        client.receipt(),
        "u",
        "by its destination even where it has an id"
    );
    say(&mut client, "lobby", "three");
    client.is_well();
    for version in ["1.1", "1.2"] {
        for frame in [
            "SUBSCRIBE\ndestination:/topic/lobby\n\n\0",
            "UNSUBSCRIBE\ndestination:/topic/lobby\n\n\0",
        ] {
            let mut client = server.client(version);
            client.send(frame);
            assert!(client.error(1002).header("message").ends_with("header id"));
        }
    }
}

#[test]
fn acknowledgement_modes_are_three() {
    let server = Server::start();
    let mut client = server.client("1.2");
    for (id, mode) in ["auto", "client", "client-individual"].iter().enumerate() {
        subscribe(
            &mut client,
            &format!("id:{id}\ndestination:/topic/lobby\nack:{mode}"),
        );
    }
    client.send("SUBSCRIBE\nid:x\ndestination:/topic/lobby\nack:never\n\n\0");
    assert!(client.error(1002).header("message").contains("ack"));
}

#[test]
fn a_destination_that_there_is_not_is_refused() {
    let server = Server::start();
    for destination in [
        "/topic",
        "/topic/a/b",
        "/queue/x",
        "/user/queue/x",
        "",
        "/app/x",
    ] {
        let frame = format!("SUBSCRIBE\nid:1\ndestination:{destination}\nreceipt:s\n\n\0");
        let mut client = server.patient();
        client.send(&frame);
        let (code, refusal) = client.refusal();
        assert_eq!(code, "NOT_FOUND", "{destination}");
        assert_eq!(refusal.header("receipt-id"), "s");
        client.is_well();
        let mut client = server.client("1.2");
        client.send(&frame);
        let error = client.error(1008);
        assert_eq!(error.header("message"), "there is no such destination");
        assert_eq!(error.header("receipt-id"), "s");
        assert!(error.body.contains("NOT_FOUND"));
    }
}

#[test]
fn a_users_queues_are_destinations() {
    let server = Server::start();
    let mut client = server.client("1.2");
    subscribe(&mut client, "id:1\ndestination:/user/queue/messages");
    subscribe(&mut client, "id:2\ndestination:/user/queue/notifications");
    say(&mut client, "notifications", "2 unread");
    assert_eq!(client.frame().header("subscription"), "2");
    say(&mut client, "direct messages", "psst");
    assert_eq!(client.frame().header("destination"), "/user/queue/messages");
}

#[test]
fn subscriptions_are_limited_and_those_that_ended_make_room() {
    let server = Server::with(|settings| settings.rules.session.subscriptions = 3);
    let mut client = server.patient();
    for id in 1..=2 {
        subscribe(&mut client, &format!("id:{id}\ndestination:/topic/lobby"));
    }
    client.send("SUBSCRIBE\nid:3\ndestination:/topic/lobby\n\n\0");
    assert_eq!(client.refusal().0, "CONFLICT");
    client.send("UNSUBSCRIBE\nid:2\n\n\0");
    for _ in 0..5 {
        client.send("SUBSCRIBE\nid:3\ndestination:/topic/closed\n\n\0");
        assert_eq!(client.refusal().0, "NOT_FOUND", "not the limit");
    }
    subscribe(&mut client, "id:4\ndestination:/topic/lobby");
}

#[test]
fn news_of_refusals_end_with_their_subscription() {
    let server = Server::start();
    let mut client = server.patient();
    client.send("SEND\ndestination:/app/too-often\n\n\0");
    let (code, refusal) = client.refusal();
    assert_eq!(code, "RATE_LIMITED");
    let body: serde_json::Value = serde_json::from_str(&refusal.body).unwrap();
    assert_eq!(body["retryAfterMs"], 3_000);
    assert_eq!(body["destination"], "/app/too-often");
    let first = refusal.header("message-id").to_owned();
    client.send("SEND\ndestination:/app/too-often\n\n\0");
    assert_ne!(client.refusal().1.header("message-id"), first);
    client.send("UNSUBSCRIBE\nid:e\nreceipt:u\n\n\0");
    assert_eq!(client.receipt(), "u");
    client.send("SEND\ndestination:/app/too-often\nreceipt:r\n\n\0");
    let error = client.error(1008);
    assert_eq!(error.header("receipt-id"), "r");
    assert!(error.body.contains("\"retryAfterMs\":3000"));
    assert_eq!(server.ended(1), [DisconnectReason::Refused]);
}
