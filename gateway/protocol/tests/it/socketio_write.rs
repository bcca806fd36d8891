//! Socket.IO's vectors: what a server says.

use confab_gateway_protocol::json::Args;
use confab_gateway_protocol::socketio;

use crate::socketio_read::{args, json, written};

#[test]
fn what_a_server_says() {
    assert_eq!(
        written(|out| socketio::connected(out, "/", "abc", None)),
        r#"0{"sid":"abc"}"#
    );
    let recoverable = written(|out| socketio::connected(out, "/chat", "abc", Some("def")));
    assert_eq!(recoverable, r#"0/chat,{"sid":"abc","pid":"def"}"#);
    let unknown = written(|out| socketio::connect_error(out, "/x", "Invalid namespace", None));
    assert_eq!(unknown, r#"4/x,{"message":"Invalid namespace"}"#);
    let data = json(r#"{"code":"UNAUTHORIZED"}"#);
    let refused = written(|out| socketio::connect_error(out, "/", "Unauthorized", Some(data)));
    assert_eq!(
        refused,
        r#"4{"message":"Unauthorized","data":{"code":"UNAUTHORIZED"}}"#
    );
    assert_eq!(written(|out| socketio::disconnect(out, "/")), "1");
    assert_eq!(written(|out| socketio::disconnect(out, "/chat")), "1/chat,");
    let mixed = written(|out| {
        let writer = socketio::event(out, "/chat", Some(3), "say \"hi\"")
            .json(json("{}"))
            .string("a\\\n\u{1}é");
        writer
            .value(&[1, 2])
            .unwrap()
            .with(|out| out.extend_from_slice(b"null"))
            .args(Args::EMPTY)
            .finish();
    });
    assert_eq!(
        mixed,
        r#"2/chat,3["say \"hi\"",{},"a\\\n\u0001é",[1,2],null]"#
    );
    assert_eq!(written(|out| socketio::ack(out, "/", 7).finish()), "37[]");
    assert_eq!(
        written(|out| socketio::ack(out, "/chat", 7).args(args("[1,2]")).finish()),
        "3/chat,7[1,2]"
    );
    let placeholder = json(r#"{"_placeholder":true,"num":0}"#);
    let event = written(|out| {
        socketio::binary_event(out, "/", None, "a", 1)
            .json(placeholder)
            .finish();
    });
    assert_eq!(event, r#"51-["a",{"_placeholder":true,"num":0}]"#);
    let ack = written(|out| {
        socketio::binary_ack(out, "/", 2, 1)
            .json(placeholder)
            .finish();
    });
    assert_eq!(ack, r#"61-2[{"_placeholder":true,"num":0}]"#);
}
