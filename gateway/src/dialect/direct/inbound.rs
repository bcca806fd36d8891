//! Client → server: event names and payloads to intents.

use confab_gateway_protocol::json::Args;
use confab_shared::id::MessageId;
use confab_shared::model::content::Content;
use confab_shared::model::error::Rejection;
use serde::Deserialize;

use crate::dialect::Intent;
use crate::dialect::input::{id, payload, temp_id};

/// The events that clients may send.
pub(super) const EVENTS: &[&str] = &["send_message", "get_messages"];

/// The most messages that one `get_messages` is answered with, which is also what it is answered with if it does not say.
pub(super) const MAX_HISTORY: u32 = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendMessage {
    receiver_id: String,
    content: String,
    temp_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetMessages {
    other_user_id: String,
    before: Option<Numbered>,
    limit: Option<u64>,
}

/// A message's id: a number, as clients get it, or the same in a string.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a message id must be a number")]
enum Numbered {
    Number(i64),
    Text(String),
}

/// What a client asks for.
pub(super) fn intent(event: &str, args: Args<'_>) -> Result<Intent, Rejection> {
    match event {
        "send_message" => {
            let send: SendMessage = payload(args)?;
            Ok(Intent::SayTo {
                receiver: id("receiverId", &send.receiver_id)?,
                content: Content::parse(&send.content)?,
                temp_id: temp_id(send.temp_id.as_deref())?,
            })
        }
        "get_messages" => {
            let get: GetMessages = payload(args)?;
            Ok(Intent::History {
                with: id("otherUserId", &get.other_user_id)?,
                before: get.before.map(message).transpose()?,
                limit: limit(get.limit)?,
            })
        }
        _ => Err(Rejection::invalid("unknown event")),
    }
}

fn message(before: Numbered) -> Result<MessageId, Rejection> {
    match before {
        Numbered::Number(number) => id("before", &number.to_string()),
        Numbered::Text(text) => id("before", &text),
    }
}

fn limit(asked: Option<u64>) -> Result<u32, Rejection> {
    match asked {
        Some(0) => Err(Rejection::invalid("limit must be at least 1")),
        None => Ok(MAX_HISTORY),
        Some(asked) => Ok(u32::try_from(asked).map_or(MAX_HISTORY, |asked| asked.min(MAX_HISTORY))),
    }
}
