//! /messages: sending, reading back, changing and marking as read, in source 001's words; and what /chats shares with it.

use std::sync::Arc;

use axum::extract::State;
use confab_shared::id::{CommandId, ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::Content;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::postgres::conversations;
use confab_shared::postgres::messages::{self, MessageView};

use super::Rest;
use super::answer::{Created, Inlined, Shown};
use super::error::ApiError;
use super::extract::{Caller, IdempotencyKey, JsonBody, QueryFields, Segments};
use super::form::{Optional, OptionalSeveral, Required, form};
use super::page::HistoryQuery;
use super::rule;
use super::shape::{MessageJson, PageJson, UnreadJson};
use crate::limits::Class;

/// The most messages one request may name.
const MAX_NAMED: usize = 1_000;

form! {
    /// A message to be.
    NewMessage {
        /// Where it is said.
        "conversationId" conversation: ConversationId = Required(rule::CONVERSATION_ID),
        /// What is said.
        "content" content: Content = Required(rule::CONTENT),
        /// What kind of message it is; `text` if it is not said.
        "messageType" message_type: Option<String> = Optional(rule::MESSAGE_TYPE),
        /// The message that it answers.
        "replyTo" reply_to: Option<MessageId> = Optional(rule::MESSAGE_ID),
    }
}

form! {
    /// What a message says from now on.
    MessageUpdate {
        /// What is said.
        "content" content: Content = Required(rule::CONTENT),
    }
}

form! {
    /// What has been read. Reading one message covers all before it.
    ReadReceipt {
        /// Where.
        "conversationId" conversation: ConversationId = Required(rule::CONVERSATION_ID),
        /// Which messages; all of them if it is not said.
        "messageIds" messages: Option<Vec<MessageId>> = OptionalSeveral(rule::MESSAGE_ID, 0..=MAX_NAMED),
    }
}

/// POST /messages
pub(super) async fn send(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    IdempotencyKey(temp_id): IdempotencyKey,
    JsonBody(form): JsonBody<NewMessage>,
) -> Result<Created<MessageJson<'static>>, ApiError> {
    caller.count(&rest, Class::Messages).await?;
    let (conversation, content) = (form.conversation, form.content);
    let command_id = match &temp_id {
        Some(key) => CommandId::of_retry(conversation, caller.id(), key.as_str(), content.as_str()),
        None => CommandId::generate(),
    };
    let command = Command::SendMessage {
        content,
        message_type: form.message_type.unwrap_or_else(|| "text".to_owned()),
        reply_to: form.reply_to,
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
            Ok(Created::of(&MessageJson::from(&stored)))
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
    Segments(conversation): Segments<ConversationId>,
    QueryFields(query): QueryFields<HistoryQuery>,
) -> Result<Inlined<PageJson<MessageJson<'static>>>, ApiError> {
    let asked = query.page();
    let found = messages::page(rest.database(), conversation, caller.id(), asked).await?;
    Ok(Inlined::of(&PageJson::new(
        &found,
        asked,
        MessageJson::from,
    )))
}

/// PUT /messages/{id}
pub(super) async fn edit(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(message): Segments<MessageId>,
    JsonBody(MessageUpdate { content }): JsonBody<MessageUpdate>,
) -> Result<Shown<MessageJson<'static>>, ApiError> {
    let command = Command::EditMessage { message, content };
    change(&rest, message, &caller, command).await?;
    let edited = read_back(&rest, message, caller.id()).await?;
    Ok(Shown::of(&MessageJson::from(&edited)))
}

/// DELETE /messages/{id}
pub(super) async fn delete(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(message): Segments<MessageId>,
) -> Result<Shown<MessageJson<'static>>, ApiError> {
    let command = Command::DeleteMessage { message };
    change(&rest, message, &caller, command).await?;
    let tombstone = read_back(&rest, message, caller.id()).await?;
    Ok(Shown::of(&MessageJson::from(&tombstone)))
}

/// PUT /messages/mark-as-read
pub(super) async fn mark_as_read(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(form): JsonBody<ReadReceipt>,
) -> Result<Shown<UnreadJson>, ApiError> {
    let conversation = form.conversation;
    let unread_count = match form.messages.map(|named| named.into_iter().max()) {
        None => mark_read(&rest, conversation, caller.id(), None).await?,
        // Numbers grow with the order of a conversation, and reading one covers all before it.
        Some(Some(newest)) => mark_read(&rest, conversation, caller.id(), Some(newest)).await?,
        Some(None) => conversations::unread(rest.database(), conversation, caller.id())
            .await?
            .ok_or_else(|| ApiError::not_found("conversation"))?,
    };
    Ok(Shown::of(&UnreadJson { unread_count }))
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
    caller: &Caller,
    command: Command,
) -> Result<(), ApiError> {
    caller.count(rest, Class::Messages).await?;
    let conversation = conversations::of_message(rest.database(), message).await?;
    let conversation = conversation.ok_or_else(|| ApiError::not_found("message"))?;
    match rest.change(conversation, caller.id(), command).await {
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
