//! Socket.IO's properties.

use std::borrow::Cow;

use bytes::BytesMut;
use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{self, Ack, Body, Event, Packet};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::strategies::{json_array, json_string, json_text, nearly_packet, regex};

pub(crate) fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_owned()),
        Just("/chat".to_owned()),
        regex("/[^,?]{0,8}")
    ]
}

fn event_name() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("reserved", |name| {
        ![
            "connect",
            "connect_error",
            "disconnect",
            "disconnecting",
            "newListener",
            "removeListener",
        ]
        .contains(&name.as_str())
    })
}

/// What is inside an owned Socket.IO packet, so that borrowed ones can be made of it.
#[derive(Debug, Clone)]
pub(crate) enum OwnedBody {
    Connect(Option<String>),
    Disconnect,
    Event {
        name: String,
        array: String,
        ack_id: Option<u64>,
    },
    Ack {
        id: u64,
        array: String,
    },
    ConnectError(String),
}

pub(crate) fn owned_body() -> impl Strategy<Value = OwnedBody> {
    let object = || {
        vec((json_string(), json_text()), 0..3).prop_map(|members| {
            let members: Vec<_> = members
                .iter()
                .map(|(key, value)| format!("{key}: {value}"))
                .collect();
            format!("{{{}}}", members.join(" ,"))
        })
    };
    prop_oneof![
        option::of(object()).prop_map(OwnedBody::Connect),
        Just(OwnedBody::Disconnect),
        (event_name(), json_array(), any::<Option<u64>>()).prop_map(|(name, array, ack_id)| {
            OwnedBody::Event {
                name,
                array,
                ack_id,
            }
        }),
        (any::<u64>(), json_array()).prop_map(|(id, array)| OwnedBody::Ack { id, array }),
        prop_oneof![object(), json_string()].prop_map(OwnedBody::ConnectError),
    ]
}

pub(crate) fn body(owned: &OwnedBody) -> Body<'_> {
    let args = |array| Json::check(array).unwrap().elements().unwrap();
    match owned {
        OwnedBody::Connect(payload) => {
            Body::Connect(payload.as_deref().map(|text| Json::check(text).unwrap()))
        }
        OwnedBody::Disconnect => Body::Disconnect,
        OwnedBody::Event {
            name,
            array,
            ack_id,
        } => Body::Event(Event {
            name: Cow::Borrowed(name),
            args: args(array),
            ack_id: *ack_id,
            attachments: 0,
        }),
        OwnedBody::Ack { id, array } => Body::Ack(Ack {
            id: *id,
            args: args(array),
            attachments: 0,
        }),
        OwnedBody::ConnectError(payload) => Body::ConnectError(Some(Json::check(payload).unwrap())),
    }
}

pub(crate) fn encoded(packet: &Packet<'_>) -> String {
    let mut out = BytesMut::new();
    socketio::encode(&mut out, packet);
    String::from_utf8(out.to_vec()).unwrap()
}

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn socketio_packets_round_trip(
        namespace in namespace(), query in option::of(regex("[^,]{0,8}")), owned in owned_body(),
    ) {
        let packet = Packet { namespace: &namespace, query: query.as_deref(), body: body(&owned) };
        let wire = encoded(&packet);
        let decoded = socketio::decode(&wire, 0).unwrap();
        prop_assert_eq!(&decoded, &packet);
        prop_assert_eq!(encoded(&decoded), wire);
    }

    #[test]
    fn echoes_are_exact(array in json_array(), ack_id: u64) {
        let inner = array.trim().strip_prefix('[').unwrap().strip_suffix(']').unwrap().trim();
        let separator = if inner.is_empty() { "" } else { "," };
        let wire = format!(r#"2/chat,{ack_id}["message"{separator}{inner}]"#);
        let Body::Event(event) = socketio::decode(&wire, 0).unwrap().body else { panic!("no event") };
        let mut out = BytesMut::new();
        socketio::event(&mut out, "/chat", event.ack_id, "message").args(event.args).finish();
        prop_assert_eq!(&out, &wire);
    }

    #[test]
    fn socketio_takes_anything(text in nearly_packet(), max_attachments in 0..12_usize) {
        let Ok(packet) = socketio::decode(&text, max_attachments) else { return Ok(()) };
        prop_assert!(packet.attachments() <= max_attachments);
        prop_assert!(socketio::is_valid_namespace(packet.namespace));
        let wire = encoded(&packet);
        prop_assert_eq!(socketio::decode(&wire, max_attachments).unwrap(), packet);
    }
}
