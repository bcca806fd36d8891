//! Giving a room another name, description or size.

use std::sync::Arc;

use confab_shared::model::command::Outcome;
use confab_shared::model::error::Rejection;
use confab_shared::model::event::Fact;

use super::conversation::Info;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    name: Option<&String>,
    description: Option<&Option<String>>,
    max_users: Option<&Option<i32>>,
) -> Result<Answer, Rejection> {
    let scope = state.scope(request)?;
    let (at, by) = (scope.at, request.actor());
    scope.in_own_room(by, "change")?;
    let before = scope
        .conversation
        .info()
        .ok_or_else(|| Rejection::not_found("room"))?;
    let info = Info {
        name: name.or(before.name.as_ref()).cloned(),
        description: description.unwrap_or(&before.description).clone(),
        max_users: *max_users.unwrap_or(&before.max_users),
    };
    if info != *before {
        let fact = Fact::RoomUpdated {
            by,
            name: Arc::from(info.name.as_deref().unwrap_or_default()),
            description: info.description.as_deref().map(Arc::from),
            max_users: info.max_users,
        };
        let seq = scope.conversation.inform(info, by);
        scope.conversation.announce(seq, at, fact);
    }
    Ok(Answer::Outcome(Outcome::Done))
}
