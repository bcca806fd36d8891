//! Generated input that several codecs' properties share.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::string::string_regex;

/// Failures are reported with their seed, not written into the tree.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// JSON in every shape a client may give it: odd white space, odd numbers, escapes and all.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?"),
        json_string(),
    ];
    scalar.prop_recursive(4, 32, 5, |inner| {
        let space = || regex("[ \t\r\n]{0,2}");
        let element = (space(), inner, space())
            .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
            .boxed();
        let key = prop_oneof![
            json_string(),
            Just(r#""_placeholder""#.to_owned()),
            Just(r#""num""#.to_owned())
        ];
        let member = (key, space(), element.clone())
            .prop_map(|(key, space, value)| format!("{key}{space}:{value}"));
        prop_oneof![
            vec(element, 0..5).prop_map(|elements| format!("[{}]", elements.join(","))),
            vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

pub(crate) fn json_string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        regex(r#"[^"\\\x00-\x1f]{0,4}"#),
        regex(r#"\\["\\/bfnrt]"#),
        regex(r"\\u[0-9a-fA-F]{4}"),
        regex(r"[\]\[{},:]{1,3}"),
    ];
    vec(part, 0..4).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

pub(crate) fn regex(pattern: &str) -> impl Strategy<Value = String> + use<> {
    string_regex(pattern).unwrap()
}

pub(crate) fn json_array() -> impl Strategy<Value = String> {
    vec(json_text(), 0..4).prop_map(|elements| format!("[{}]", elements.join(",")))
}

/// Bytes that are often enough nearly a packet.
pub(crate) fn nearly_packet() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        regex("[0-7]{1,3}"),
        regex("[-,/?\\[\\]{}\":b \x1e]{1,2}"),
        Just(r#"["name""#.to_owned()),
        Just(r#"{"_placeholder":true,"num":0}"#.to_owned()),
        Just("/chat,".to_owned()),
        json_text(),
        any::<String>(),
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}
