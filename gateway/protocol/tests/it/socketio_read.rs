//! Socket.IO's vectors: packets, and what is none.

use std::borrow::Cow;

use bytes::BytesMut;
use confab_gateway_protocol::json::{Args, Json};
use confab_gateway_protocol::socketio::{self, Ack, Body, DecodeError, Event, Packet};

const MAX_ATTACHMENTS: usize = 10;

pub(crate) fn json(text: &str) -> Json<'_> {
    Json::check(text).unwrap()
}

pub(crate) fn args(array: &str) -> Args<'_> {
    json(array).elements().unwrap()
}

pub(crate) fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

pub(crate) fn event<'a>(
    namespace: &'a str,
    ack_id: Option<u64>,
    name: &'a str,
    args: Args<'a>,
) -> Packet<'a> {
    let event = Event {
        name: Cow::Borrowed(name),
        args,
        ack_id,
        attachments: 0,
    };
    Packet {
        namespace,
        query: None,
        body: Body::Event(event),
    }
}

fn binary(mut packet: Packet<'_>, count: usize) -> Packet<'_> {
    match &mut packet.body {
        Body::Event(event) => event.attachments = count,
        Body::Ack(ack) => ack.attachments = count,
        other => panic!("{other:?} has no attachments"),
    }
    packet
}

fn ack<'a>(namespace: &'a str, id: u64, args: Args<'a>) -> Packet<'a> {
    Packet {
        namespace,
        query: None,
        body: Body::Ack(Ack {
            id,
            args,
            attachments: 0,
        }),
    }
}

fn plain<'a>(namespace: &'a str, body: Body<'a>) -> Packet<'a> {
    Packet {
        namespace,
        query: None,
        body,
    }
}

#[test]
fn socketio_packets() {
    let first = args(r#"[{"_placeholder":true,"num":0}]"#);
    let both = args(r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    let vectors = [
        ("0", plain("/", Body::Connect(None))),
        (
            r#"0{"token":"123"}"#,
            plain("/", Body::Connect(Some(json(r#"{"token":"123"}"#)))),
        ),
        ("0/admin,", plain("/admin", Body::Connect(None))),
        (
            r#"0/admin,{"token":"123"}"#,
            plain("/admin", Body::Connect(Some(json(r#"{"token":"123"}"#)))),
        ),
        ("1", plain("/", Body::Disconnect)),
        ("1/admin,", plain("/admin", Body::Disconnect)),
        (r#"2["foo"]"#, event("/", None, "foo", Args::EMPTY)),
        (r#"2["hello",1]"#, event("/", None, "hello", args("[1]"))),
        (
            r#"2/admin,["bar"]"#,
            event("/admin", None, "bar", Args::EMPTY),
        ),
        (r#"212["foo"]"#, event("/", Some(12), "foo", Args::EMPTY)),
        (
            r#"2/admin,456["project:delete",123]"#,
            event("/admin", Some(456), "project:delete", args("[123]")),
        ),
        (
            r#"3/admin,13["bar"]"#,
            ack("/admin", 13, args(r#"["bar"]"#)),
        ),
        ("3/admin,456[]", ack("/admin", 456, Args::EMPTY)),
        (
            r#"4/admin,"Not authorized""#,
            plain(
                "/admin",
                Body::ConnectError(Some(json(r#""Not authorized""#))),
            ),
        ),
        (
            r#"4{"message":"no"}"#,
            plain("/", Body::ConnectError(Some(json(r#"{"message":"no"}"#)))),
        ),
        (
            r#"51-["baz",{"_placeholder":true,"num":0}]"#,
            binary(event("/", None, "baz", first), 1),
        ),
        (
            r#"52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            binary(event("/admin", None, "baz", both), 2),
        ),
        (
            r#"51-/admin,456["project:delete",{"_placeholder":true,"num":0}]"#,
            binary(event("/admin", Some(456), "project:delete", first), 1),
        ),
        (
            r#"61-/admin,456[{"_placeholder":true,"num":0}]"#,
            binary(ack("/admin", 456, first), 1),
        ),
    ];
    for (wire, packet) in vectors {
        assert_eq!(
            socketio::decode(wire, MAX_ATTACHMENTS).unwrap(),
            packet,
            "{wire}"
        );
        assert_eq!(written(|out| socketio::encode(out, &packet)), wire);
    }
}

/// Ways to write a packet that are understood and not used.
#[test]
fn socketio_packets_written_otherwise() {
    let query = Some("token=x&a=/b");
    let vectors = [
        ("0/admin", plain("/admin", Body::Connect(None))),
        ("1/admin", plain("/admin", Body::Disconnect)),
        (r#"2/,["foo"]"#, event("/", None, "foo", Args::EMPTY)),
        (
            "0/admin?token=x&a=/b,",
            Packet {
                query,
                ..plain("/admin", Body::Connect(None))
            },
        ),
        (
            "0/admin?token=x&a=/b",
            Packet {
                query,
                ..plain("/admin", Body::Connect(None))
            },
        ),
        (
            r#"2/?,["foo"]"#,
            Packet {
                query: Some(""),
                ..event("/", None, "foo", Args::EMPTY)
            },
        ),
        (r#"2007["foo"]"#, event("/", Some(7), "foo", Args::EMPTY)),
        (
            r#"2  [ "foo" , 1.0 ,	{"a" : [ ] } ]  "#,
            event("/", None, "foo", args(r#"[1.0 ,	{"a" : [ ] }]"#)),
        ),
        (r#"50-["foo",1]"#, event("/", None, "foo", args("[1]"))),
        (r#"2["f\u006fo"]"#, event("/", None, "foo", Args::EMPTY)),
        ("2[5,1]", event("/", None, "5", args("[1]"))),
        (r#"2["\ud800",1]"#, event("/", None, r"\ud800", args("[1]"))),
        ("4", plain("/", Body::ConnectError(None))),
    ];
    for (wire, packet) in vectors {
        assert_eq!(
            socketio::decode(wire, MAX_ATTACHMENTS).unwrap(),
            packet,
            "{wire}"
        );
    }
}

#[test]
fn arguments_stay_as_they_were_written() {
    let wire = r#"2["message" , 1.50, {"b" : 1, "a":"\u00e9,]}\"" },[[ ],"\\"] ,1e400,null]"#;
    let Body::Event(event) = socketio::decode(wire, MAX_ATTACHMENTS).unwrap().body else {
        panic!("no event")
    };
    let split: Vec<_> = event.args.iter().map(Json::as_str).collect();
    assert_eq!(
        split,
        [
            "1.50",
            r#"{"b" : 1, "a":"\u00e9,]}\"" }"#,
            r#"[[ ],"\\"]"#,
            "1e400",
            "null"
        ]
    );
    assert_eq!(event.args.first().map(Json::as_str), Some("1.50"));
    let echo = written(|out| {
        socketio::event(out, "/", None, "message-back")
            .args(event.args)
            .finish();
    });
    assert_eq!(
        echo,
        r#"2["message-back",1.50, {"b" : 1, "a":"\u00e9,]}\"" },[[ ],"\\"] ,1e400,null]"#
    );
}

#[test]
fn packets_that_are_none() {
    let refused = |wire: &str| socketio::decode(wire, MAX_ATTACHMENTS).unwrap_err();
    assert!(matches!(refused(""), DecodeError::Empty));
    for wire in ["7", "4abc"].map(|wire| wire.replace("4abc", "abc")) {
        assert!(
            matches!(refused(&wire), DecodeError::UnknownType(_)),
            "{wire}"
        );
    }
    for wire in [
        "5",
        "51",
        r#"5["a"]"#,
        r#"5-["a"]"#,
        r#"51["a"]"#,
        "5x-[]",
        "5-1-[]",
        "61.5-1[]",
    ] {
        assert!(
            matches!(refused(wire), DecodeError::MalformedAttachments),
            "{wire}"
        );
    }
    for wire in [r#"511-["a"]"#, "699999999999999999999999-1[]"] {
        assert!(
            matches!(refused(wire), DecodeError::TooManyAttachments { max: 10 }),
            "{wire}"
        );
    }
    for wire in [
        r#"218446744073709551616["a"]"#,
        r#"2000000000000000000000["a"]"#,
    ] {
        assert!(
            matches!(refused(wire), DecodeError::AckIdTooLarge),
            "{wire}"
        );
    }
    for wire in ["01", "0/admin,1{}", "112", "41"] {
        assert!(
            matches!(refused(wire), DecodeError::UnexpectedAckId),
            "{wire}"
        );
    }
    for wire in ["3[]", "61-[]"] {
        assert!(matches!(refused(wire), DecodeError::MissingAckId), "{wire}");
    }
}

#[test]
fn payloads_that_do_not_fit() {
    let refused = |wire: &str| socketio::decode(wire, MAX_ATTACHMENTS).unwrap_err();
    for wire in [
        "2[",
        "2abc",
        r#"2abc["a",1]"#,
        r#"2["a"]x"#,
        r#"2["a",]"#,
        "2[\"a\u{1}\"]",
        "0{",
        "1x",
        r#"2-1["a"]"#,
    ] {
        assert!(
            matches!(refused(wire), DecodeError::MalformedJson(_)),
            "{wire}"
        );
    }
    for wire in ["2", "2/admin,", "2/admin", "21", "31", "51-", "61-1"] {
        assert!(
            matches!(refused(wire), DecodeError::MissingPayload),
            "{wire}"
        );
    }
    assert!(matches!(refused("1{}"), DecodeError::UnexpectedPayload));
    for wire in [
        "2{}", r#"2"a""#, "2 1", "31{}", "0[]", r#"0"a""#, "0null", "4[]", "4 1", "0true",
    ] {
        assert!(
            matches!(refused(wire), DecodeError::WrongPayload { .. }),
            "{wire}"
        );
    }
    for wire in ["2[]", "2[null]", "2[true]", "2[{}]", r#"2[["a"]]"#] {
        assert!(
            matches!(refused(wire), DecodeError::MissingEventName),
            "{wire}"
        );
    }
    for name in [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    ] {
        assert!(
            matches!(
                refused(&format!("2[\"{name}\"]")),
                DecodeError::ReservedEventName
            ),
            "{name}"
        );
    }
    assert!(matches!(
        refused(r#"2["conn\u0065ct"]"#),
        DecodeError::ReservedEventName
    ));
}
