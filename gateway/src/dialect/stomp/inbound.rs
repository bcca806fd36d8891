//! Client → server: destinations and bodies to intents.

use confab_shared::model::content::Content;
use confab_shared::model::error::Rejection;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::input::{id, malformed, temp_id};
use crate::dialect::{Intent, RoomName};

/// The room that is meant where none is named.
const DEFAULT_ROOM: &str = "public";

/// What bodies have, as far as it is looked at. Java's clients send every field of their class, with null for what they have not.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    room_id: Option<Field>,
    content: Option<Field>,
    sender: Option<Field>,
    username: Option<Field>,
    receiver_id: Option<Field>,
    temp_id: Option<Field>,
}

/// What stands in a field. What is no string is only wrong where the field is needed.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Other(IgnoredAny),
}

/// What a client asks for by a SEND to this destination, behind the application's prefix.
pub fn intent(destination: &str, body: &[u8]) -> Result<Intent, Rejection> {
    let (name, room) = match destination.split_once('/') {
        None => (destination, None),
        // The name is the one without a room, but for how its parts are held together.
        Some(("chat", rest)) => match rest.split_once('/') {
            Some((room, "addUser")) => ("chat.addUser", Some(room)),
            Some((room, "sendMessage")) => ("chat.sendMessage", Some(room)),
            Some((room, "removeUser")) => ("chat.removeUser", Some(room)),
            Some(_) | None => return Err(unknown()),
        },
        Some(_) => return Err(unknown()),
    };
    match name {
        "chat.addUser" => {
            let body = Body::parse(body)?;
            Ok(Intent::Enter {
                room: body.room(room)?,
                guest_name: match optional("username", body.username)? {
                    None => optional("sender", body.sender)?,
                    name => name,
                },
            })
        }
        "chat.sendMessage" => {
            let body = Body::parse(body)?;
            Ok(Intent::Say {
                room: body.room(room)?,
                content: Content::parse(&required("content", body.content)?)?,
                temp_id: temp_id(optional("tempId", body.temp_id)?.as_deref())?,
                inside: false,
            })
        }
        "chat.removeUser" => Ok(Intent::Exit(Body::parse(body)?.room(room)?)),
        "chat.private" => {
            let body = Body::parse(body)?;
            Ok(Intent::SayTo {
                receiver: id("receiverId", &required("receiverId", body.receiver_id)?)?,
                content: Content::parse(&required("content", body.content)?)?,
                temp_id: temp_id(optional("tempId", body.temp_id)?.as_deref())?,
            })
        }
        _ => Err(unknown()),
    }
}

impl Body {
    fn parse(body: &[u8]) -> Result<Self, Rejection> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        // Structures are read from arrays as well, which no client means.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        if !is_object {
            return Err(Rejection::invalid("the body must be a JSON object"));
        }
        serde_json::from_slice(body).map_err(|error| malformed("body", &error))
    }

    /// The room that is meant: the destination's, if that has one.
    fn room(&self, named: Option<&str>) -> Result<RoomName, Rejection> {
        let name = match (named, &self.room_id) {
            (Some(named), _) => named,
            (None, Some(Field::Text(named))) => named,
            (None, Some(Field::Other(_))) => return Err(no_string("roomId")),
            (None, None) => DEFAULT_ROOM,
        };
        RoomName::parse(name)
            .map_err(|rejection| Rejection::invalid(format!("roomId: {}", rejection.message)))
    }
}

fn required(name: &str, field: Option<Field>) -> Result<String, Rejection> {
    optional(name, field)?.ok_or_else(|| Rejection::invalid(format!("{name} is missing")))
}

fn optional(name: &str, field: Option<Field>) -> Result<Option<String>, Rejection> {
    match field {
        None => Ok(None),
        Some(Field::Text(text)) => Ok(Some(text)),
        Some(Field::Other(_)) => Err(no_string(name)),
    }
}

fn no_string(name: &str) -> Rejection {
    Rejection::invalid(format!("{name} must be a string"))
}

fn unknown() -> Rejection {
    Rejection::invalid("unknown destination")
}
