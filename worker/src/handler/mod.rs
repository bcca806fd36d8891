//! Deciding a batch: commands in, changes and announcements out.
//!
//! Owns every rule about who may do what. Pure: it sees rows that were loaded for it and returns rows to store; it must never know
//! Redis, SQL, partitions or the clock. A command sees the effects of those before it in the same batch.
//!
//! A command that took effect is remembered and answered alike when it comes again. A refusal is not: a refused command that is
//! redelivered (its worker died before it acknowledged the batch) is decided anew, by what holds then.

mod add_members;
mod conversation;
mod create_conversation;
mod create_room;
mod delete_message;
mod delete_room;
mod draft;
mod edit_message;
mod leave;
mod mark_read;
mod remove_member;
mod scope;
mod send_message;
mod state;
#[cfg(test)]
mod tests;
mod update_room;
mod wanted;

use confab_shared::id::{CommandId, ConversationId, MessageId, UserId};
use confab_shared::model::command::{Command, CommandEnvelope, Outcome};
use confab_shared::model::error::Rejection;
use confab_shared::model::event::{RoomBatch, UserNotice};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::batch::{Changes, Found, FoundDetails};

use draft::RoomDraft;
use state::BatchState;
pub use wanted::{details, wanted};

/// How large things may become.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most members of a group.
    pub max_members: i64,
}

/// A command and whether it has been handed out before.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The command.
    pub envelope: &'a CommandEnvelope,
    /// It may have taken effect without having been announced.
    pub redelivered: bool,
}

impl Request<'_> {
    fn id(&self) -> CommandId {
        self.envelope.id
    }

    fn conversation(&self) -> ConversationId {
        self.envelope.conversation
    }

    fn actor(&self) -> UserId {
        self.envelope.actor
    }
}

/// What a command did, where a new message's number is known only after the commit.
#[derive(Debug, Clone)]
enum Answer {
    /// Stored as the batch's n-th new message.
    Sent(usize),
    /// Known already.
    Outcome(Outcome),
}

/// A decided batch: to be stored, then announced.
#[derive(Debug)]
pub struct Decided {
    /// What to store.
    pub changes: Changes,
    answers: Vec<Result<Answer, Rejection>>,
    rooms: Vec<RoomDraft>,
    notices: Vec<(UserId, UserNotice)>,
}

/// What to say about a stored batch.
#[derive(Debug)]
pub struct Announcements {
    /// To the rooms, each once.
    pub rooms: Vec<RoomBatch>,
    /// To users, wherever they are.
    pub notices: Vec<(UserId, UserNotice)>,
    /// To whoever sent the commands, in their order.
    pub outcomes: Vec<Result<Outcome, Rejection>>,
}

impl Decided {
    /// What to say, given the numbers of the new messages in their order.
    pub fn announce(self, ids: &[MessageId]) -> Announcements {
        let Self {
            changes,
            answers,
            rooms,
            notices,
        } = self;
        let outcomes = answers
            .into_iter()
            .map(|answer| {
                Ok(match answer? {
                    Answer::Outcome(outcome) => outcome,
                    Answer::Sent(index) => {
                        let seq = changes.sent[index].seq;
                        Outcome::Stored {
                            message: ids[index],
                            seq,
                            at: changes.at,
                        }
                    }
                })
            })
            .collect();
        let rooms = rooms
            .into_iter()
            .map(|room| room.finish(&changes, ids))
            .collect();
        Announcements {
            rooms,
            notices,
            outcomes,
        }
    }
}

/// Decides a batch, command by command, in order.
pub fn decide(
    at: Timestamp,
    bounds: Bounds,
    requests: &[Request<'_>],
    found: Found,
    details: FoundDetails,
) -> Decided {
    let mut state = BatchState::new(at, bounds, requests.len(), found, details);
    let answers = requests
        .iter()
        .map(|request| decide_one(&mut state, request))
        .collect();
    let (changes, rooms, notices) = state.finish();
    Decided {
        changes,
        answers,
        rooms,
        notices,
    }
}

fn decide_one(state: &mut BatchState, request: &Request<'_>) -> Result<Answer, Rejection> {
    if request.redelivered {
        state.catch_up(request.conversation());
    }
    if let Some(answer) = state.first_run(request) {
        state.catch_up(request.conversation());
        state.notify_again(request);
        return Ok(answer);
    }
    if state.ended(request.conversation()) {
        return Err(Rejection::not_found("room"));
    }
    let answer = apply(state, request)?;
    state.remember(request, &answer);
    Ok(answer)
}

/// The one place where commands meet their handlers.
fn apply(state: &mut BatchState, request: &Request<'_>) -> Result<Answer, Rejection> {
    match &request.envelope.command {
        Command::CreateConversation {
            kind,
            name,
            participants,
        } => create_conversation::apply(state, request, *kind, name.as_deref(), participants),
        Command::SendMessage {
            content,
            message_type,
            reply_to,
            temp_id,
        } => send_message::apply(
            state,
            request,
            content,
            message_type,
            *reply_to,
            temp_id.as_ref(),
        ),
        Command::EditMessage { message, content } => {
            edit_message::apply(state, request, *message, content)
        }
        Command::DeleteMessage { message } => delete_message::apply(state, request, *message),
        Command::MarkRead { up_to } => mark_read::apply(state, request, *up_to),
        Command::AddMembers { users } => add_members::apply(state, request, users),
        Command::RemoveMember { user } => remove_member::apply(state, request, *user),
        // The gateway took the slug before it asked.
        Command::CreateRoom {
            slug: _,
            name,
            description,
            max_users,
        } => create_room::apply(state, request, name, description.as_deref(), *max_users),
        Command::UpdateRoom {
            name,
            description,
            max_users,
        } => update_room::apply(
            state,
            request,
            name.as_ref(),
            description.as_ref(),
            max_users.as_ref(),
        ),
        Command::DeleteRoom => delete_room::apply(state, request),
        Command::Leave => leave::apply(state, request),
    }
}
