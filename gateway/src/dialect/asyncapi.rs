//! The socket events of all dialects as one AsyncAPI document.
//!
//! Owns how the document is put together from the dialects' catalogs. Must never know an event of its own: what is in no catalog
//! is not in the document.

use serde_json::{Map, Value, json};

use super::catalog::{self, Catalog, Direction, Entry};
use super::{ALL, Namespace};

/// The namespaces, by the names that they have in the document.
const CHANNELS: [(&str, Namespace); 2] = [("root", Namespace::Root), ("chat", Namespace::Chat)];

/// Where the schema of a refused event's acknowledgement is.
const FAILURE: &str = "Failure";

const DESCRIPTION: &str = "\
Socket.IO (protocol version 5 over Engine.IO 4) at `/socket.io/`, over WebSocket and HTTP long-polling.

Both namespaces serve all dialects. A socket speaks one: that of `auth.dialect` or `?dialect=`, else that of the first event it \
sends; until then its namespace's default. The same conversations are live in all dialects at once, each in its own words.

The token is given as `auth.token` or as `Authorization: Bearer`; a socket of the `namespaced` dialect may log in late, by \
`auth:login`.

A message's payload here is the event's first argument. Events tagged `recoverable` have one more, a string: the offset that a \
client gives back to be told what it has missed. An event that asks for an acknowledgement always gets one. Events tagged \
`addition` are none of the source's, which had no word for what they say.

Whoever sends too much is refused with `RATE_LIMITED`; `retryAfterMs` says after how many milliseconds it makes sense to go on, and who does not wait for that is refused for longer.";

/// The document.
pub fn document() -> Value {
    let dialects: Vec<(&str, Catalog)> = ALL
        .iter()
        .map(|dialect| (dialect.id(), dialect.catalog()))
        .collect();
    let mut channels = Map::new();
    let mut operations = Map::new();
    for (channel, namespace) in CHANNELS {
        channels.insert(channel.to_owned(), describe_channel(namespace, &dialects));
        for (dialect, catalog) in &dialects {
            for entry in &catalog.events {
                let key = format!("{channel}.{}", message_key(dialect, entry));
                operations.insert(key, operation(channel, dialect, entry));
            }
        }
    }
    let tags: Vec<Value> = dialects
        .iter()
        .map(|(dialect, catalog)| json!({ "name": dialect, "description": catalog.summary }))
        .collect();
    let mut messages = Map::new();
    let mut schemas = Map::new();
    schemas.insert(FAILURE.to_owned(), catalog::failure());
    for (dialect, catalog) in dialects {
        for entry in &catalog.events {
            messages.insert(message_key(dialect, entry), message(dialect, entry));
            if let Some(ack) = &entry.ack {
                messages.insert(
                    ack_key(dialect, entry),
                    acknowledgement(dialect, entry, ack),
                );
            }
        }
        for (name, schema) in catalog.schemas {
            schemas.insert(catalog::shared_name(dialect, name), schema);
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Confab: socket events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT" },
            "tags": tags,
        },
        "defaultContentType": "application/json",
        "servers": {
            "gateway": {
                "host": "{host}",
                "pathname": "/socket.io/",
                "protocol": "ws",
                "description": "Any gateway: there are no sticky sessions.",
                "variables": { "host": { "default": "localhost:3000" } },
                "security": [{ "$ref": "#/components/securitySchemes/token" }],
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
        },
    })
}

/// The key of an event's message. Keys have no colons.
pub(super) fn message_key(dialect: &str, entry: &Entry) -> String {
    let from = match entry.direction {
        Direction::FromClient => "client",
        Direction::ToClient => "server",
    };
    format!("{dialect}.{from}.{}", entry.name.replace(':', "."))
}

/// The key of the message that acknowledges an event.
pub(super) fn ack_key(dialect: &str, entry: &Entry) -> String {
    format!("{dialect}.ack.{}", entry.name.replace(':', "."))
}

fn describe_channel(namespace: Namespace, dialects: &[(&str, Catalog)]) -> Value {
    let mut messages = Map::new();
    for (dialect, catalog) in dialects {
        for entry in &catalog.events {
            let ack = entry.ack.is_some().then(|| ack_key(dialect, entry));
            for key in [Some(message_key(dialect, entry)), ack]
                .into_iter()
                .flatten()
            {
                let reference = json!({ "$ref": format!("#/components/messages/{key}") });
                messages.insert(key, reference);
            }
        }
    }
    let name = namespace.as_str();
    json!({
        "address": name,
        "title": format!("The namespace {name}"),
        "servers": [{ "$ref": "#/servers/gateway" }],
        "messages": messages,
    })
}

fn operation(channel: &str, dialect: &str, entry: &Entry) -> Value {
    let at = json!({ "$ref": format!("#/channels/{channel}") });
    let said = |key: String| json!([{ "$ref": format!("#/channels/{channel}/messages/{key}") }]);
    let mut operation = json!({
        // As Confab sees it, which this document describes.
        "action": match entry.direction {
            Direction::FromClient => "receive",
            Direction::ToClient => "send",
        },
        "channel": at,
        "summary": entry.summary,
        "tags": tags(dialect, entry),
        "messages": said(message_key(dialect, entry)),
    });
    if entry.ack.is_some() {
        let messages = said(ack_key(dialect, entry));
        operation["reply"] = json!({ "channel": at, "messages": messages });
    }
    operation
}

fn message(dialect: &str, entry: &Entry) -> Value {
    let mut message = json!({
        "name": entry.name,
        "title": entry.name,
        "summary": entry.summary,
        "tags": tags(dialect, entry),
    });
    if let Some(payload) = &entry.payload {
        message["payload"] = payload.clone();
    }
    message
}

fn acknowledgement(dialect: &str, entry: &Entry, ack: &Value) -> Value {
    let failure = json!({ "$ref": format!("#/components/schemas/{FAILURE}") });
    json!({
        "name": entry.name,
        "title": format!("Acknowledgement of {}", entry.name),
        "tags": [{ "name": dialect }],
        "payload": { "oneOf": [ack, failure] },
    })
}

fn tags(dialect: &str, entry: &Entry) -> Value {
    let tags = [
        (true, dialect),
        (entry.is_recoverable, "recoverable"),
        (entry.is_addition, "addition"),
    ];
    let tags = tags.into_iter().filter(|(applies, _)| *applies);
    tags.map(|(_, name)| json!({ "name": name })).collect()
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
