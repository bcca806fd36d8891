//! One socket's side of the chat: its events become commands, joins and refusals.

use std::collections::HashSet;
use std::sync::Arc;

use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::TempId;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::postgres::conversations;

use crate::dialect::{self, Confirmation, Dialect, Intent, Namespace};
use crate::hub::JoinOutcome;
use crate::hub::socket::SocketRef;
use crate::node::Node;
use crate::transport::application::{Incoming, Link};

/// How often a membership is read again because memberships changed meanwhile.
const JOIN_ATTEMPTS: usize = 8;

/// A socket, before and after it is known who it is.
#[derive(Debug)]
pub enum ChatSocket {
    /// It gave no token. It may do nothing, and not for long.
    Anonymous {
        /// The namespace it joined.
        namespace: Namespace,
        /// The dialect in which it is refused.
        dialect: &'static dyn Dialect,
        /// The way to its client.
        link: Link,
    },
    /// It is a user's.
    Authenticated(UserSocket),
}

impl ChatSocket {
    /// A socket without a token.
    pub fn anonymous(namespace: Namespace, dialect: &'static dyn Dialect, link: Link) -> Self {
        Self::Anonymous {
            namespace,
            dialect,
            link,
        }
    }

    /// A user's socket.
    pub fn authenticated(socket: SocketRef, max_rooms: usize) -> Self {
        Self::Authenticated(UserSocket {
            socket,
            rooms: HashSet::new(),
            max_rooms,
        })
    }
}

/// A user's socket and the rooms it listens to.
#[derive(Debug)]
pub struct UserSocket {
    socket: SocketRef,
    rooms: HashSet<ConversationId>,
    max_rooms: usize,
}

/// What is needed to answer an event later.
struct Answer {
    socket: SocketRef,
    ack_id: Option<u64>,
    event: Box<str>,
}

impl Answer {
    fn confirm(&self, confirmation: Confirmation<'_>) {
        let frames =
            self.socket
                .dialect()
                .confirmed(self.socket.namespace(), self.ack_id, confirmation);
        if !frames.is_empty() {
            self.socket.push(frames);
        }
    }

    fn reject(&self, rejection: &Rejection) {
        let frames = self.socket.dialect().rejected(
            self.socket.namespace(),
            self.ack_id,
            &self.event,
            rejection,
        );
        self.socket.push(frames);
    }
}

impl UserSocket {
    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.socket.user()
    }

    /// An event came.
    pub async fn event(&mut self, node: &Arc<Node>, event: Incoming<'_>) {
        let dialect = match dialect::speaking(event.name, self.socket.dialect()) {
            spoken @ Some(_) => self.socket.settle_dialect(spoken),
            None => self.socket.dialect(),
        };
        let answer = Answer {
            socket: self.socket.clone(),
            ack_id: event.ack_id,
            event: event.name.into(),
        };
        match dialect.inbound(event.name, event.args) {
            Err(rejection) => answer.reject(&rejection),
            Ok(Intent::JoinRoom(conversation)) => match self.join(node, conversation).await {
                Ok(()) => answer.confirm(Confirmation::Done),
                Err(error) => answer.reject(&refusal(&error)),
            },
            Ok(Intent::LeaveRoom(conversation)) => match self.leave(node, conversation).await {
                Ok(()) => answer.confirm(Confirmation::Done),
                Err(error) => answer.reject(&refusal(&error)),
            },
            Ok(Intent::Change {
                conversation,
                command,
            }) => self.change(node, conversation, command, answer),
            Ok(Intent::Create {
                kind,
                name,
                participants,
            }) => match creation(self.user(), kind, name, participants) {
                Ok((conversation, command)) => self.change(node, conversation, command, answer),
                Err(rejection) => answer.reject(&rejection),
            },
        }
    }

    /// Sends a command on its way. The answer comes when the worker has committed it.
    fn change(
        &self,
        node: &Arc<Node>,
        conversation: ConversationId,
        command: Command,
        answer: Answer,
    ) {
        if !self.socket.begin_request(node.config.sockets.max_in_flight) {
            answer.reject(&Rejection::new(
                ErrorCode::Overloaded,
                "too many unconfirmed requests on this socket",
            ));
            return;
        }
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
        let later = node.clone();
        node.ingress
            .submit(id, conversation, user, command, move |outcome| {
                answer.socket.end_request();
                complete(&later, conversation, outcome, temp_id.as_ref(), answer);
            });
    }

    /// Listens to a room of which the user is a member.
    async fn join(
        &mut self,
        node: &Node,
        conversation: ConversationId,
    ) -> Result<(), RequestError> {
        if self.rooms.contains(&conversation) && self.is_member(node, conversation).await? {
            // It may have been put out of the room meanwhile, and have become a member again: joining again does no harm.
            self.rooms.remove(&conversation);
        }
        if self.rooms.len() >= self.max_rooms {
            return Err(Rejection::new(
                ErrorCode::Conflict,
                "this socket has joined too many rooms",
            )
            .into());
        }
        for _ in 0..JOIN_ATTEMPTS {
            let membership =
                conversations::membership(&node.database, conversation, self.user()).await?;
            let Some((_, as_of)) = membership else {
                return Err(Rejection::not_found("conversation").into());
            };
            // Before the hub knows: whatever becomes of this task, the socket will leave what it may have joined.
            self.rooms.insert(conversation);
            match node
                .hub
                .join(self.socket.clone(), conversation, as_of)
                .await
            {
                Ok(JoinOutcome::Joined) => return Ok(()),
                Ok(JoinOutcome::Recheck) => {}
                Err(_) => break,
            }
        }
        Err(Rejection::new(
            ErrorCode::Overloaded,
            "the room could not be joined; retry later",
        )
        .into())
    }

    /// Listens to a room no more. Of a room it does not listen to, only members may know that it exists.
    async fn leave(
        &mut self,
        node: &Node,
        conversation: ConversationId,
    ) -> Result<(), RequestError> {
        if self.rooms.remove(&conversation) {
            node.hub.leave(self.socket.key(), conversation).await;
        } else if !self.is_member(node, conversation).await? {
            return Err(Rejection::not_found("conversation").into());
        }
        Ok(())
    }

    async fn is_member(
        &self,
        node: &Node,
        conversation: ConversationId,
    ) -> Result<bool, RequestError> {
        Ok(
            conversations::membership(&node.database, conversation, self.user())
                .await?
                .is_some(),
        )
    }

    /// The socket is gone.
    pub async fn leave_all(self, node: &Node) {
        if node.hub.users().remove(&self.socket) {
            node.backplane.forget(self.socket.user());
        }
        for conversation in self.rooms {
            node.hub.leave(self.socket.key(), conversation).await;
        }
    }
}

/// The command that makes a conversation, and where.
fn creation(
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
            tokio::spawn(async move {
                match conversations::view(&node.database, conversation, answer.socket.user()).await
                {
                    Ok(Some(view)) => answer.confirm(Confirmation::Conversation(&view)),
                    Ok(None) => answer.reject(&Rejection::not_found("conversation")),
                    Err(error) => answer.reject(&refusal(&error.into())),
                }
            });
        }
        Err(rejection) => answer.reject(&rejection),
    }
}

/// What the client is told; a fault that is ours is logged, once, here.
fn refusal(error: &RequestError) -> Rejection {
    if !matches!(error, RequestError::Rejected(_)) {
        tracing::warn!(%error, "a socket's request failed");
    }
    error.rejection()
}
