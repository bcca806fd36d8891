//! /messages: sending, reading back, changing and marking as read, in source 001's words; and what /chats shares with it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};
use confab_shared::id::{CommandId, ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::{Content, TempId, parse_message_type};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::postgres::conversations;
use confab_shared::postgres::messages::{self, MessageView};

use super::Rest;
use super::error::ApiError;
use super::extract::{Caller, JsonBody, QueryFields, Segments, page, path_id};
use super::fields::id;
use super::shape::{MessageJson, PageJson, UnreadJson};

/// The header by which a client makes a send repeatable.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// POST /messages
pub(super) async fn send(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let conversation = body.text("conversationId", id::<ConversationId>("conversationId"));
    let content = body.text("content", Content::parse);
    let message_type = body.optional_text("messageType", parse_message_type);
    let reply_to = body.optional_text("replyTo", id::<MessageId>("replyTo"));
    let (conversation, content, message_type, reply_to) =
        body.finish((conversation, content, message_type, reply_to))?;
    let temp_id = idempotency_key(&headers)?;
    let command_id = match &temp_id {
        Some(key) => CommandId::of_retry(conversation, caller.id(), key.as_str(), content.as_str()),
        None => CommandId::generate(),
    };
    let message_type = message_type.unwrap_or_else(|| "text".to_owned());
    let command = Command::SendMessage {
        content,
        message_type,
        reply_to,
        temp_id,
    };
    match rest
        .node
        .ingress
        .request(command_id, conversation, caller.id(), command)
        .await?
    {
        Outcome::Stored { message, .. } => {
            let stored = read_back(&rest, message, caller.id()).await?;
            Ok((StatusCode::CREATED, Json(MessageJson::from(&stored))).into_response())
        }
        _ => Err(ApiError::internal(
            "a send was answered with another outcome",
        )),
    }
}

/// GET /messages/conversation/{id}
pub(super) async fn list(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
    QueryFields(query): QueryFields,
) -> Result<Response, ApiError> {
    let conversation = path_id("conversation", &id)?;
    let asked = page(query)?;
    let found = messages::page(rest.database(), conversation, caller.id(), asked).await?;
    Ok(Json(PageJson::new(&found, asked, MessageJson::from)).into_response())
}

/// PUT /messages/{id}
pub(super) async fn edit(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let message = path_id("message", &id)?;
    let content = body.text("content", Content::parse);
    let (content,) = body.finish((content,))?;
    change(
        &rest,
        message,
        caller.id(),
        Command::EditMessage { message, content },
    )
    .await?;
    let edited = read_back(&rest, message, caller.id()).await?;
    Ok(Json(MessageJson::from(&edited)).into_response())
}

/// DELETE /messages/{id}
pub(super) async fn delete(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, ApiError> {
    let message = path_id("message", &id)?;
    change(
        &rest,
        message,
        caller.id(),
        Command::DeleteMessage { message },
    )
    .await?;
    let tombstone = read_back(&rest, message, caller.id()).await?;
    Ok(Json(MessageJson::from(&tombstone)).into_response())
}

/// PUT /messages/mark-as-read
pub(super) async fn mark_as_read(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let conversation = body.text("conversationId", id::<ConversationId>("conversationId"));
    let messages = body.optional_texts("messageIds", id::<MessageId>("messageIds"));
    let (conversation, messages) = body.finish((conversation, messages))?;
    let unread = match messages.map(|named| named.into_iter().max()) {
        None => mark_read(&rest, conversation, caller.id(), None).await?,
        // Numbers grow with the order of a conversation, and reading one covers all before it.
        Some(Some(newest)) => mark_read(&rest, conversation, caller.id(), Some(newest)).await?,
        Some(None) => conversations::unread(rest.database(), conversation, caller.id())
            .await?
            .ok_or_else(|| ApiError::not_found("conversation"))?,
    };
    Ok(Json(UnreadJson {
        unread_count: unread,
    })
    .into_response())
}

/// Raises a reader's marker; how many messages are left unread then.
pub(super) async fn mark_read(
    rest: &Rest,
    conversation: ConversationId,
    reader: UserId,
    up_to: Option<MessageId>,
) -> Result<i64, ApiError> {
    match rest
        .change(conversation, reader, Command::MarkRead { up_to })
        .await?
    {
        Outcome::Read { unread } => Ok(unread),
        _ => Err(ApiError::internal(
            "a reading was answered with another outcome",
        )),
    }
}

/// Changes a message, in the conversation where it was said.
pub(super) async fn change(
    rest: &Rest,
    message: MessageId,
    actor: UserId,
    command: Command,
) -> Result<(), ApiError> {
    let conversation = conversations::of_message(rest.database(), message).await?;
    let conversation = conversation.ok_or_else(|| ApiError::not_found("message"))?;
    match rest.change(conversation, actor, command).await {
        Ok(_) => Ok(()),
        // To somebody who may not see the conversation, its messages are as missing as those that never were.
        Err(Rejection {
            code: ErrorCode::NotFound,
            ..
        }) => Err(ApiError::not_found("message")),
        Err(rejection) => Err(rejection.into()),
    }
}

async fn read_back(
    rest: &Rest,
    message: MessageId,
    viewer: UserId,
) -> Result<MessageView, ApiError> {
    let found = messages::find(rest.database(), message, viewer).await?;
    found.ok_or_else(|| ApiError::not_found("message"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<TempId>, ApiError> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = given
        .to_str()
        .map_err(|_| Rejection::invalid("not visible ASCII"))
        .and_then(TempId::parse);
    key.map(Some).map_err(|_| {
        ApiError::invalid("Idempotency-Key must have 1 to 128 visible ASCII characters")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_idempotency_key_is_a_temp_id() {
        let key = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            idempotency_key(&HeaderMap::from_iter([(
                IDEMPOTENCY_KEY.parse().unwrap(),
                value,
            )]))
        };
        assert_eq!(key(b"k-1").unwrap().unwrap().as_str(), "k-1");
        assert!(key(&[b'x'; 128]).is_ok());
        for bad in [&b""[..], &[b'x'; 129], "é".as_bytes()] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
        assert!(idempotency_key(&HeaderMap::new()).unwrap().is_none());
    }
}
