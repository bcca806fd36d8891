//! Engine.IO's vectors.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::engineio::{
    HandshakeError, MessageKind, OpenPacket, Packet, PacketError, PayloadEncoder, PayloadError,
    PayloadFull, PayloadLimits, decode_payload,
};

const NO_LIMITS: PayloadLimits = PayloadLimits {
    max_bytes: usize::MAX,
    max_packets: usize::MAX,
};

const OPEN: &str = concat!(
    r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"#,
    r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
);

fn open_packet() -> OpenPacket<'static> {
    OpenPacket {
        sid: Cow::Borrowed("lv_VI97HAXpY6yYWAAAC"),
        upgrades: vec![Cow::Borrowed("websocket")],
        ping_interval: 25_000,
        ping_timeout: 20_000,
        max_payload: 1_000_000,
    }
}

#[test]
fn engineio_packets() {
    let vectors = [
        (OPEN, Packet::Open(open_packet())),
        ("1", Packet::Close),
        ("2", Packet::Ping("")),
        ("2probe", Packet::Ping("probe")),
        ("3", Packet::Pong("")),
        ("3probe", Packet::Pong("probe")),
        ("4", Packet::Message("")),
        ("4hello", Packet::Message("hello")),
        ("4€€€", Packet::Message("€€€")),
        ("5", Packet::Upgrade),
        ("6", Packet::Noop),
    ];
    for (wire, packet) in vectors {
        assert_eq!(Packet::decode(wire).unwrap(), packet, "{wire}");
        assert_eq!(
            Packet::decode_utf8(wire.as_bytes()).unwrap(),
            packet,
            "{wire}"
        );
        let mut out = BytesMut::new();
        assert_eq!(packet.encode(&mut out), MessageKind::Text);
        assert_eq!(out, wire);
    }
    let mut out = BytesMut::new();
    let binary = Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]));
    assert_eq!(binary.encode(&mut out), MessageKind::Binary);
    assert_eq!(out, [1, 2, 3, 4][..]);
}

#[test]
fn over_websocket_there_is_nothing_to_upgrade_to() {
    let open = Packet::Open(OpenPacket {
        upgrades: Vec::new(),
        ..open_packet()
    });
    let wire = {
        let mut out = BytesMut::new();
        open.encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    };
    assert!(wire.contains(r#""upgrades":[],"#), "{wire}");
    assert_eq!(Packet::decode(&wire).unwrap(), open);
}

#[test]
fn engineio_packets_that_are_none() {
    assert!(matches!(Packet::decode(""), Err(PacketError::Empty)));
    for wire in ["7", "abc", "€", " 4", "b"] {
        assert!(
            matches!(Packet::decode(wire), Err(PacketError::UnknownType(_))),
            "{wire}"
        );
    }
    for wire in ["1x", "5x", "6x"] {
        assert!(
            matches!(Packet::decode(wire), Err(PacketError::UnexpectedData(_))),
            "{wire}"
        );
    }
    for wire in ["0", "0{}", "0[]", r#"0{"sid":1}"#] {
        assert!(
            matches!(Packet::decode(wire), Err(PacketError::MalformedOpen(_))),
            "{wire}"
        );
    }
    assert!(matches!(
        Packet::decode_utf8(b"4\xff"),
        Err(PacketError::NotUtf8(_))
    ));
}

#[test]
fn polling_payloads() {
    let binary = Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]));
    let vectors = [
        (
            "4hello\x1e2\x1e4world",
            vec![
                Packet::Message("hello"),
                Packet::Ping(""),
                Packet::Message("world"),
            ],
        ),
        (
            "4hello\x1ebAQIDBA==",
            vec![Packet::Message("hello"), binary],
        ),
        ("b", vec![Packet::Binary(Bytes::new())]),
        ("6", vec![Packet::Noop]),
    ];
    for (wire, packets) in vectors {
        let decoded: Vec<_> = decode_payload(wire.as_bytes(), NO_LIMITS)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(decoded, packets, "{wire:?}");
        let mut encoder = PayloadEncoder::new(usize::MAX);
        for packet in &packets {
            encoder.push(packet).unwrap();
        }
        assert_eq!(encoder.finish(), wire);
    }
    let unpadded: Vec<_> = decode_payload(b"bAQIDBA", NO_LIMITS)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        unpadded,
        [Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]))]
    );
}

#[test]
fn polling_payloads_within_limits() {
    let limits = PayloadLimits {
        max_bytes: 9,
        max_packets: 3,
    };
    assert_eq!(
        decode_payload(b"4a\x1e4b\x1e4c", limits).unwrap().count(),
        3
    );
    let too_large = decode_payload(b"4a\x1e4b\x1e4cdd", limits);
    assert!(matches!(
        too_large,
        Err(PayloadError::TooLarge { max_bytes: 9 })
    ));
    let too_many = decode_payload(b"4a\x1e4b\x1e2\x1e2", limits);
    assert!(matches!(
        too_many,
        Err(PayloadError::TooManyPackets { max_packets: 3 })
    ));
    assert!(matches!(
        decode_payload(b"4\xff", NO_LIMITS),
        Err(PayloadError::NotUtf8(_))
    ));
    // An error stands where its packet would have been.
    let packets: Vec<_> = decode_payload("4a\x1e\x1eb!\x1e9".as_bytes(), NO_LIMITS)
        .unwrap()
        .collect();
    assert!(packets[0].is_ok());
    assert!(matches!(packets[1], Err(PacketError::Empty)));
    assert!(matches!(packets[2], Err(PacketError::MalformedBase64(_))));
    assert!(matches!(packets[3], Err(PacketError::UnknownType('9'))));
}

#[test]
fn a_full_payload_stays_as_it_was() {
    let mut encoder = PayloadEncoder::new(6);
    assert!(encoder.is_empty());
    encoder.push_encoded(b"4larger than it may be").unwrap();
    assert_eq!(encoder.push(&Packet::Noop), Err(PayloadFull));
    assert_eq!(encoder.finish(), "4larger than it may be");

    let mut encoder = PayloadEncoder::new(6);
    encoder.push_encoded(b"4ab").unwrap();
    assert_eq!(encoder.push_encoded(b"4cd"), Err(PayloadFull));
    encoder.push_encoded(b"4c").unwrap();
    assert_eq!(encoder.finish(), "4ab\x1e4c");
}

#[test]
fn handshake_errors() {
    for (code, error) in HandshakeError::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(error.code()), code);
        assert_eq!(
            error.body(),
            format!(r#"{{"code":{code},"message":"{error}"}}"#)
        );
        assert_eq!(
            error.status(),
            if error == HandshakeError::Forbidden {
                403
            } else {
                400
            }
        );
    }
    assert_eq!(
        HandshakeError::SessionUnknown.body(),
        r#"{"code":1,"message":"Session ID unknown"}"#
    );
}
