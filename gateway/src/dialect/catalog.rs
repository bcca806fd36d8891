//! What a dialect says of its events to those who write clients.
//!
//! Owns the terms of such a description, and the JSON schemas that dialects have in common. A dialect's own stands beside it, in its
//! `catalog.rs`; the tests hold every golden frame against it, so that neither can change alone. Must never know how the
//! description is published: see [`super::asyncapi`].

use confab_shared::model::error::ErrorCode;
use serde_json::{Map, Value, json};

/// A dialect's events.
#[derive(Debug)]
pub struct Catalog {
    /// For whom the dialect is, in a sentence.
    pub summary: &'static str,
    /// All its events.
    pub events: Vec<Entry>,
    /// The schemas that its events have in common, by name. See [`shared`].
    pub schemas: Vec<(&'static str, Value)>,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Clients do.
    FromClient,
    /// Confab does.
    ToClient,
}

/// An event.
#[derive(Debug)]
pub struct Entry {
    /// Who says it.
    pub direction: Direction,
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub summary: &'static str,
    /// The JSON schema of its first argument; none if it needs no argument.
    pub payload: Option<Value>,
    /// The JSON schema of what it is acknowledged with if it succeeds; none where it comes from Confab.
    pub ack: Option<Value>,
    /// Whether it is told again to a client that comes back, and has an offset behind its payload for that.
    pub is_recoverable: bool,
    /// Whether the source has no word for it.
    pub is_addition: bool,
}

impl Entry {
    /// An event from clients, with the fields of its payload, acknowledged with no more than its success.
    pub fn from_client(name: &'static str, summary: &'static str, payload: Value) -> Self {
        Self {
            payload: Some(payload),
            ..Self::bare(name, summary)
        }
    }

    /// An event from clients that needs no argument.
    pub fn bare(name: &'static str, summary: &'static str) -> Self {
        Self {
            direction: Direction::FromClient,
            name,
            summary,
            payload: None,
            ack: Some(success([], [])),
            is_recoverable: false,
            is_addition: false,
        }
    }

    /// An event to clients.
    pub fn to_client(name: &'static str, summary: &'static str, payload: Value) -> Self {
        Self {
            direction: Direction::ToClient,
            name,
            summary,
            payload: Some(payload),
            ack: None,
            is_recoverable: false,
            is_addition: false,
        }
    }

    /// The same, acknowledged with this.
    #[must_use]
    pub fn answered(self, ack: Value) -> Self {
        Self {
            ack: Some(ack),
            ..self
        }
    }

    /// The same, with the offset behind it that clients give back when they come again. What is durable is told them then.
    #[must_use]
    pub fn recoverable(self) -> Self {
        Self {
            is_recoverable: true,
            ..self
        }
    }

    /// The same, as an addition to the source.
    #[must_use]
    pub fn addition(self) -> Self {
        Self {
            is_addition: true,
            ..self
        }
    }
}

/// A field and its schema.
pub type Field = (&'static str, Value);

/// An object with fields that are always there, and fields that may be missing.
pub fn object<const R: usize, const O: usize>(required: [Field; R], optional: [Field; O]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> = required
        .into_iter()
        .chain(optional)
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

/// What a success is acknowledged with: these fields beside `success`.
pub fn success<const R: usize, const O: usize>(
    required: [Field; R],
    optional: [Field; O],
) -> Value {
    let mut schema = object(required, optional);
    schema["properties"]["success"] = json!({ "const": true });
    if let Some(names) = schema["required"].as_array_mut() {
        names.insert(0, json!("success"));
    }
    schema
}

/// What every refusal is acknowledged with.
pub fn failure() -> Value {
    let error = object(
        [("code", error_code()), ("message", text())],
        [retry_after()],
    );
    object(
        [("success", json!({ "const": false })), ("error", error)],
        [],
    )
}

/// The kinds of refusal.
pub fn error_code() -> Value {
    const ALL: [ErrorCode; 10] = [
        ErrorCode::Unauthorized,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::ValidationFailed,
        ErrorCode::PayloadTooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Overloaded,
        ErrorCode::Timeout,
        ErrorCode::Conflict,
        ErrorCode::Internal,
    ];
    words(ALL.map(ErrorCode::as_str))
}

/// When to ask again, where that is known.
pub fn retry_after() -> Field {
    let about = "With `RATE_LIMITED`: after how many milliseconds to try again.";
    ("retryAfterMs", described(count(), about))
}

/// A reference to one of this dialect's own schemas.
pub fn shared(dialect: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", shared_name(dialect, name)) })
}

/// The name that one of a dialect's schemas has among those of all dialects.
pub fn shared_name(dialect: &str, name: &str) -> String {
    format!("{dialect}.{name}")
}

/// A string.
pub fn text() -> Value {
    json!({ "type": "string" })
}

/// One of these strings.
pub fn words<const N: usize>(words: [&str; N]) -> Value {
    json!({ "type": "string", "enum": words.as_slice() })
}

/// The id of a user or conversation.
pub fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// A message's id, as a string.
pub fn message_id() -> Value {
    json!({ "type": "string", "pattern": "^[1-9][0-9]*$" })
}

/// A message's id, as a number.
pub fn message_number() -> Value {
    json!({ "type": "integer", "minimum": 1 })
}

/// A number of things.
pub fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

/// A moment.
pub fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// A truth.
pub fn truth() -> Value {
    json!({ "type": "boolean" })
}

/// What is said.
pub fn content() -> Value {
    described(
        json!({ "type": "string", "minLength": 1 }),
        "1 to 4 000 characters after trimming; no NUL.",
    )
}

/// A room, as sockets name it.
pub fn room_id() -> Value {
    described(text(), "A conversation's id, or a room's slug.")
}

/// The client's own id for what it sends, which may be left out or null.
pub fn temp_id() -> Value {
    described(
        nullable(json!({ "type": "string", "minLength": 1 })),
        "The client's own id, at most 128 bytes: a send that is repeated with it and the same content is stored once.",
    )
}

/// The client's own id, as it gets it back.
pub fn own_temp_id() -> Value {
    described(text(), "The sender's own id. Its own sockets alone see it.")
}

/// What a room is, as a change of it is told.
pub fn room_fields() -> [Field; 4] {
    [
        ("name", text()),
        ("description", nullable(text())),
        ("maxUsers", nullable(count())),
        ("updatedBy", uuid()),
    ]
}

/// What this schema allows, or null.
pub fn nullable(mut schema: Value) -> Value {
    match schema.get_mut("type") {
        Some(kind) => {
            *kind = json!([kind.take(), "null"]);
            schema
        }
        None => json!({ "oneOf": [schema, { "type": "null" }] }),
    }
}

/// A list of these.
pub fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// A schema and what it means.
pub fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}
