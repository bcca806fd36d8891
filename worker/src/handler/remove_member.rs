//! Taking a member out of a group.

use confab_shared::id::UserId;
use confab_shared::model::conversation::MemberRole;
use confab_shared::model::error::Rejection;

use super::state::BatchState;
use super::{Answer, Request, leave};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    user: UserId,
) -> Result<Answer, Rejection> {
    if user == request.actor() {
        return leave::apply(state, request);
    }
    let scope = state.scope(request)?;
    scope.in_group()?;
    let actor = scope.role(request.actor());
    if !actor.is_some_and(MemberRole::moderates) {
        return Err(Rejection::forbidden("only moderators may remove members"));
    }
    let target = scope
        .role(user)
        .ok_or_else(|| Rejection::not_found("member"))?;
    if target == MemberRole::Owner && actor != Some(MemberRole::Owner) {
        return Err(Rejection::forbidden("only an owner may remove an owner"));
    }
    Ok(leave::depart(scope, user, request.actor()))
}
