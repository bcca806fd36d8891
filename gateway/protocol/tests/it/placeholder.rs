//! Placeholders in packets with attachments.

use confab_gateway_protocol::socketio::{self, DecodeError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies::json_array;

const MAX_ATTACHMENTS: usize = 10;

#[test]
fn placeholders_point_to_attachments() {
    let decode =
        |args: &str| socketio::decode(&format!("52-[\"a\",{args}]"), MAX_ATTACHMENTS).map(|_| ());
    for legal in [
        r#"{"_placeholder":true,"num":0}"#,
        r#"{"num":1,"x":[{}],"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":7,"num":1}"#,
        r#"{"_placeholder":true,"_placeholder":false,"num":7}"#,
        r#"{"_placeholder":false,"num":7}"#,
        r#"{"_placeholder":"true","num":7}"#,
        r#"["_placeholder",true,"num",7]"#,
        r#"{"a":"_placeholder","b":true,"num":7}"#,
        r#"{"a":"{\"_placeholder\":true,\"num\":7}"}"#,
        r#"{"_placeholder":{"_placeholder":true,"num":1},"num":7}"#,
        r#""\ud800",1e999"#,
    ] {
        assert!(decode(legal).is_ok(), "{legal}");
    }
    for illegal in [
        r#"{"_placeholder":true,"num":2}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder" : true , "num" : "0"}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true,"num":18446744073709551616}"#,
        r#"{"num":2,"_\u0070laceholder":true}"#,
        r#"{"a":[{"b":{"_placeholder":true,"num":2}}]}"#,
        r#"{"num":0,"_placeholder":true,"x":{"num":1},"num":2}"#,
    ] {
        assert!(
            matches!(decode(illegal), Err(DecodeError::IllegalPlaceholder)),
            "{illegal}"
        );
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(decode(&nested(127)).is_ok());
    assert!(matches!(
        decode(&nested(128)),
        Err(DecodeError::TooDeep { max: 128 })
    ));
    // Without attachments there is nothing to search for, and depth is no concern.
    assert!(socketio::decode(&format!("2[\"a\",{}]", nested(10_000)), 0).is_ok());
    assert!(socketio::decode(r#"2["a",{"_placeholder":true,"num":7}]"#, 0).is_ok());
}

/// What the placeholder search must find, by way of a parsed value.
fn has_illegal_placeholder(value: &serde_json::Value, attachments: u64) -> bool {
    match value {
        serde_json::Value::Array(elements) => elements
            .iter()
            .any(|value| has_illegal_placeholder(value, attachments)),
        serde_json::Value::Object(members) => {
            let is_placeholder =
                members.get("_placeholder") == Some(&serde_json::Value::Bool(true));
            let num = members.get("num").and_then(serde_json::Value::as_u64);
            (is_placeholder && num.is_none_or(|num| num >= attachments))
                || members
                    .values()
                    .any(|value| has_illegal_placeholder(value, attachments))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn placeholders_are_found(array in json_array(), nums in vec(0..4_u64, 0..3), attachments in 1..4_usize) {
        let placeholders = nums.iter().map(|num| format!(r#"[{{"_placeholder":true,"num":{num}}}]"#));
        let elements: Vec<_> = [r#""name""#.to_owned(), array].into_iter().chain(placeholders).collect();
        let payload = format!("[{}]", elements.join(","));
        // What serde_json cannot represent (a lone surrogate, a number out of range) has no oracle.
        let Ok(value) = serde_json::from_str(&payload) else { return Ok(()) };
        let is_refused = |payload: &str| socketio::decode(&format!("5{attachments}-{payload}"), 10).is_err();
        let is_illegal = has_illegal_placeholder(&value, attachments as u64);
        // A parsed value has lost the members that a later one of the same name replaces. They are searched, though.
        prop_assert!(is_refused(&payload) || !is_illegal);
        prop_assert_eq!(is_refused(&value.to_string()), is_illegal);
    }
}
