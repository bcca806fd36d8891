//! Giving one's own message another text.

use std::sync::Arc;

use confab_shared::id::MessageId;
use confab_shared::model::command::Outcome;
use confab_shared::model::content::Content;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::Fact;
use confab_shared::model::message::Message;

use super::scope::message_of;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    message: MessageId,
    content: &Content,
) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    let sender = scope.profile(request.actor())?;
    let message = message_of(scope.messages, message, scope.id)?;
    if message.row.deleted_at.is_some() {
        return Err(Rejection::not_found("message"));
    }
    if message.row.sender_id != request.actor() {
        return Err(Rejection::forbidden("only its sender may edit a message"));
    }
    let seq = scope.conversation.advance();
    message.content = Arc::from(content.as_str());
    message.row.edited_at = Some(scope.at);
    message.change = Some((seq, None));
    let row = &message.row;
    let message = Message {
        id: row.id,
        conversation: scope.id,
        seq: row.seq,
        change_seq: seq,
        ordinal: row.ordinal,
        sender,
        message_type: Arc::from(row.message_type.as_str()),
        content: Arc::clone(&message.content),
        reply_to: row.reply_to,
        created_at: row.created_at,
        edited_at: row.edited_at,
        deleted_at: None,
    };
    scope
        .conversation
        .announce(seq, scope.at, Fact::MessageEdited { message });
    Ok(Answer::Outcome(Outcome::Done))
}
