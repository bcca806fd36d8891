//! Making a conversation.

use std::collections::HashSet;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::AccountRole;
use confab_shared::model::command::Outcome;
use confab_shared::model::content::MAX_PARTICIPANTS;
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::model::event::{Fact, UserNotice};

use super::conversation::{Conversation, Info, joining};
use super::scope::within_bounds;
use super::state::BatchState;
use super::{Answer, Request};

pub(super) fn apply(
    state: &mut BatchState,
    request: &Request<'_>,
    kind: ConversationKind,
    name: Option<&str>,
    participants: &[UserId],
) -> Result<Answer, Rejection> {
    let (id, actor, at) = (request.conversation(), request.actor(), state.at);
    let mut seen = HashSet::from([actor]);
    let others: Vec<UserId> = participants
        .iter()
        .copied()
        .filter(|user| seen.insert(*user))
        .collect();
    if others.len() > MAX_PARTICIPANTS {
        return Err(Rejection::invalid(format!(
            "a conversation is made with at most {MAX_PARTICIPANTS} others"
        )));
    }
    match kind {
        ConversationKind::Direct => {
            let [other] = others[..] else {
                return Err(Rejection::invalid(
                    "a direct conversation has exactly one other participant",
                ));
            };
            if id != ConversationId::direct(actor, other) || name.is_some() {
                return Err(Rejection::invalid(
                    "a direct conversation is identified by its participants alone",
                ));
            }
        }
        ConversationKind::Group => within_bounds(state.bounds, 1, others.len())?,
        ConversationKind::Room => return Err(Rejection::invalid("type must be direct or group")),
    }
    if state.account_role(actor) == Some(AccountRole::Guest) {
        return Err(Rejection::forbidden(
            "guests may take part in public rooms only",
        ));
    }
    state.invitable(actor)?;
    for user in &others {
        state.invitable(*user)?;
    }
    if state.conversations.contains_key(&id) {
        return match kind {
            ConversationKind::Direct => Ok(Answer::Outcome(Outcome::Created { fresh: false })),
            ConversationKind::Group | ConversationKind::Room => Err(Rejection::new(
                ErrorCode::Conflict,
                "the conversation exists already",
            )),
        };
    }

    let info = Info {
        name: name.map(str::to_owned),
        ..Info::default()
    };
    let mut conversation = Conversation::made(kind, info, actor);
    let seq = conversation.advance();
    for user in std::iter::once(actor).chain(others) {
        // Neither of two people owns what they say to each other.
        let owns = user == actor && kind == ConversationKind::Group;
        let role = if owns {
            MemberRole::Owner
        } else {
            MemberRole::Member
        };
        conversation.join(joining(id, user, role, 0, seq, at));
        state.notices.push((
            user,
            UserNotice::Joined {
                conversation: id,
                seq,
            },
        ));
    }
    conversation.announce(seq, at, Fact::ConversationCreated { by: actor });
    state.make(id, conversation);
    Ok(Answer::Outcome(Outcome::Created { fresh: true }))
}
