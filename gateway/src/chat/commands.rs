//! What sockets ask the worker for, and what they are told when it has answered.

use std::sync::Arc;

use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::{Content, TempId};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::postgres::conversations;

use super::answer::Answer;
use super::inside::Place;
use super::socket::UserSocket;
use crate::dialect::{Confirmation, Intent};
use crate::limits::{Class, Question, Verdict};
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

impl UserSocket {
    /// What an intent is counted as before anything is done for it. Changes are counted on their way, and what is said before it is
    /// looked where; typing is passed on seldom instead.
    pub(super) fn class_of(&self, intent: &Intent) -> Option<Class> {
        match intent {
            Intent::Enter { .. } | Intent::Exit(_) | Intent::CreateRoom { .. } => {
                Some(Class::room_operations(self.socket.dialect().tier()))
            }
            Intent::History { .. } | Intent::WhoIsOnline | Intent::Appear { .. } => {
                Some(Class::Questions)
            }
            Intent::Create { .. }
            | Intent::Change { .. }
            | Intent::Type { .. }
            | Intent::Say { .. }
            | Intent::SayTo { .. }
            | Intent::LogIn { .. }
            | Intent::LogOut => None,
        }
    }

    /// Sends a command on its way, behind those that were sent before, if its user has not done too much. The answer comes when the
    /// worker has committed it.
    pub(super) fn change(
        &mut self,
        conversation: ConversationId,
        command: Command,
        answer: Answer,
    ) {
        let class = Class::of(&command, self.socket.dialect().tier());
        self.submit(conversation, command, Some(class), answer);
    }

    /// Says something where its place was found.
    pub(super) fn say(&mut self, place: Place, command: Command, answer: Answer) {
        match place {
            Place::Known(conversation) => self.change(conversation, command, answer),
            Place::Found(conversation) => self.submit(conversation, command, None, answer),
        }
    }

    fn submit(
        &mut self,
        conversation: ConversationId,
        command: Command,
        class: Option<Class>,
        mut answer: Answer,
    ) {
        if !answer.count(self.node.config.sockets.max_in_flight) {
            let message = "too many unconfirmed requests on this socket";
            answer.reject(&Rejection::new(ErrorCode::Overloaded, message));
            return;
        }
        let spoken = match command {
            Command::SendMessage { .. } => self.typing.speaks(conversation),
            _ => None,
        };
        answer.asks_for(command.name(), conversation);
        let parent = answer.parent();
        let user = self.user();
        let (id, temp_id) = match &command {
            Command::SendMessage {
                temp_id: Some(temp_id),
                content,
                ..
            } => {
                let id =
                    CommandId::of_retry(conversation, user, temp_id.as_str(), content.as_str());
                (id, Some(temp_id.clone()))
            }
            _ => (CommandId::generate(), None),
        };
        let subject = self.subject.clone();
        let question = class.map(|class| Question { class, subject });
        let node = self.node.clone();
        let submit = move |verdict: Verdict| match verdict {
            Ok(_) => {
                let ingress = node.ingress.clone();
                let parent = parent.as_ref();
                ingress.submit(id, conversation, user, command, parent, move |outcome| {
                    if let (Ok(Outcome::Stored { .. }), Some(spoken)) = (&outcome, &spoken) {
                        spoken.is_heard();
                    }
                    complete(&node, conversation, outcome, temp_id.as_ref(), answer);
                });
            }
            Err(refusal) => answer.reject(&refusal.rejection()),
        };
        self.node.limits.pass(&self.line, question, submit);
    }
}

/// A worker has answered, or nobody has.
fn complete(
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
            tokio::spawn(async move { show_made(&node, conversation, answer).await });
        }
        Err(rejection) => answer.reject(&rejection),
    }
}

/// Confirms that a conversation is there by showing it.
pub(super) async fn show_made(node: &Node, conversation: ConversationId, answer: Answer) {
    let user = answer.socket().user();
    let view = conversations::view(&node.database, conversation, user);
    match node.metrics.postgres.time("view", view).await {
        Ok(Some(mut view)) => {
            node.presence.note_online(&mut view.participants).await;
            answer.confirm(Confirmation::Conversation(&view));
        }
        Ok(None) => answer.reject(&Rejection::not_found("conversation")),
        Err(error) => answer.fail(&error.into()),
    }
}
