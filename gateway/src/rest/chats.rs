//! /chats: source 003's routes, in the words of the `conversations` dialect.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::Command;
use confab_shared::postgres::conversations::Listed;
use confab_shared::postgres::messages::{self, MessageView};
use serde::Serialize;

use super::Rest;
use super::conversations;
use super::error::ApiError;
use super::extract::{Caller, JsonBody, QueryFields, Segments, page, path_id};
use super::fields::id;
use super::messages::{change, mark_read};
use super::shape::{PageJson, UnreadJson};
use crate::dialect::conversations::shape::{ConversationJson, MessageJson, Status, as_string};

/// POST /chats/conversations
pub(super) async fn create(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (status, made) = conversations::make(&rest, caller.id(), body).await?;
    Ok((status, Json(conversation(&made))).into_response())
}

/// GET /chats/conversations
pub(super) async fn list(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    QueryFields(query): QueryFields,
) -> Result<Response, ApiError> {
    let page = conversations::page(&rest, caller.id(), "/chats/conversations", query).await?;
    let shown: Vec<ConversationJson<'_>> = page.listed.iter().map(conversation).collect();
    Ok((page.link, Json(shown)).into_response())
}

/// GET /chats/conversations/{id}
pub(super) async fn show(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, ApiError> {
    let found = conversations::find(&rest, path_id("conversation", &id)?, caller.id()).await?;
    Ok(Json(conversation(&found)).into_response())
}

/// GET /chats/conversations/{id}/messages
pub(super) async fn messages(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
    QueryFields(query): QueryFields,
) -> Result<Response, ApiError> {
    let id = path_id("conversation", &id)?;
    let asked = page(query)?;
    let found = messages::page(rest.database(), id, caller.id(), asked).await?;
    Ok(Json(PageJson::new(&found, asked, message)).into_response())
}

/// POST /chats/conversations/{id}/read
pub(super) async fn read(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, ApiError> {
    let unread_count = mark_read(&rest, path_id("conversation", &id)?, caller.id(), None).await?;
    Ok(Json(UnreadJson { unread_count }).into_response())
}

/// POST /chats/conversations/{id}/participants
pub(super) async fn add_participants(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id_text): Segments<String>,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let conversation_id: ConversationId = path_id("conversation", &id_text)?;
    let users = body.texts("userIds", id::<UserId>("userIds"));
    let (users,) = body.finish((users,))?;
    conversations::check_count("userIds", &users)?;
    rest.change(conversation_id, caller.id(), Command::AddMembers { users })
        .await?;
    let changed = conversations::find(&rest, conversation_id, caller.id()).await?;
    Ok(Json(conversation(&changed)).into_response())
}

/// DELETE /chats/conversations/{id}/participants/{user}
pub(super) async fn remove_participant(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments((id, user)): Segments<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let conversation = path_id("conversation", &id)?;
    let user = path_id("participant", &user)?;
    rest.change(conversation, caller.id(), Command::RemoveMember { user })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// POST /chats/conversations/{id}/leave
pub(super) async fn leave(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<StatusCode, ApiError> {
    rest.change(path_id("conversation", &id)?, caller.id(), Command::Leave)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletedJson {
    success: bool,
    #[serde(serialize_with = "as_string")]
    message_id: MessageId,
}

/// DELETE /chats/messages/{id}
pub(super) async fn delete_message(
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
    Ok(Json(DeletedJson {
        success: true,
        message_id: message,
    })
    .into_response())
}

fn message(view: &MessageView) -> MessageJson<'_> {
    MessageJson::new(&view.message, None).with_status(status(view.is_read))
}

fn conversation(listed: &Listed) -> ConversationJson<'_> {
    ConversationJson::new(&listed.view).with_last_status(status(listed.last_message_read))
}

fn status(is_read: bool) -> Status {
    if is_read { Status::Read } else { Status::Sent }
}
