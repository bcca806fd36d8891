//! Client → server: event names and payloads to intents.

use confab_gateway_protocol::json::Args;
use confab_shared::id::UserId;
use confab_shared::model::content::{Content, MAX_PARTICIPANTS, Slug, parse_name};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use serde::Deserialize;

use crate::dialect::input::{id, payload, temp_id, text};
use crate::dialect::{Intent, RoomName};

/// The events that clients may send.
pub(super) const EVENTS: &[&str] = &[
    "auth:login",
    "auth:logout",
    "chat:message",
    "chat:room:create",
    "chat:room:join",
    "chat:room:leave",
    "status:typing",
    "status:update",
];

#[derive(Deserialize)]
struct LogIn {
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    content: String,
    room_id: Option<String>,
    temp_id: Option<String>,
}

#[derive(Deserialize)]
struct CreateRoom {
    name: String,
    participants: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typing {
    room_id: String,
    is_typing: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusUpdate {
    is_online: bool,
}

/// The room of those who name none.
pub(super) fn lobby() -> RoomName {
    RoomName::Slug(Slug::of_name("lobby"))
}

/// What a client asks for.
pub(super) fn intent(event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
    match event {
        // What kind of user it says to be (`userType`) is not for it to say.
        "auth:login" => {
            let LogIn { token } = payload(args)?;
            Ok(Intent::LogIn { token })
        }
        "auth:logout" => Ok(Intent::LogOut),
        "chat:message" => {
            let message: Message = payload(args)?;
            Ok(Intent::Say {
                room: match &message.room_id {
                    Some(room) => RoomName::parse(room)?,
                    None => lobby(),
                },
                content: Content::parse(&message.content)?,
                temp_id: temp_id(message.temp_id.as_deref())?,
                inside: false,
            })
        }
        "chat:room:create" => create(payload(args)?),
        "chat:room:join" => Ok(Intent::Enter {
            room: room(args)?,
            guest_name: None,
        }),
        "chat:room:leave" => Ok(Intent::Exit(room(args)?)),
        "status:typing" => {
            let typing: Typing = payload(args)?;
            Ok(Intent::Type {
                room: RoomName::parse(&typing.room_id)?,
                typing: typing.is_typing,
            })
        }
        "status:update" => {
            let StatusUpdate { is_online } = payload(args)?;
            Ok(Intent::Appear { online: is_online })
        }
        _ => Err(Rejection::invalid("unknown event")),
    }
}

/// The room that stands in an event's place of a payload.
fn room(args: Args<'_>) -> Result<RoomName, Rejection> {
    RoomName::parse(&text("roomId", args)?)
}

/// A room for everybody, or a group of those who are named.
fn create(create: CreateRoom) -> Result<Intent, Rejection> {
    let name = parse_name("name", &create.name)?;
    let participants = create.participants.unwrap_or_default();
    if participants.is_empty() {
        return Ok(Intent::CreateRoom { name });
    }
    if participants.len() > MAX_PARTICIPANTS {
        return Err(Rejection::invalid(format!(
            "participants must have at most {MAX_PARTICIPANTS} ids"
        )));
    }
    let participants: Vec<UserId> = participants
        .iter()
        .map(|text| id("participants", text))
        .collect::<Result<_, _>>()?;
    Ok(Intent::Create {
        kind: ConversationKind::Group,
        name: Some(name),
        participants,
    })
}
