//! STOMP's vectors: what is no frame, and what is too much of one.

use confab_gateway_protocol::stomp::{DecodeError, Limits, Version};

use crate::stomp_read::{VERSIONS, decode, refused};

#[test]
fn what_is_no_frame() {
    let unknown = |name: &str| DecodeError::UnknownCommand(name.to_owned());
    for (stream, error) in [
        ("MESSAGE\n\n\0", unknown("MESSAGE")),
        ("send\n\n\0", unknown("send")),
        ("SEND \n\n\0", unknown("SEND ")),
        ("GET / HTTP/1.1\r\n\r\n", unknown("GET / HTTP/1.1")),
        ("SUBSCRIBESUBSCRIBESUBSCRIBE", unknown("SUBSCRIBESUBSCRI")),
        ("SUBSCRIBESUBSCRIB\n", unknown("SUBSCRIBESUBSCRI")),
        ("{\"type\":\"CHAT\"}\n", unknown("{\"type\":\"CHAT\"}")),
        ("SEND\0", DecodeError::UnfinishedHead),
        ("\0", DecodeError::UnfinishedHead),
        ("SEND\ndestination:/a\n\0", DecodeError::UnfinishedHead),
        ("SEND\ndestination:/a\0b\n\n\0", DecodeError::UnfinishedHead),
        ("SEND\ndestination\n\n\0", DecodeError::MissingColon),
        ("SEND\n:/a\n\n\0", DecodeError::MissingHeaderName),
    ] {
        for version in VERSIONS {
            assert_eq!(refused(stream, version), error, "{stream:?} in {version}");
        }
    }
    assert_eq!(
        refused(b"SEND\na:\xff\n\n\0", Version::V1_0),
        DecodeError::HeaderNotUtf8
    );
    assert_eq!(
        refused(b"\xff\n", Version::V1_0),
        DecodeError::UnknownCommand("\u{fffd}".to_owned())
    );
    assert_eq!(unknown("a\"\n").to_string(), r#"unknown command "a\"\n""#);
}

#[test]
fn limits_hold_as_soon_as_they_are_known_to_be_exceeded() {
    let limits = Limits {
        max_frame: 64,
        max_headers: 2,
        max_header: 24,
    };
    let read = |stream: &str| decode([stream.as_bytes()], Version::V1_2, limits);
    let refusal = |stream: &str| read(stream).1;
    let frame_too_large = Some(DecodeError::FrameTooLarge { max: 64 });
    let header_too_large = Some(DecodeError::HeaderTooLarge { max: 24 });

    // What just fits, and one byte more, without the rest.
    let exactly = format!("SEND\na:b\n\n{}\0", "x".repeat(64 - 11));
    assert_eq!(exactly.len(), 64);
    assert_eq!(read(&exactly).0.len(), 1);
    let more = format!("SEND\na:b\n\n{}", "x".repeat(64 - 10));
    assert_eq!(refusal(&more), frame_too_large);
    assert_eq!(refusal(&more[..63]), None);
    assert_eq!(read("SEND\ncontent-length:39\n\n").1, None);
    assert_eq!(refusal("SEND\ncontent-length:40\n\n"), frame_too_large);
    assert_eq!(
        refusal("SEND\ncontent-length:99999999999999999999999\n\n"),
        header_too_large
    );

    let header = format!("a:{}", "x".repeat(22));
    assert_eq!(read(&format!("SEND\n{header}\n\n\0")).0.len(), 1);
    assert_eq!(read(&format!("SEND\n{header}\r\n\r\n\0")).0.len(), 1);
    assert_eq!(refusal(&format!("SEND\n{header}x\n")), header_too_large);
    assert_eq!(refusal(&format!("SEND\n{header}x")), None, "an x or a CR");
    assert_eq!(refusal(&format!("SEND\n{header}xx")), header_too_large);

    let too_many = Some(DecodeError::TooManyHeaders { max: 2 });
    assert_eq!(read("SEND\na:b\na:b\n\n\0").0.len(), 1);
    assert_eq!(refusal("SEND\na:b\na:b\na:b\n"), too_many);

    let long_head = format!("SEND\n{header}\n{header}\n");
    assert_eq!(long_head.len(), 55);
    assert_eq!(
        read(&format!("{long_head}\n{}\0", "x".repeat(7))).0.len(),
        1
    );
    assert_eq!(
        refusal(&format!("{long_head}{}", "x".repeat(8))),
        frame_too_large
    );
    let tiny = Limits {
        max_frame: 5,
        ..limits
    };
    assert_eq!(
        decode([&b"SEND\n"[..]], Version::V1_2, tiny).1,
        Some(DecodeError::FrameTooLarge { max: 5 })
    );
}
