//! Ending a room. Its messages stay, for nobody; its slug is the gateway's to give free.

use confab_shared::id::UserId;
use confab_shared::model::command::Outcome;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;

use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(state: &mut BatchState, request: &Request<'_>) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    let (at, by) = (scope.at, request.actor());
    scope.in_own_room(by, "end")?;
    if scope.conversation.created_by == UserId::SYSTEM {
        return Err(Rejection::new(
            ErrorCode::Conflict,
            "this room always exists",
        ));
    }
    let seq = scope.conversation.end(by);
    scope
        .conversation
        .announce(seq, at, Fact::RoomDeleted { by });
    Ok(Answer::Outcome(Outcome::Done))
}
