//! Making a message a tombstone.

use std::sync::Arc;

use confab_shared::id::MessageId;
use confab_shared::model::command::Outcome;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::Fact;

use super::scope::message_of;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    id: MessageId,
) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    let moderates = scope.moderates(request.actor());
    let message = message_of(scope.messages, id, scope.id)?;
    if message.row.sender_id != request.actor() && !moderates {
        return Err(Rejection::forbidden(
            "only its sender or a moderator may delete a message",
        ));
    }
    if message.row.deleted_at.is_none() {
        let seq = scope.conversation.advance();
        message.content = Arc::from("");
        message.row.deleted_at = Some(scope.at);
        message.change = Some((seq, Some(request.actor())));
        scope.conversation.deleted.push(message.row.ordinal);
        let fact = Fact::MessageDeleted {
            message: id,
            by: request.actor(),
        };
        scope.conversation.announce(seq, scope.at, fact);
    }
    Ok(Answer::Outcome(Outcome::Done))
}
