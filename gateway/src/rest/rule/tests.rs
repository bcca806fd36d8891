use serde_json::json;

use super::*;

fn accepts<T>(rule: &Rule<T>, value: &Value) -> bool {
    rule.read("field", value).is_ok()
}

#[test]
fn limits_are_cut_and_garbage_is_refused() {
    let limit = |text: &str| LIMIT.read("limit", &json!(text));
    assert_eq!(limit("7"), Ok(7));
    assert_eq!(limit("101"), Ok(100));
    assert_eq!(limit("99999999999999999999"), Ok(100));
    for bad in ["0", "00", "-1", "+1", "1.5", "many", " 1", ""] {
        assert!(limit(bad).is_err(), "{bad}");
    }
}

#[test]
fn passwords_are_counted_in_characters() {
    assert!(!accepts(&NEW_PASSWORD, &json!("1234567")));
    assert!(accepts(&NEW_PASSWORD, &json!("12345678")));
    assert!(accepts(&NEW_PASSWORD, &json!("é".repeat(128))));
    assert!(!accepts(&NEW_PASSWORD, &json!("x".repeat(129))));
}

#[test]
fn a_text_is_as_long_as_it_was_sent() {
    let name = |text: String| accepts(&NAME, &json!(text));
    assert!(name("é".repeat(MAX_NAME_CHARS)));
    assert!(name(format!(" {}", "x".repeat(MAX_NAME_CHARS - 1))));
    assert!(!name(format!(" {}", "x".repeat(MAX_NAME_CHARS))));
    assert!(!accepts(
        &DESCRIPTION,
        &json!(" ".repeat(MAX_DESCRIPTION_CHARS + 1))
    ));
}

#[test]
fn an_idempotency_key_is_visible() {
    let key = |text: &str| accepts(&IDEMPOTENCY_KEY, &json!(text));
    assert!(key("k-1") && key("a b") && key(&"x".repeat(128)));
    for bad in ["", &"x".repeat(129), "é", " a", "a ", "a\tb"] {
        assert!(!key(bad), "{bad:?}");
    }
}

#[test]
fn numbers_are_numbers() {
    assert!(accepts(&MAX_USERS, &json!(1)) && accepts(&MAX_USERS, &json!(100_000.0)));
    for bad in [
        json!(0),
        json!(100_001),
        json!(1.5),
        json!("5"),
        json!(true),
        json!(-1),
        json!(u64::MAX),
    ] {
        assert!(!accepts(&MAX_USERS, &bad), "{bad}");
    }
    assert!(
        accepts(&BOOLEAN, &json!(false))
            && !accepts(&BOOLEAN, &json!("false"))
            && !accepts(&BOOLEAN, &json!(0))
    );
}

#[test]
fn every_rule_accepts_its_own_example() {
    fn check<T>(rule: &Rule<T>) {
        let described = rule.describe().build();
        let example = described.examples.first().expect("an example");
        // What stands in a query is text.
        let given = if matches!(example, Value::Number(_)) && !accepts(rule, example) {
            json!(example.to_string())
        } else {
            example.clone()
        };
        assert!(accepts(rule, &given), "{given}");
    }
    check(&EMAIL);
    check(&USERNAME);
    check(&NEW_PASSWORD);
    check(&PASSWORD);
    check(&NAME);
    check(&AVATAR);
    check(&CONTENT);
    check(&MESSAGE_TYPE);
    check(&DESCRIPTION);
    check(&MAX_USERS);
    check(&BOOLEAN);
    check(&USER_ID);
    check(&CONVERSATION_ID);
    check(&MESSAGE_ID);
    check(&KIND);
    check(&LIMIT);
    check(&PAGE);
    check(&LIST_CURSOR);
    check(&SEARCH_CURSOR);
    check(&ROOM_NAME);
    check(&PRESENT_CURSOR);
    check(&PREFIX);
    check(&IDEMPOTENCY_KEY);
}
