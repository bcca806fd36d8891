//! JSON schemas, as far as catalogs use them.
//!
//! Owns what a schema says of a value. Of the keywords it knows those that occur; an unknown one is a panic, so that none is
//! overlooked. (A library that knows them all would change features of what production is built from, `serde_json`'s numbers
//! among them, in tests alone.)

use confab_shared::id::{MessageId, UserId};
use confab_shared::model::timestamp::Timestamp;
use serde_json::Value;

/// What is wrong with a value, with the place where. `components` is what references lead into.
pub(super) fn faults(schema: &Value, value: &Value, components: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, value, components, "", &mut faults);
    faults
}

/// The schema that a reference leads to.
pub(super) fn resolve<'a>(reference: &str, components: &'a Value) -> &'a Value {
    let pointer = reference.strip_prefix("#/components").unwrap();
    let schema = components.pointer(pointer);
    schema.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn check(schema: &Value, value: &Value, components: &Value, at: &str, faults: &mut Vec<String>) {
    let keywords = schema.as_object().unwrap();
    let mut must = |holds: bool, what: &Value| {
        if !holds {
            faults.push(format!("{at}: {value} is not {what}"));
        }
    };
    for (keyword, rule) in keywords {
        match keyword.as_str() {
            // What says nothing, and what is looked at below.
            "description"
            | "$ref"
            | "items"
            | "properties"
            | "required"
            | "additionalProperties" => {}
            "type" => must(is_of_type(rule, value), rule),
            "const" => must(rule == value, rule),
            "enum" => must(rule.as_array().unwrap().contains(value), rule),
            "minimum" => must(
                value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
                rule,
            ),
            "minLength" => must(
                length(value).is_none_or(|n| n >= rule.as_u64().unwrap()),
                rule,
            ),
            "minItems" => must(
                items(value).is_none_or(|n| n >= rule.as_u64().unwrap()),
                rule,
            ),
            "maxItems" => must(
                items(value).is_none_or(|n| n <= rule.as_u64().unwrap()),
                rule,
            ),
            "format" => must(
                value.as_str().is_none_or(|text| has_format(rule, text)),
                rule,
            ),
            "pattern" => must(value.as_str().is_none_or(|text| matches(rule, text)), rule),
            "oneOf" => {
                let alternatives = rule.as_array().unwrap().iter();
                let fitting = alternatives
                    .filter(|schema| self::faults(schema, value, components).is_empty())
                    .count();
                must(fitting == 1, rule);
            }
            unknown => panic!("{unknown}: a keyword that is not known here"),
        }
    }
    if let Some(reference) = schema["$ref"].as_str() {
        check(
            resolve(reference, components),
            value,
            components,
            at,
            faults,
        );
    }
    if let (Some(schema), Some(items)) = (keywords.get("items"), value.as_array()) {
        for (index, item) in items.iter().enumerate() {
            check(schema, item, components, &format!("{at}/{index}"), faults);
        }
    }
    check_fields(schema, value, components, at, faults);
}

fn check_fields(
    schema: &Value,
    value: &Value,
    components: &Value,
    at: &str,
    faults: &mut Vec<String>,
) {
    let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object())
    else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            faults.push(format!("{at} has no {name}"));
        }
    }
    for (name, field) in fields {
        match properties.get(name) {
            Some(schema) => check(schema, field, components, &format!("{at}/{name}"), faults),
            None if schema["additionalProperties"] == false => {
                faults.push(format!("{at} has an unknown field {name}"));
            }
            None => {}
        }
    }
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    match rule {
        Value::Array(types) => types.iter().any(|rule| is_of_type(rule, value)),
        Value::String(name) => match name.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            unknown => panic!("{unknown} is no type"),
        },
        _ => panic!("{rule} is no type"),
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

fn items(value: &Value) -> Option<u64> {
    value.as_array().map(|items| items.len() as u64)
}

fn has_format(rule: &Value, text: &str) -> bool {
    match rule.as_str().unwrap() {
        "uuid" => text.parse::<UserId>().is_ok(),
        "date-time" => serde_json::from_value::<Timestamp>(text.into()).is_ok(),
        unknown => panic!("{unknown} is no format"),
    }
}

fn matches(rule: &Value, text: &str) -> bool {
    match rule.as_str().unwrap() {
        "^[1-9][0-9]*$" => text.parse::<MessageId>().is_ok(),
        "^[a-z0-9_-]{1,32}$" => {
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            (1..=32).contains(&text.len()) && text.chars().all(allowed)
        }
        unknown => panic!("{unknown}: a pattern that is not known here"),
    }
}

#[test]
fn faults_are_found() {
    use serde_json::json;

    let components = json!({ "schemas": { "Id": { "type": "string", "format": "uuid" } } });
    let schema = json!({
        "type": "object",
        "required": ["id", "kind"],
        "additionalProperties": false,
        "properties": {
            "id": { "$ref": "#/components/schemas/Id" },
            "kind": { "enum": ["a", "b"] },
            "at": { "oneOf": [{ "type": "string", "format": "date-time" }, { "type": "null" }] },
            "list": { "type": ["array", "null"], "minItems": 1, "maxItems": 2, "items": { "type": "integer", "minimum": 1 } },
        },
    });
    let id = UserId::generate();
    for good in [
        json!({ "id": id, "kind": "a" }),
        json!({ "id": id, "kind": "b", "at": null, "list": null }),
        json!({ "id": id, "kind": "b", "at": "2026-01-02T03:04:05.678Z", "list": [1, 2] }),
    ] {
        assert_eq!(faults(&schema, &good, &components), Vec::<String>::new());
    }
    for bad in [
        json!({ "id": id }),
        json!({ "id": "x", "kind": "a" }),
        json!({ "id": id, "kind": "c" }),
        json!({ "id": id, "kind": "a", "more": 1 }),
        json!({ "id": id, "kind": "a", "at": "yesterday" }),
        json!({ "id": id, "kind": "a", "list": [] }),
        json!({ "id": id, "kind": "a", "list": [0] }),
        json!({ "id": id, "kind": "a", "list": [1, 2, 3] }),
        json!([]),
    ] {
        assert_ne!(
            faults(&schema, &bad, &components),
            Vec::<String>::new(),
            "{bad}"
        );
    }
}
