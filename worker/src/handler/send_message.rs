//! Storing a message.

use std::sync::Arc;

use confab_shared::id::MessageId;
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::error::Rejection;
use confab_shared::postgres::batch::NewMessage;

use super::scope::message_of;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    content: &Content,
    message_type: &str,
    reply_to: Option<MessageId>,
    temp_id: Option<&TempId>,
) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    let sender = scope.profile(request.actor())?;
    if let Some(answered) = reply_to {
        message_of(scope.messages, answered, scope.id)?;
    }
    let seq = scope.conversation.advance();
    scope.conversation.message_count += 1;
    let ordinal = scope.conversation.message_count;
    if let Some(member) = scope.conversation.member_mut(request.actor()) {
        // Who speaks has read what was said. This needs no place of its own in the order: the message tells it.
        member.read_count = ordinal;
    }
    let index = scope.sent.len();
    scope.sent.push(NewMessage {
        conversation: scope.id,
        seq,
        ordinal,
        sender: request.actor(),
        message_type: Arc::from(message_type),
        content: Arc::from(content.as_str()),
        command: request.id(),
        reply_to,
    });
    scope
        .conversation
        .announce_sent(index, sender, temp_id.map(|id| Arc::from(id.as_str())));
    Ok(Answer::Sent(index))
}
