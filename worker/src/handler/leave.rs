//! Leaving a group, and passing it on.

use confab_shared::id::UserId;
use confab_shared::model::command::Outcome;
use confab_shared::model::conversation::MemberRole;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::{Fact, UserNotice};

use super::conversation::Conversation;
use super::scope::Scope;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(state: &mut BatchState, request: &Request<'_>) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    scope.in_group()?;
    Ok(depart(scope, request.actor(), request.actor()))
}

/// Takes a present member out, by its own wish or another's.
pub(super) fn depart(scope: Scope<'_>, user: UserId, by: UserId) -> Answer {
    let Scope {
        at,
        id,
        conversation,
        notices,
        ..
    } = scope;
    let seq = conversation.advance();
    let owned = conversation
        .part(user, by, seq, at)
        .is_some_and(|role| role == MemberRole::Owner);
    if owned
        && let Some(heir) = heir(conversation)
        && let Some(member) = conversation.member_mut(heir)
    {
        member.role = MemberRole::Owner;
        member.change_seq = seq;
    }
    conversation.announce(seq, at, Fact::MemberRemoved { user, by });
    notices.push((
        user,
        UserNotice::Removed {
            conversation: id,
            seq,
            by,
            at,
        },
    ));
    Answer::Outcome(Outcome::Done)
}

/// Who becomes the owner when there is none: the longest-standing admin, else member. Nobody while there is an owner.
fn heir(conversation: &Conversation) -> Option<UserId> {
    let present = || {
        conversation
            .members
            .values()
            .filter(|member| member.present())
            .map(|member| &member.row)
    };
    if present().any(|row| row.role == MemberRole::Owner) {
        return None;
    }
    present()
        .min_by_key(|row| (row.role != MemberRole::Admin, row.joined_seq, row.user_id))
        .map(|row| row.user_id)
}
