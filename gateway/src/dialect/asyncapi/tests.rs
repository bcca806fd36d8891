//! The document says what is so: every golden frame is held against it, and it against every golden frame.
//!
//! A frame that it does not allow, an event or field of which it does not know, an event or field that it knows and nobody has
//! seen: each is a failure here.

use std::collections::{BTreeMap, BTreeSet};

use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{Body, decode};
use serde_json::{Map, Value, json};

use super::super::catalog::{Direction, Entry};
use super::super::{ALL, Dialect, test_bench as bench};
use super::{ack_key, document, message_key, schema};

/// Schemas, and what they refer to.
struct Schemas {
    components: Value,
}

impl Schemas {
    /// As they are published: more fields than they name may be there.
    fn open() -> Self {
        Self {
            components: document()["components"].take(),
        }
    }

    /// Without room for fields that they do not name.
    fn closed() -> Self {
        let Self { mut components } = Self::open();
        close(&mut components);
        Self { components }
    }

    fn payload(&self, key: &str) -> Option<Value> {
        let message = self.components["messages"].get(key);
        let message = message.unwrap_or_else(|| panic!("{key} is not in the document"));
        message.get("payload").cloned()
    }

    fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        schema::faults(schema, value, &self.components)
    }

    /// Notes which fields these values have. What is shared by several events need not be whole in each of them.
    fn note(&self, schema: &Value, values: &[&Value], path: &str, fields: &mut Fields) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.note(
                schema::resolve(reference, &self.components),
                values,
                reference,
                fields,
            );
        }
        for alternative in schema["oneOf"].as_array().into_iter().flatten() {
            self.note(alternative, values, path, fields);
        }
        if let Some(items) = schema.get("items") {
            let lists = values.iter().filter_map(|value| value.as_array());
            let inner: Vec<&Value> = lists.flatten().collect();
            self.note(items, &inner, path, fields);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let present = values.iter().filter_map(|value| value.get(name));
            let present: Vec<&Value> = present.filter(|value| !value.is_null()).collect();
            *fields.entry(path.clone()).or_default() |= !present.is_empty();
            self.note(field, &present, &path, fields);
        }
    }
}

/// All fields of the schemas that were looked at, and whether any value had them.
type Fields = BTreeMap<String, bool>;

fn assert_all_seen(dialect: &dyn Dialect, fields: &Fields) {
    let unseen = fields.iter().filter(|(_, is_seen)| !**is_seen);
    let unseen: Vec<&String> = unseen.map(|(field, _)| field).collect();
    assert!(unseen.is_empty(), "{}: {unseen:?}", dialect.id());
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.contains_key("properties") && fields.contains_key("type") {
                fields.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn entries(dialect: &dyn Dialect, direction: Direction) -> BTreeMap<&'static str, Entry> {
    let events = dialect.catalog().events.into_iter();
    let events = events.filter(|entry| entry.direction == direction);
    events.map(|entry| (entry.name, entry)).collect()
}

/// A server's packet in a golden line.
struct Line {
    text: String,
    is_ack: bool,
    /// An event's name stands first.
    args: Vec<Value>,
}

fn lines(dialect: &dyn Dialect) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in ["outbound.txt", "confirmations.txt"] {
        for text in bench::read_golden(dialect, name).lines() {
            let (_, packet) = text.split_once(": ").unwrap();
            let args = &packet[packet.find('[').unwrap()..];
            lines.push(Line {
                text: format!("{} {text}", dialect.id()),
                is_ack: packet.starts_with("43"),
                args: serde_json::from_str(args).unwrap(),
            });
        }
    }
    assert!(!lines.is_empty(), "{} has no golden frames", dialect.id());
    lines
}

#[test]
fn every_event_to_clients_is_as_the_document_says() {
    let schemas = Schemas::closed();
    for dialect in ALL {
        let entries = entries(*dialect, Direction::ToClient);
        let mut seen: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        let mut recovered = BTreeSet::new();
        for Line { text, args, .. } in lines(*dialect).into_iter().filter(|line| !line.is_ack) {
            let name = args[0].as_str().unwrap();
            let entry = entries.get(name);
            let entry = entry.unwrap_or_else(|| panic!("not in the catalog: {text}"));
            let schema = schemas.payload(&message_key(dialect.id(), entry)).unwrap();
            let faults = schemas.faults(&schema, &args[1]);
            assert!(faults.is_empty(), "{faults:?}: {text}");
            match args.get(2) {
                Some(Value::String(_)) => {
                    assert!(entry.is_recoverable, "has an offset: {text}");
                    recovered.insert(entry.name);
                }
                Some(more) => assert!(more.is_null(), "{text}"),
                None => {}
            }
            seen.entry(entry.name).or_default().push(args[1].clone());
        }
        let mut fields = Fields::new();
        for (name, entry) in &entries {
            let values = seen.get(name);
            let values = values.unwrap_or_else(|| panic!("{} {name}: never seen", dialect.id()));
            let values: Vec<&Value> = values.iter().collect();
            let schema = schemas.payload(&message_key(dialect.id(), entry)).unwrap();
            schemas.note(&schema, &values, name, &mut fields);
            assert_eq!(entry.is_recoverable, recovered.contains(name), "{name}");
        }
        assert_all_seen(*dialect, &fields);
    }
}

#[test]
fn every_acknowledgement_is_as_the_document_says() {
    let schemas = Schemas::closed();
    for dialect in ALL {
        let entries = entries(*dialect, Direction::FromClient);
        let acks: Vec<Value> = lines(*dialect)
            .into_iter()
            .filter(|line| line.is_ack)
            .map(|mut line| line.args.remove(0))
            .collect();
        let (successes, failures): (Vec<_>, Vec<_>) =
            acks.iter().partition(|ack| ack["success"] == true);
        assert!(!failures.is_empty());
        let mut fields = Fields::new();
        for entry in entries.values() {
            let key = ack_key(dialect.id(), entry);
            let either = schemas.payload(&key).unwrap();
            let [success, _] = either["oneOf"].as_array().unwrap().as_slice() else {
                panic!("{key} is not one of two")
            };
            for failure in &failures {
                assert_eq!(schemas.faults(&either, failure), Vec::<String>::new());
            }
            let fitting: Vec<&Value> = successes
                .iter()
                .filter(|ack| schemas.faults(success, ack).is_empty())
                .copied()
                .collect();
            assert!(!fitting.is_empty(), "{key}: nothing like it is ever said");
            schemas.note(success, &fitting, &key, &mut fields);
        }
        // What conversations and messages are made of is seen in events.
        fields.retain(|field, _| !field.starts_with('#'));
        assert_all_seen(*dialect, &fields);
    }
}

/// The cases that a dialect reads, with their events' names and first arguments.
fn accepted(dialect: &dyn Dialect) -> Vec<(String, Option<Value>)> {
    let cases = bench::read_golden(dialect, "inbound-cases.txt");
    let mut accepted = Vec::new();
    for case in cases.lines() {
        let Body::Event(event) = decode(case, 0).unwrap().body else {
            panic!("no event: {case}")
        };
        if dialect.inbound(&event.name, event.args).is_ok() {
            let first = event.args.first();
            let first = first.map(|first| Json::parse(first).unwrap());
            accepted.push((event.name.into_owned(), first));
        }
    }
    accepted
}

#[test]
fn every_event_that_is_read_is_as_the_document_says() {
    let schemas = Schemas::open();
    for dialect in ALL {
        let entries = entries(*dialect, Direction::FromClient);
        let accepted = accepted(*dialect);
        for (name, payload) in &accepted {
            let entry = entries.get(name.as_str());
            let entry = entry.unwrap_or_else(|| panic!("{name} is not in the catalog"));
            if let Some(schema) = schemas.payload(&message_key(dialect.id(), entry)) {
                let payload = payload.as_ref().unwrap();
                let faults = schemas.faults(&schema, payload);
                assert!(faults.is_empty(), "{faults:?}: {name} {payload}");
            }
        }
        let mut fields = Fields::new();
        for (name, entry) in &entries {
            let values = accepted.iter().filter(|(event, _)| event == name);
            let values: Vec<&Value> = values.filter_map(|(_, payload)| payload.as_ref()).collect();
            let Some(schema) = schemas.payload(&message_key(dialect.id(), entry)) else {
                assert!(accepted.iter().any(|(event, _)| event == name), "{name}");
                continue;
            };
            assert!(!values.is_empty(), "{name}: no case is read");
            schemas.note(&schema, &values, name, &mut fields);
        }
        assert_all_seen(*dialect, &fields);
    }
}

/// A payload without a field, and with null in its place.
fn spoiled(payload: &Map<String, Value>, field: &str) -> [Value; 2] {
    let mut without = payload.clone();
    without.remove(field);
    let mut null = payload.clone();
    null.insert(field.to_owned(), Value::Null);
    [without.into(), null.into()]
}

#[test]
fn what_the_document_requires_is_required_and_the_rest_is_not() {
    let schemas = Schemas::open();
    for dialect in ALL {
        let entries = entries(*dialect, Direction::FromClient);
        for (name, payload) in accepted(*dialect) {
            let schema = schemas.payload(&message_key(dialect.id(), &entries[name.as_str()]));
            let (Some(schema), Some(Value::Object(payload))) = (schema, payload) else {
                continue;
            };
            let required = |field: &str| {
                let names = schema["required"].as_array().unwrap();
                names.iter().any(|name| name == field)
            };
            for field in payload.keys() {
                for spoiled in spoiled(&payload, field) {
                    let is_refused = bench::intent(*dialect, &name, &[spoiled]).is_err();
                    assert_eq!(is_refused, required(field), "{name} without {field}");
                }
            }
        }
    }
}

fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                into.insert(reference);
            }
            fields.values().for_each(|field| references(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[test]
fn whatever_the_document_refers_to_is_in_it() {
    let document = document();
    let mut all = BTreeSet::new();
    references(&document, &mut all);
    for reference in &all {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        let reference = format!("#/components/schemas/{name}");
        assert!(all.contains(reference.as_str()), "{name} is used by none");
    }
}

#[test]
fn every_event_is_in_both_namespaces() {
    let document = document();
    let operations = document["operations"].as_object().unwrap();
    let mut events = 0;
    for dialect in ALL {
        for entry in dialect.catalog().events {
            events += 1;
            for channel in ["root", "chat"] {
                let key = format!("{channel}.{}", message_key(dialect.id(), &entry));
                let action = match entry.direction {
                    Direction::FromClient => "receive",
                    Direction::ToClient => "send",
                };
                assert_eq!(operations[&key]["action"], action, "{key}");
            }
        }
    }
    assert_eq!(operations.len(), 2 * events, "two events of one key");
}
