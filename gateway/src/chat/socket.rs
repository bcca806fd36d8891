//! One socket's side of the chat: its events become commands, joins and refusals.

use std::sync::Arc;

use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::TempId;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::postgres::conversations;

use super::arrival::take_out;
use super::recover::{CatchUp, held_frames};
use crate::dialect::{self, Confirmation, Dialect, Intent};
use crate::hub::JoinOutcome;
use crate::hub::socket::SocketRef;
use crate::node::Node;
use crate::recovery::Kept;
use crate::transport::application::Incoming;

/// How often a membership is read again because memberships changed meanwhile.
const JOIN_ATTEMPTS: usize = 8;

/// A user's socket and the rooms it listens to. However it ends, dropping it takes it out of everything.
pub struct UserSocket {
    node: Arc<Node>,
    socket: SocketRef,
    kept: Arc<Kept>,
    /// What its client is to be sent first, if it has come back.
    catch_up: Option<Box<CatchUp>>,
    left_on_purpose: bool,
}

impl std::fmt::Debug for UserSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserSocket")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// What is needed to answer an event later.
struct Answer {
    socket: SocketRef,
    ack_id: Option<u64>,
    event: Box<str>,
    /// Whether it counts among the socket's requests that wait.
    counted: bool,
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
        let (dialect, namespace) = (self.socket.dialect(), self.socket.namespace());
        self.socket
            .push(dialect.rejected(namespace, self.ack_id, &self.event, rejection));
    }

    /// Confirms or refuses what was done at once.
    fn done(&self, result: Result<(), RequestError>) {
        match result {
            Ok(()) => self.confirm(Confirmation::Done),
            Err(error) => self.reject(&refusal(&error)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.counted {
            self.socket.end_request();
        }
    }
}

impl UserSocket {
    /// A socket, which counts as connected already; with what it missed, if its client has come back.
    pub(super) fn new(
        node: Arc<Node>,
        socket: SocketRef,
        kept: Arc<Kept>,
        catch_up: Option<CatchUp>,
    ) -> Self {
        Self {
            node,
            socket,
            kept,
            catch_up: catch_up.map(Box::new),
            left_on_purpose: false,
        }
    }

    /// The client knows that it is connected: what came meanwhile goes out.
    pub(super) fn begin(&mut self) {
        let (socket, catch_up) = (&self.socket, self.catch_up.take());
        socket.release(|held| match catch_up {
            Some(catch_up) => catch_up.frames(socket, held),
            None => held_frames(socket, held),
        });
        self.kept.begin();
    }

    /// The client left by itself: it will not come back for what it misses.
    pub(super) fn leave_on_purpose(&mut self) {
        self.left_on_purpose = true;
    }

    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.socket.user()
    }

    /// An event came.
    pub(super) async fn event(&mut self, event: Incoming<'_>) {
        let dialect = self.dialect_of(event.name).await;
        let answer = Answer {
            socket: self.socket.clone(),
            ack_id: event.ack_id,
            event: event.name.into(),
            counted: false,
        };
        match dialect.inbound(event.name, event.args) {
            Err(rejection) => answer.reject(&rejection),
            Ok(Intent::JoinRoom(conversation)) => answer.done(self.in_time(conversation).await),
            Ok(Intent::LeaveRoom(conversation)) => answer.done(self.leave(conversation).await),
            Ok(Intent::Change {
                conversation,
                command,
            }) => {
                self.change(conversation, command, answer);
            }
            Ok(Intent::Create {
                kind,
                name,
                participants,
            }) => match creation(self.user(), kind, name, participants) {
                Ok((conversation, command)) => self.change(conversation, command, answer),
                Err(rejection) => answer.reject(&rejection),
            },
        }
    }

    /// The dialect of an event. The first one that a dialect knows settles the socket's.
    async fn dialect_of(&self, event: &str) -> &'static dyn Dialect {
        match dialect::speaking(event, self.socket.dialect()) {
            None => self.socket.dialect(),
            spoken @ Some(_) if self.socket.settled_dialect().is_some() => {
                self.socket.settle_dialect(spoken)
            }
            spoken @ Some(_) => {
                let dialect = self.socket.settle_dialect(spoken);
                let noted = self.node.recovery.speaks(&self.kept, dialect.id()).await;
                if let Err(error) = noted {
                    // Recovered, it would speak its namespace's default until its next event.
                    tracing::debug!(%error, "a socket's dialect not noted");
                }
                dialect
            }
        }
    }

    /// Sends a command on its way. The answer comes when the worker has committed it.
    fn change(&self, conversation: ConversationId, command: Command, mut answer: Answer) {
        if !self
            .socket
            .begin_request(self.node.config.sockets.max_in_flight)
        {
            let message = "too many unconfirmed requests on this socket";
            answer.reject(&Rejection::new(ErrorCode::Overloaded, message));
            return;
        }
        answer.counted = true;
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
        let node = self.node.clone();
        self.node
            .ingress
            .submit(id, conversation, user, command, move |outcome| {
                complete(&node, conversation, outcome, temp_id.as_ref(), answer);
            });
    }

    /// Joins a room, or says in time that it could not: while Redis or PostgreSQL are away, the client is not left waiting.
    async fn in_time(&mut self, conversation: ConversationId) -> Result<(), RequestError> {
        let patience = self.node.reply_timeout();
        match tokio::time::timeout(patience, self.join(conversation)).await {
            Ok(joined) => joined,
            Err(_) => {
                Err(Rejection::new(ErrorCode::Timeout, "not joined in time; try again").into())
            }
        }
    }

    /// Listens to a room of which the user is a member. Joining a room again does no harm.
    async fn join(&mut self, conversation: ConversationId) -> Result<(), RequestError> {
        let full = self.kept.room_count() >= self.node.config.sockets.max_rooms;
        if full && !self.kept.is_in(conversation) {
            let message = "this socket has joined too many rooms";
            return Err(Rejection::new(ErrorCode::Conflict, message).into());
        }
        for _ in 0..JOIN_ATTEMPTS {
            let membership =
                conversations::membership(&self.node.database, conversation, self.user()).await?;
            let Some((_, as_of)) = membership else {
                return Err(Rejection::not_found("conversation").into());
            };
            // Before the hub knows: whatever becomes of this task, the socket will leave what it may have joined.
            self.kept.enter(conversation, as_of);
            match self
                .node
                .hub
                .join(self.socket.clone(), conversation, as_of)
                .await
            {
                // It was noted then. What it was told since may still be on its way: its floor stays where it was.
                Ok(JoinOutcome::AlreadyIn) => return Ok(()),
                Ok(JoinOutcome::Joined(seq)) => {
                    // Before the client knows: what it is told has to hold wherever it comes back.
                    let noted = self.node.recovery.joined(&self.kept, conversation, seq);
                    let Err(error) = noted.await else {
                        return Ok(());
                    };
                    tracing::warn!(%error, "a joined room was not noted");
                    self.node.hub.leave(self.socket.key(), conversation).await;
                    self.kept.exit(conversation);
                    break;
                }
                Ok(JoinOutcome::Recheck) => {}
                Err(_) => break,
            }
        }
        let message = "the room could not be joined; retry later";
        Err(Rejection::new(ErrorCode::Overloaded, message).into())
    }

    /// Listens to a room no more. Of a room it does not listen to, only members may know that it exists.
    async fn leave(&mut self, conversation: ConversationId) -> Result<(), RequestError> {
        if self.kept.is_in(conversation) {
            self.node.hub.leave(self.socket.key(), conversation).await;
            if let Err(error) = self.node.recovery.left(&self.kept, conversation).await {
                tracing::debug!(%error, "a room that was left is still in its socket's record");
            }
            return Ok(());
        }
        match conversations::membership(&self.node.database, conversation, self.user()).await? {
            Some(_) => Ok(()),
            None => Err(Rejection::not_found("conversation").into()),
        }
    }
}

impl Drop for UserSocket {
    fn drop(&mut self) {
        self.node.recovery.release(&self.kept, self.left_on_purpose);
        take_out(&self.node, &self.socket, self.kept.rooms());
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
