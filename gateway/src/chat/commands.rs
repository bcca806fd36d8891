//! What sockets ask the worker for, and what they are told when it has answered.

use std::sync::Arc;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use confab_shared::postgres::conversations;

use super::answer::Answer;
use crate::dialect::Confirmation;
use crate::node::Node;

/// The command that says something.
pub(super) fn message(content: Content, temp_id: Option<TempId>) -> Command {
    Command::SendMessage {
        content,
        message_type: "text".to_owned(),
        reply_to: None,
        temp_id,
    }
}

/// The command that makes a conversation, and where.
pub(super) fn creation(
    creator: UserId,
    kind: ConversationKind,
    name: Option<String>,
    mut participants: Vec<UserId>,
) -> Result<(ConversationId, Command), Rejection> {
    participants.retain(|participant| *participant != creator);
    let conversation = match (kind, participants.as_slice()) {
        (ConversationKind::Direct, [other]) => ConversationId::direct(creator, *other),
        (ConversationKind::Direct, _) => {
            return Err(Rejection::invalid(
                "a direct conversation has exactly one other participant",
            ));
        }
        (ConversationKind::Group | ConversationKind::Room, _) => ConversationId::generate(),
    };
    Ok((
        conversation,
        Command::CreateConversation {
            kind,
            name,
            participants,
        },
    ))
}

/// A worker has answered, or nobody has.
pub(super) fn complete(
    node: &Arc<Node>,
    conversation: ConversationId,
    outcome: Result<Outcome, Rejection>,
    temp_id: Option<&TempId>,
    answer: Answer,
) {
    match outcome {
        Ok(Outcome::Stored { message, at, .. }) => {
            answer.confirm(Confirmation::Stored {
                conversation,
                message,
                temp_id,
                at,
            });
        }
        Ok(Outcome::Done | Outcome::Read { .. }) => answer.confirm(Confirmation::Done),
        Ok(Outcome::Created { .. }) => {
            // The dialect shows the whole conversation: read it back, off this call, which must not wait.
            let node = node.clone();
            tokio::spawn(async move { show_made(&node, conversation, &answer).await });
        }
        Err(rejection) => answer.reject(&rejection),
    }
}

/// Confirms that a conversation is there by showing it.
pub(super) async fn show_made(node: &Node, conversation: ConversationId, answer: &Answer) {
    let user = answer.socket().user();
    match conversations::view(&node.database, conversation, user).await {
        Ok(Some(mut view)) => {
            node.presence.note_online(&mut view.participants).await;
            answer.confirm(Confirmation::Conversation(&view));
        }
        Ok(None) => answer.reject(&Rejection::not_found("conversation")),
        Err(error) => answer.fail(&error.into()),
    }
}
