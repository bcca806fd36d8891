//! Raising a read marker. It never goes back.

use confab_shared::id::MessageId;
use confab_shared::model::command::Outcome;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::Fact;

use super::scope::message_of;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    up_to: Option<MessageId>,
) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    let (at, user) = (scope.at, request.actor());
    let asked = match up_to {
        Some(message) => message_of(scope.messages, message, scope.id)?.row.ordinal,
        None => scope.conversation.message_count,
    };
    if scope.conversation.kind == ConversationKind::Room {
        // Nobody's reading of a room is kept.
        return Ok(Answer::Outcome(Outcome::Read { unread: 0 }));
    }
    let stands = scope
        .conversation
        .member(user)
        .map_or(0, |member| member.read_count);
    let marker = stands.max(asked);
    // Where nothing changes nobody is told: whoever asked has the answer, and the others know.
    if marker > stands {
        let seq = scope.conversation.advance_quietly();
        if let Some(member) = scope.conversation.member_mut(user) {
            member.read_count = marker;
            member.read_seq = seq;
            member.read_message_id = up_to;
            member.read_at = Some(at);
        }
        let fact = Fact::MessagesRead {
            user,
            message: up_to,
            read_count: marker,
        };
        scope.conversation.announce(seq, at, fact);
    }
    Ok(Answer::Outcome(Outcome::Read {
        unread: state.unread(request.conversation(), marker),
    }))
}
