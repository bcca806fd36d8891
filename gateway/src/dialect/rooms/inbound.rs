//! Client → server: event names and payloads to intents.

use confab_gateway_protocol::json::Args;
use confab_shared::model::content::Content;
use confab_shared::model::error::Rejection;
use serde::Deserialize;

use crate::dialect::input::{payload, temp_id};
use crate::dialect::{Intent, RoomName};

/// The events that clients may send.
pub(super) const EVENTS: &[&str] = &["chat.addUser", "chat.removeUser", "chat.sendMessage"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddUser {
    room_id: String,
    username: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemoveUser {
    room_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendMessage {
    room_id: String,
    content: String,
    temp_id: Option<String>,
}

/// What a client asks for.
pub(super) fn intent(event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
    match event {
        "chat.addUser" => {
            let add: AddUser = payload(args)?;
            Ok(Intent::Enter {
                room: RoomName::parse(&add.room_id)?,
                guest_name: add.username,
            })
        }
        "chat.removeUser" => {
            let remove: RemoveUser = payload(args)?;
            Ok(Intent::Exit(RoomName::parse(&remove.room_id)?))
        }
        "chat.sendMessage" => {
            let send: SendMessage = payload(args)?;
            Ok(Intent::Say {
                room: RoomName::parse(&send.room_id)?,
                content: Content::parse(&send.content)?,
                temp_id: temp_id(send.temp_id.as_deref())?,
                inside: true,
            })
        }
        _ => Err(Rejection::invalid("unknown event")),
    }
}
