//! Socket.IO v5 over WebSocket.

use crate::raw::Echo;

#[test]
fn connect_with_and_without_credentials() {
    let echo = Echo::start();
    let mut raw = echo.session("/socket.io/");
    raw.send_text("40{\"token\":\"123\"}");
    assert!(raw.text().starts_with("40{\"sid\":\""));
    assert_eq!(raw.text(), "42[\"auth\",{\"token\":\"123\"}]");
    raw.send_text("40/custom,{\"token\":\"abc\"}");
    assert!(raw.text().starts_with("40/custom,{\"sid\":\""));
    assert_eq!(raw.text(), "42/custom,[\"auth\",{\"token\":\"abc\"}]");
    let mut raw = echo.session("/socket.io/");
    raw.send_text("40/custom");
    assert!(
        raw.text().starts_with("40/custom,{\"sid\":\""),
        "the comma may be missing at the packet's end"
    );
}

#[test]
fn an_unknown_namespace_is_refused_and_the_session_stays() {
    let echo = Echo::start();
    let mut raw = echo.session("/socket.io/");
    raw.send_text("40/random");
    assert_eq!(raw.text(), "44/random,{\"message\":\"Invalid namespace\"}");
    raw.send_text("40");
    assert!(raw.text().starts_with("40{\"sid\":\""));
}

#[test]
fn events_and_acknowledgements_stay_byte_exact() {
    let echo = Echo::start();
    let mut raw = echo.socket();
    raw.send_text("42[\"message\", 1 ,\"2\",{ \"3\" : [true, 1.50, 1e3]}]");
    assert_eq!(
        raw.text(),
        "42[\"message-back\",1 ,\"2\",{ \"3\" : [true, 1.50, 1e3]}]"
    );
    raw.send_text("42456[\"message-with-ack\",1,\"2\",{\"3\":[false]}]");
    assert_eq!(raw.text(), "43456[1,\"2\",{\"3\":[false]}]");
    raw.send_text("42[\"message\"]");
    assert_eq!(raw.text(), "42[\"message-back\"]");
}

#[test]
fn attachments_travel_both_ways() {
    let echo = Echo::start();
    let mut raw = echo.socket();
    let args = "{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}";
    raw.send_text(&format!("452-[\"message\",{args}]"));
    raw.send(true, 2, &[1, 2, 3]);
    raw.send(true, 2, &[4, 5, 6]);
    assert_eq!(raw.text(), format!("452-[\"message-back\",{args}]"));
    assert_eq!(raw.frame().unwrap().payload, [1, 2, 3]);
    assert_eq!(raw.frame().unwrap().payload, [4, 5, 6]);
    raw.send_text(&format!("452-789[\"message-with-ack\",{args}]"));
    raw.send(true, 2, &[1]);
    raw.send(true, 2, &[2]);
    assert_eq!(raw.text(), format!("462-789[{args}]"));
    assert_eq!(raw.frame().unwrap().payload, [1]);
    assert_eq!(raw.frame().unwrap().payload, [2]);
}

#[test]
fn a_disconnected_namespace_leaves_the_session_open() {
    let echo = Echo::start();
    let mut raw = echo.socket();
    raw.send_text("41");
    raw.send_text("40/custom");
    assert!(raw.text().starts_with("40/custom,{\"sid\":\""));
}

#[test]
fn what_is_out_of_place_ends_the_session() {
    let echo = Echo::start();
    for packet in [
        "42/custom,[\"message\"]",           // a namespace not joined
        "40",                                // joined twice
        "4abc",                              // no packet
        "42{}",                              // no array
        "42[]",                              // no name
        "42[\"connect\"]",                   // a reserved name
        "4511-[\"message\"]",                // too many attachments
        "42[\"message\"",                    // no JSON
        "44{\"message\":\"from a client\"}", // a server's packet
    ] {
        let mut raw = echo.socket();
        raw.send_text(packet);
        assert_eq!(raw.closed(), Some(1002), "{packet}");
    }
    let mut raw = echo.socket();
    raw.send(true, 2, &[1]);
    assert_eq!(
        raw.closed(),
        Some(1002),
        "an attachment that nothing announced"
    );
    let mut raw = echo.socket();
    raw.send_text("451-[\"message\",{\"_placeholder\":true,\"num\":0}]");
    raw.send_text("42[\"message\"]");
    assert_eq!(
        raw.closed(),
        Some(1002),
        "a text where an attachment is missing"
    );
}

#[test]
fn a_session_that_joins_nothing_is_closed_in_time() {
    let echo = Echo::with(&["--connect-timeout-ms", "8000"]);
    let mut raw = echo.session("/socket.io/");
    raw.send_text("40");
    assert!(raw.text().starts_with("40{"));
    assert!(raw.text().starts_with("42[\"auth\""));
    // It began later, so when it is closed the other one's time is over, too.
    let mut idle = echo.session("/socket.io/");
    assert_eq!(idle.closed(), Some(1008));
    raw.send_text("42[\"message\",1]");
    assert_eq!(raw.text(), "42[\"message-back\",1]");
}
