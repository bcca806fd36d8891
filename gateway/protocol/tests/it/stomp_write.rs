//! STOMP's vectors: what a server writes.

use bytes::{BufMut, BytesMut};
use confab_gateway_protocol::stomp::{
    HEART_BEAT, ServerCommand, Version, message_head, message_rest, write,
};

use crate::stomp_read::VERSIONS;

pub(crate) fn written(
    version: Version,
    command: ServerCommand,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out, version, command, headers, body);
    out.to_vec()
}

fn text(version: Version, command: ServerCommand, headers: &[(&str, &str)], body: &str) -> String {
    String::from_utf8(written(version, command, headers, body.as_bytes())).unwrap()
}

#[test]
fn frames_as_the_specifications_show_them() {
    for version in VERSIONS {
        assert_eq!(
            text(
                version,
                ServerCommand::Connected,
                &[
                    ("version", "1.1"),
                    ("session", "239487230947"),
                    ("heart-beat", "0,0")
                ],
                ""
            ),
            "CONNECTED\nversion:1.1\nsession:239487230947\nheart-beat:0,0\ncontent-length:0\n\n\0"
        );
        assert_eq!(
            text(
                version,
                ServerCommand::Message,
                &[
                    ("subscription", "0"),
                    ("message-id", "007"),
                    ("destination", "/queue/a"),
                    ("content-type", "text/plain"),
                ],
                "hello queue a"
            ),
            "MESSAGE\nsubscription:0\nmessage-id:007\ndestination:/queue/a\ncontent-type:text/plain\n\
             content-length:13\n\nhello queue a\0"
        );
        assert_eq!(
            text(
                version,
                ServerCommand::Receipt,
                &[("receipt-id", "message-12345")],
                ""
            ),
            "RECEIPT\nreceipt-id:message-12345\ncontent-length:0\n\n\0"
        );
        assert_eq!(
            text(
                version,
                ServerCommand::Error,
                &[
                    ("receipt-id", "message-12345"),
                    ("content-type", "text/plain"),
                    ("message", "malformed frame received")
                ],
                "Did not contain a destination header, which is REQUIRED\nfor message propagation."
            ),
            "ERROR\nreceipt-id:message-12345\ncontent-type:text/plain\nmessage:malformed frame received\n\
             content-length:80\n\n\
             Did not contain a destination header, which is REQUIRED\nfor message propagation.\0"
        );
    }
    assert_eq!(HEART_BEAT, b"\n");
}

#[test]
fn escapes_are_those_of_the_version() {
    let receipt = |version| {
        let frame = text(
            version,
            ServerCommand::Receipt,
            &[("receipt-id", "a:b\\c\r\nd\0é")],
            "",
        );
        frame
            .strip_prefix("RECEIPT\nreceipt-id:")
            .and_then(|rest| rest.strip_suffix("\ncontent-length:0\n\n\0"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(receipt(Version::V1_0), "a:b\\c  d é");
    assert_eq!(receipt(Version::V1_1), "a\\cb\\\\c\r\\nd é");
    assert_eq!(receipt(Version::V1_2), "a\\cb\\\\c\\r\\nd é");
    for version in VERSIONS {
        assert_eq!(
            text(
                version,
                ServerCommand::Connected,
                &[("user-name", "a:b\\c\r\nadmin:true")],
                ""
            ),
            "CONNECTED\nuser-name:a:b\\c  admin:true\ncontent-length:0\n\n\0",
            "a name adds no header"
        );
    }
}

#[test]
fn a_message_is_cut_where_subscriptions_differ() {
    // At these lengths the number of digits changes.
    let lengths = [0, 1, 9, 10, 99, 100, 101, 999, 1000, 9_999, 10_000, 100_000];
    for version in VERSIONS {
        for len in lengths {
            let body: Vec<u8> = (b' '..b'~').cycle().take(len).collect();
            let mut out = BytesMut::from(&b"before"[..]);
            message_head(&mut out, version, "sub:0", "/topic/a\\b");
            let returned = message_rest(
                &mut out,
                "7",
                "application/json",
                &[("x-sender", "ada")],
                |out| {
                    out.put_slice(&body);
                    "done"
                },
            );
            assert_eq!(returned, "done");
            let whole = written(
                version,
                ServerCommand::Message,
                &[
                    ("subscription", "sub:0"),
                    ("destination", "/topic/a\\b"),
                    ("message-id", "7"),
                    ("content-type", "application/json"),
                    ("x-sender", "ada"),
                ],
                &body,
            );
            assert!(out[6..] == whole, "a body of {len} bytes in {version}");
        }
    }
}

#[test]
fn a_body_of_serde_stays_where_it_is_written() {
    let mut out = BytesMut::new();
    let result = message_rest(&mut out, "1", "application/json", &[], |out| {
        serde_json::to_writer(out.writer(), &serde_json::json!({ "content": "hi" }))
    });
    assert!(result.is_ok());
    assert_eq!(
        out,
        "message-id:1\ncontent-type:application/json\ncontent-length:16\n\n{\"content\":\"hi\"}\0"
    );
}
