//! Engine.IO's properties.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::engineio::{
    MessageKind, OpenPacket, Packet, PayloadEncoder, PayloadLimits, decode_payload,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies::{nearly_packet, regex};

const NO_LIMITS: PayloadLimits = PayloadLimits {
    max_bytes: usize::MAX,
    max_packets: usize::MAX,
};

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn engineio_text_packets_round_trip(data: String, kind in 0..6) {
        let packet = match kind {
            0 => Packet::Ping(&data),
            1 => Packet::Pong(&data),
            2 => Packet::Message(&data),
            3 => Packet::Close,
            4 => Packet::Upgrade,
            _ => Packet::Noop,
        };
        let mut out = BytesMut::new();
        prop_assert_eq!(packet.encode(&mut out), MessageKind::Text);
        prop_assert_eq!(Packet::decode_utf8(&out).unwrap(), packet);
    }

    #[test]
    fn open_packets_round_trip(sid: String, upgrades in vec(any::<String>(), 0..3), numbers: [u64; 3]) {
        let packet = Packet::Open(OpenPacket {
            sid: Cow::Owned(sid),
            upgrades: upgrades.into_iter().map(Cow::Owned).collect(),
            ping_interval: numbers[0],
            ping_timeout: numbers[1],
            max_payload: numbers[2],
        });
        let mut out = BytesMut::new();
        packet.encode(&mut out);
        prop_assert_eq!(Packet::decode_utf8(&out).unwrap(), packet);
    }

    #[test]
    fn engineio_takes_anything(bytes: Vec<u8>, text in nearly_packet()) {
        let _ = Packet::decode_utf8(&bytes);
        let Ok(packet) = Packet::decode(&text) else { return Ok(()) };
        let mut out = BytesMut::new();
        packet.encode(&mut out);
        prop_assert_eq!(Packet::decode_utf8(&out).unwrap(), packet);
    }

    #[test]
    fn payloads_round_trip(contents in vec((any::<bool>(), any::<Vec<u8>>(), regex("[^\x1e]{0,9}")), 1..9)) {
        let packets: Vec<_> = contents.iter().map(|(is_binary, bytes, text)| {
            if *is_binary {
                Packet::Binary(Bytes::copy_from_slice(bytes))
            } else {
                Packet::Message(text)
            }
        }).collect();
        let mut encoder = PayloadEncoder::new(usize::MAX);
        for packet in &packets {
            encoder.push(packet).unwrap();
        }
        let body = encoder.finish();
        let exactly = PayloadLimits { max_bytes: body.len(), max_packets: packets.len() };
        let decoded: Vec<_> = decode_payload(&body, exactly).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&decoded, &packets);
        let fewer_bytes = PayloadLimits { max_bytes: body.len() - 1, ..exactly };
        prop_assert!(decode_payload(&body, fewer_bytes).is_err());
        let fewer_packets = PayloadLimits { max_packets: packets.len() - 1, ..exactly };
        prop_assert!(decode_payload(&body, fewer_packets).is_err());
    }

    #[test]
    fn payloads_keep_their_limit(max_bytes in 0..64_usize, texts in vec(regex("[^\x1e]{0,20}"), 0..9)) {
        let mut encoder = PayloadEncoder::new(max_bytes);
        let mut taken = Vec::new();
        for text in &texts {
            if encoder.push(&Packet::Message(text)).is_ok() {
                taken.push(format!("4{text}"));
            }
        }
        let body = encoder.finish();
        prop_assert_eq!(&body, &taken.join("\x1e"));
        prop_assert!(body.len() <= max_bytes || taken.len() == 1);
    }

    #[test]
    fn payloads_take_anything(bytes: Vec<u8>, text in nearly_packet(), max_packets in 0..5_usize) {
        for body in [&bytes[..], text.as_bytes()] {
            let limits = PayloadLimits { max_packets, ..NO_LIMITS };
            if let Ok(packets) = decode_payload(body, limits) {
                prop_assert!(packets.count() <= max_packets);
            }
        }
    }
}
