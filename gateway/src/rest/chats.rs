//! /chats: source 003's routes, in the words of the `conversations` dialect.

use std::sync::Arc;

use axum::extract::State;
use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::command::Command;
use confab_shared::model::content::MAX_PARTICIPANTS;
use confab_shared::postgres::conversations::Listed;
use confab_shared::postgres::messages::{self, MessageView};
use serde::Serialize;
use utoipa::ToSchema;

use super::Rest;
use super::answer::{Inlined, Listing, Made, NoContent, Shape, Shown, shapes};
use super::conversations::{self, NewConversation};
use super::error::ApiError;
use super::extract::{Caller, JsonBody, QueryFields, Segments};
use super::form::{Several, form};
use super::messages::{change, mark_read};
use super::page::{HistoryQuery, ListQuery};
use super::rule;
use super::shape::{PageJson, UnreadJson};
use crate::dialect::conversations::shape::{ConversationJson, MessageJson, as_string};
use crate::limits::Class;

shapes!(ConversationJson, MessageJson);

form! {
    /// People who are to take part.
    NewParticipants {
        /// Who. Those who take part already stay as they are.
        "userIds" users: Vec<UserId> = Several(rule::USER_ID, 1..=MAX_PARTICIPANTS),
    }
}

/// What became of a message that was to be deleted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChatMessageDeleted)]
pub(super) struct DeletedJson {
    success: bool,
    #[serde(serialize_with = "as_string")]
    #[schema(value_type = String, example = "1")]
    message_id: MessageId,
}

impl Shape for DeletedJson {
    type Named = Self;
}

/// POST /chats/conversations
pub(super) async fn create(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(form): JsonBody<NewConversation>,
) -> Result<Made<ConversationJson<'static>>, ApiError> {
    let (is_new, made) = conversations::make(&rest, &caller, form).await?;
    Ok(Made::of(is_new, &conversation(&made)))
}

/// GET /chats/conversations
pub(super) async fn list(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    QueryFields(query): QueryFields<ListQuery>,
) -> Result<Listing<ConversationJson<'static>>, ApiError> {
    let route = "/chats/conversations";
    let (listed, next) = conversations::page(&rest, caller.id(), route, query).await?;
    let shown: Vec<ConversationJson<'_>> = listed.iter().map(conversation).collect();
    Ok(Listing::of(&shown, next))
}

/// GET /chats/conversations/{id}
pub(super) async fn show(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<ConversationId>,
) -> Result<Shown<ConversationJson<'static>>, ApiError> {
    let found = conversations::find(&rest, id, caller.id()).await?;
    Ok(Shown::of(&conversation(&found)))
}

/// GET /chats/conversations/{id}/messages
pub(super) async fn messages(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<ConversationId>,
    QueryFields(query): QueryFields<HistoryQuery>,
) -> Result<Inlined<PageJson<MessageJson<'static>>>, ApiError> {
    let asked = query.page();
    let found = messages::page(rest.database(), id, caller.id(), asked).await?;
    Ok(Inlined::of(&PageJson::new(&found, asked, message)))
}

/// POST /chats/conversations/{id}/read
pub(super) async fn read(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<ConversationId>,
) -> Result<Shown<UnreadJson>, ApiError> {
    let unread_count = mark_read(&rest, id, caller.id(), None).await?;
    Ok(Shown::of(&UnreadJson { unread_count }))
}

/// POST /chats/conversations/{id}/participants
pub(super) async fn add_participants(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<ConversationId>,
    JsonBody(NewParticipants { users }): JsonBody<NewParticipants>,
) -> Result<Shown<ConversationJson<'static>>, ApiError> {
    caller.count(&rest, Class::RoomOperations).await?;
    rest.change(id, caller.id(), Command::AddMembers { users })
        .await?;
    let changed = conversations::find(&rest, id, caller.id()).await?;
    Ok(Shown::of(&conversation(&changed)))
}

/// DELETE /chats/conversations/{id}/participants/{user}
pub(super) async fn remove_participant(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments((id, user)): Segments<(ConversationId, UserId)>,
) -> Result<NoContent, ApiError> {
    caller.count(&rest, Class::RoomOperations).await?;
    rest.change(id, caller.id(), Command::RemoveMember { user })
        .await?;
    Ok(NoContent)
}

/// POST /chats/conversations/{id}/leave
pub(super) async fn leave(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<ConversationId>,
) -> Result<NoContent, ApiError> {
    caller.count(&rest, Class::RoomOperations).await?;
    rest.change(id, caller.id(), Command::Leave).await?;
    Ok(NoContent)
}

/// DELETE /chats/messages/{id}
pub(super) async fn delete_message(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(message): Segments<MessageId>,
) -> Result<Shown<DeletedJson>, ApiError> {
    let command = Command::DeleteMessage { message };
    change(&rest, message, &caller, command).await?;
    Ok(Shown::of(&DeletedJson {
        success: true,
        message_id: message,
    }))
}

fn message(view: &MessageView) -> MessageJson<'_> {
    MessageJson::new(&view.message, None).with_status(view.status().into())
}

fn conversation(listed: &Listed) -> ConversationJson<'_> {
    ConversationJson::new(&listed.view).with_last_status(listed.last_status.into())
}
