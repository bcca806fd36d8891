//! Packets whose attachments come in later messages.

use bytes::Bytes;
use confab_gateway_protocol::json::Args;
use confab_gateway_protocol::socketio::{
    self, Ack, Assembler, AssemblerError, AssemblerLimits, Body, DecodeError, Packet,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::socketio_properties::{body, encoded, namespace, owned_body};
use crate::socketio_read::event;
use crate::strategies::nearly_packet;

const LIMITS: AssemblerLimits = AssemblerLimits {
    max_attachments: 10,
    max_attachment_bytes: 100,
};

#[test]
fn an_event_and_an_ack() {
    let mut assembler = Assembler::new(LIMITS);
    let passing = assembler.text(r#"2["foo"]"#).unwrap();
    assert_eq!(passing, Some(event("/", None, "foo", Args::EMPTY)));

    let wire = r#"52-/chat?x,9["baz",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    assert_eq!(assembler.text(wire).unwrap(), None);
    assert!(assembler.is_waiting());
    assert_eq!(assembler.binary(Bytes::from_static(b"one")).unwrap(), None);
    let whole = assembler
        .binary(Bytes::from_static(b"two"))
        .unwrap()
        .unwrap();
    assert!(!assembler.is_waiting());
    assert_eq!(whole.packet(), socketio::decode(wire, 10).unwrap());
    assert_eq!(whole.attachments(), ["one", "two"]);
    assert_eq!(encoded(&whole.packet()), wire);

    assert_eq!(
        assembler
            .text(r#"61-4[{"_placeholder":true,"num":0}]"#)
            .unwrap(),
        None
    );
    let whole = assembler.binary(Bytes::new()).unwrap().unwrap();
    assert!(matches!(
        whole.packet().body,
        Body::Ack(Ack {
            id: 4,
            attachments: 1,
            ..
        })
    ));
    assert_eq!(whole.into_attachments(), [""]);
}

#[test]
fn packets_are_not_assembled_out_of_turn() {
    let header = r#"52-["a"]"#;
    let mut assembler = Assembler::new(LIMITS);
    assert!(matches!(
        assembler.binary(Bytes::new()),
        Err(AssemblerError::UnexpectedBinary)
    ));

    assembler.text(header).unwrap();
    assembler.binary(Bytes::new()).unwrap();
    let early = assembler.text(r#"2["b"]"#);
    assert!(matches!(
        early,
        Err(AssemblerError::UnexpectedText { missing: 1 })
    ));

    assembler.text(header).unwrap();
    assembler.binary(Bytes::from(vec![0; 60])).unwrap();
    let large = assembler.binary(Bytes::from(vec![0; 41]));
    assert!(matches!(
        large,
        Err(AssemblerError::AttachmentsTooLarge { max: 100 })
    ));

    let many = assembler.text(r#"511-["a"]"#);
    assert!(matches!(
        many,
        Err(AssemblerError::Malformed(DecodeError::TooManyAttachments {
            max: 10
        }))
    ));
    assert!(
        assembler.text(r#"50-["a"]"#).unwrap().is_some(),
        "no attachments to wait for"
    );
}

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn packets_are_assembled(
        namespace in namespace(), owned in owned_body(), attachments in vec(any::<Vec<u8>>(), 1..6),
    ) {
        let mut packet = Packet { namespace: &namespace, query: None, body: body(&owned) };
        match &mut packet.body {
            Body::Event(event) => event.attachments = attachments.len(),
            Body::Ack(ack) => ack.attachments = attachments.len(),
            _ => return Ok(()),
        }
        let size = attachments.iter().map(Vec::len).sum();
        let limits = AssemblerLimits { max_attachments: attachments.len(), max_attachment_bytes: size };
        let wire = encoded(&packet);
        let mut assembler = Assembler::new(limits);
        // A generated argument may look like a placeholder and point nowhere.
        let Ok(none) = assembler.text(&wire) else { return Ok(()) };
        prop_assert_eq!(none, None);
        let mut whole = None;
        for attachment in &attachments {
            prop_assert!(whole.is_none());
            whole = assembler.binary(Bytes::copy_from_slice(attachment)).unwrap();
        }
        let whole = whole.unwrap();
        prop_assert_eq!(whole.packet(), packet);
        prop_assert_eq!(whole.attachments(), &attachments[..]);
    }

    #[test]
    fn assemblers_take_anything(messages in vec((any::<bool>(), nearly_packet()), 0..12)) {
        let limits = AssemblerLimits { max_attachments: 3, max_attachment_bytes: 64 };
        let mut assembler = Assembler::new(limits);
        for (is_binary, content) in messages {
            if is_binary {
                if let Ok(Some(packet)) = assembler.binary(Bytes::from(content)) {
                    prop_assert_eq!(packet.packet().attachments(), packet.attachments().len());
                    prop_assert!(packet.attachments().iter().map(Bytes::len).sum::<usize>() <= 64);
                }
            } else if let Ok(Some(packet)) = assembler.text(&content) {
                prop_assert_eq!(packet.attachments(), 0);
            }
        }
    }
}
