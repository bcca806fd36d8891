//! Client → server: event names and payloads to intents.

use confab_gateway_protocol::json::Args;
use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::Command;
use confab_shared::model::content::{Content, MAX_PARTICIPANTS, parse_message_type, parse_name};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use serde::Deserialize;

use crate::dialect::input::{id, payload, temp_id};
use crate::dialect::{Intent, RoomName};

/// The events that clients may send.
pub(super) const EVENTS: &[&str] = &[
    "createConversation",
    "joinRoom",
    "leaveRoom",
    "sendMessage",
    "editMessage",
    "deleteMessage",
    "markAsRead",
    "markConversationAsRead",
    "typing",
    "stopTyping",
    "getOnlineUsers",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateConversation {
    participant_ids: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfConversation {
    conversation_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfMessage {
    conversation_id: String,
    message_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendMessage {
    conversation_id: String,
    content: String,
    #[serde(rename = "type")]
    message_type: Option<String>,
    temp_id: Option<String>,
    reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EditMessage {
    conversation_id: String,
    message_id: String,
    content: String,
}

/// What a client asks for.
pub(super) fn intent(event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
    match event {
        "createConversation" => create(&payload(args)?),
        "joinRoom" => {
            let of: OfConversation = payload(args)?;
            Ok(Intent::Enter {
                room: RoomName::Id(id("conversationId", &of.conversation_id)?),
                guest_name: None,
            })
        }
        "leaveRoom" => {
            let of: OfConversation = payload(args)?;
            let conversation = id("conversationId", &of.conversation_id)?;
            Ok(Intent::Exit(RoomName::Id(conversation)))
        }
        "sendMessage" => send(&payload(args)?),
        "editMessage" => {
            let edit: EditMessage = payload(args)?;
            let message = id("messageId", &edit.message_id)?;
            change(
                &edit.conversation_id,
                Command::EditMessage {
                    message,
                    content: Content::parse(&edit.content)?,
                },
            )
        }
        "deleteMessage" => {
            let of: OfMessage = payload(args)?;
            let message = id("messageId", &of.message_id)?;
            change(&of.conversation_id, Command::DeleteMessage { message })
        }
        "markAsRead" => {
            let of: OfMessage = payload(args)?;
            let message: MessageId = id("messageId", &of.message_id)?;
            change(
                &of.conversation_id,
                Command::MarkRead {
                    up_to: Some(message),
                },
            )
        }
        "markConversationAsRead" => {
            let of: OfConversation = payload(args)?;
            change(&of.conversation_id, Command::MarkRead { up_to: None })
        }
        "typing" | "stopTyping" => {
            let of: OfConversation = payload(args)?;
            Ok(Intent::Type {
                room: RoomName::Id(id("conversationId", &of.conversation_id)?),
                typing: event == "typing",
            })
        }
        "getOnlineUsers" => Ok(Intent::WhoIsOnline),
        _ => Err(Rejection::invalid("unknown event")),
    }
}

fn create(create: &CreateConversation) -> Result<Intent, Rejection> {
    if create.participant_ids.is_empty() || create.participant_ids.len() > MAX_PARTICIPANTS {
        return Err(Rejection::invalid(format!(
            "participantIds must have 1 to {MAX_PARTICIPANTS} ids"
        )));
    }
    let participants: Vec<UserId> = create
        .participant_ids
        .iter()
        .map(|text| id("participantIds", text))
        .collect::<Result<_, _>>()?;
    let name = create
        .name
        .as_deref()
        .map(|name| parse_name("name", name))
        .transpose()?;
    let kind = match create.kind.as_deref() {
        Some("direct") => ConversationKind::Direct,
        Some("group") => ConversationKind::Group,
        Some(_) => return Err(Rejection::invalid("type must be direct or group")),
        None if participants.len() == 1 && name.is_none() => ConversationKind::Direct,
        None => ConversationKind::Group,
    };
    Ok(Intent::Create {
        kind,
        name,
        participants,
    })
}

fn send(send: &SendMessage) -> Result<Intent, Rejection> {
    let command = Command::SendMessage {
        content: Content::parse(&send.content)?,
        message_type: parse_message_type(send.message_type.as_deref().unwrap_or("text"))?,
        reply_to: send
            .reply_to
            .as_deref()
            .map(|text| id("replyTo", text))
            .transpose()?,
        temp_id: temp_id(send.temp_id.as_deref())?,
    };
    change(&send.conversation_id, command)
}

fn change(conversation: &str, command: Command) -> Result<Intent, Rejection> {
    Ok(Intent::Change {
        conversation: id::<ConversationId>("conversationId", conversation)?,
        command,
    })
}
