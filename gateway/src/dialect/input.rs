//! What clients send, as far as all dialects read it alike.
//!
//! Owns how arguments become values, and what is said where they do not. Must never know an event.

use std::borrow::Cow;
use std::str::FromStr;

use confab_gateway_protocol::json::Args;
use confab_shared::id::MalformedId;
use confab_shared::model::content::TempId;
use confab_shared::model::error::Rejection;
use serde::de::DeserializeOwned;

/// The most characters of a refusal that quotes what it was given: what a client sent may be long.
const MAX_QUOTED_CHARS: usize = 200;

/// The first argument, which has to be an object of this form. Further arguments and fields are ignored.
pub(super) fn payload<T: DeserializeOwned>(args: Args<'_>) -> Result<T, Rejection> {
    let Some(first) = args.first().filter(|first| first.is_object()) else {
        return Err(Rejection::invalid("the payload must be an object"));
    };
    first.parse().map_err(|error| malformed("payload", &error))
}

/// The first argument, which has to be a string.
pub(super) fn text<'a>(field: &str, args: Args<'a>) -> Result<Cow<'a, str>, Rejection> {
    let Some(first) = args.first().filter(|first| first.is_string()) else {
        return Err(Rejection::invalid(format!("{field} must be a string")));
    };
    first
        .parse::<Text<'a>>()
        .map(|Text(text)| text)
        .map_err(|error| malformed(field, &error))
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An id in the field of this name.
pub(super) fn id<T: FromStr<Err = MalformedId>>(field: &str, text: &str) -> Result<T, Rejection> {
    text.parse()
        .map_err(|malformed| Rejection::invalid(format!("{field}: {malformed}")))
}

/// The client's own id for what it sends, if it gave one.
pub(super) fn temp_id(text: Option<&str>) -> Result<Option<TempId>, Rejection> {
    text.map(TempId::parse).transpose()
}

/// What is said of something that cannot be read.
pub(super) fn malformed(what: &str, error: &serde_json::Error) -> Rejection {
    let text = error.to_string();
    // Where in the text is of no use to somebody who wrote an object.
    let said = text.split(" at line ").next().unwrap_or(&text);
    let said = match said.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => &said[..end],
        None => said,
    };
    Rejection::invalid(format!("{what}: {said}"))
}

#[cfg(test)]
mod tests {
    use confab_gateway_protocol::json::Json;

    use super::*;

    fn args(json: &str) -> Args<'_> {
        Json::check(json).unwrap().elements().unwrap()
    }

    #[test]
    fn a_refusal_does_not_repeat_a_long_payload() {
        #[derive(Debug, serde::Deserialize)]
        struct Number {
            #[expect(dead_code, reason = "only what is said of it matters")]
            number: u32,
        }
        let sent = format!(r#"[{{"number":"{}"}}]"#, "é".repeat(10_000));
        let rejection = payload::<Number>(args(&sent)).unwrap_err();
        assert!(rejection.message.len() < 1_000, "{}", rejection.message);
        assert!(rejection.message.starts_with("payload: invalid type"));
    }

    #[test]
    fn a_text_is_a_string_with_or_without_escapes() {
        assert_eq!(text("roomId", args(r#"["room-1"]"#)).unwrap(), "room-1");
        assert_eq!(text("roomId", args(r#"["a\"b", 7]"#)).unwrap(), "a\"b");
        for none in [
            "[]",
            "[7]",
            "[null]",
            r#"[{"roomId":"a"}]"#,
            r#"["\ud800"]"#,
        ] {
            assert!(text("roomId", args(none)).is_err(), "{none}");
        }
    }
}
