//! Making a room.

use confab_shared::model::command::Outcome;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::Fact;

use super::conversation::{Conversation, Info};
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    name: &str,
    description: Option<&str>,
    max_users: Option<i32>,
) -> Result<Answer, Rejection> {
    let (id, actor, at) = (request.conversation(), request.actor(), state.at);
    if state.account_role(actor).is_none() {
        return Err(Rejection::not_found("user"));
    }
    match state.conversations.get(&id).map(|found| found.kind) {
        // Two gateways may ask for the room of one slug: the id stands beside the slug, so it is the same room.
        Some(ConversationKind::Room) => {
            return Ok(Answer::Outcome(Outcome::Created { fresh: false }));
        }
        Some(ConversationKind::Direct | ConversationKind::Group) => {
            return Err(Rejection::new(
                ErrorCode::Conflict,
                "the conversation exists already",
            ));
        }
        None => {}
    }
    let info = Info {
        name: Some(name.to_owned()),
        description: description.map(str::to_owned),
        max_users,
    };
    let mut room = Conversation::made(ConversationKind::Room, info, actor);
    let seq = room.advance();
    // Nobody is a member, so there is nobody to be told but those who will have joined.
    room.announce(seq, at, Fact::ConversationCreated { by: actor });
    state.make(id, room);
    Ok(Answer::Outcome(Outcome::Created { fresh: true }))
}
