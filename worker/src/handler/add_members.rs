//! Adding members to a group.

use std::collections::HashSet;

use confab_shared::id::UserId;
use confab_shared::model::account::Profile;
use confab_shared::model::command::Outcome;
use confab_shared::model::content::MAX_PARTICIPANTS;
use confab_shared::model::conversation::{MemberRole, Participant};
use confab_shared::model::error::Rejection;
use confab_shared::model::event::{Fact, UserNotice};

use super::conversation::joining;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    users: &[UserId],
) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    scope.in_group()?;
    if !scope
        .role(request.actor())
        .is_some_and(MemberRole::moderates)
    {
        return Err(Rejection::forbidden("only moderators may add members"));
    }
    if users.len() > MAX_PARTICIPANTS {
        return Err(Rejection::invalid(format!(
            "at most {MAX_PARTICIPANTS} members are added at once"
        )));
    }
    let mut seen = HashSet::new();
    let mut profiles: Vec<Profile> = Vec::new();
    for user in users {
        let profile = scope.invitable(*user)?;
        if scope.conversation.member(*user).is_none() && seen.insert(*user) {
            profiles.push(Profile::clone(profile));
        }
    }
    if profiles.is_empty() {
        return Ok(Answer::Outcome(Outcome::Done));
    }
    scope.has_room_for(profiles.len())?;
    let seq = scope.conversation.advance();
    let read_count = scope.conversation.message_count;
    let role = MemberRole::Member;
    for Profile { id: user, .. } in &profiles {
        scope
            .conversation
            .join(joining(scope.id, *user, role, read_count, seq, scope.at));
        scope.notices.push((
            *user,
            UserNotice::Joined {
                conversation: scope.id,
                seq,
            },
        ));
    }
    let members = profiles
        .into_iter()
        .map(|profile| Participant::new(profile, role))
        .collect();
    scope
        .conversation
        .announce(seq, scope.at, Fact::MembersAdded { members });
    Ok(Answer::Outcome(Outcome::Done))
}
