//! One socket's side of the chat: its events become commands, joins, questions and refusals.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::{AccountRole, Profile};
use confab_shared::model::command::Command;
use confab_shared::model::content::Slug;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::telemetry::scope;

use super::answer::Answer;
use super::arrival::take_out;
use super::commands::{creation, message, show_made};
use super::follow::follow_all;
use super::recover::{CatchUp, held_frames};
use super::revocation;
use super::typing::Typing;
use crate::dialect::{Confirmation, Intent};
use crate::hub::socket::SocketRef;
use crate::limits::{Line, Subject};
use crate::metrics::Counted;
use crate::node::Node;
use crate::recovery::Kept;
use crate::rooms::{self, NewRoom};
use crate::transport::application::Incoming;

/// By how much the clocks may differ that say when a client left and when something was said.
const CLOCKS: Duration = Duration::from_secs(5);

/// A user's socket and what it listens to. However it ends, dropping it takes it out of everything.
pub struct UserSocket {
    pub(super) node: Arc<Node>,
    pub(super) socket: SocketRef,
    pub(super) profile: Arc<Profile>,
    pub(super) kept: Arc<Kept>,
    /// Rooms that it has entered by their slugs.
    pub(super) names: BTreeMap<Slug, ConversationId>,
    /// Rooms in which it is present.
    pub(super) present: BTreeSet<ConversationId>,
    /// Direct conversations that are known to be there: some of those it said something in.
    pub(super) directs: HashSet<ConversationId>,
    /// Whose doings its own are counted with,
    pub(super) subject: Subject,
    /// and what of them is not done yet because it waits to be counted.
    pub(super) line: Line,
    /// What its client is to be sent first, if it has come back.
    catch_up: Option<Box<CatchUp>>,
    pub(super) typing: Typing,
    /// What happened from here on it may not know of conversations that it has not joined.
    pub(super) knows_until: Timestamp,
    left_on_purpose: bool,
    /// Its place among the sockets of its dialect.
    counted: Counted,
}

impl std::fmt::Debug for UserSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserSocket")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl UserSocket {
    /// A socket, which counts as connected already.
    pub(super) fn new(
        node: Arc<Node>,
        socket: SocketRef,
        profile: Arc<Profile>,
        kept: Arc<Kept>,
    ) -> Self {
        // It is made while something of its session's is done: from here on, the log says whose that is.
        tracing::Span::current().record("user", tracing::field::display(profile.id));
        let sockets = &node.metrics.sockets;
        let counted = Counted::new(sockets.with_label_values(&[socket.dialect().id()]));
        Self {
            subject: Subject::User(profile.id),
            line: Line::default(),
            node,
            socket,
            profile,
            kept,
            names: BTreeMap::new(),
            present: BTreeSet::new(),
            directs: HashSet::new(),
            catch_up: None,
            typing: Typing::new(),
            knows_until: Timestamp::now(),
            left_on_purpose: false,
            counted,
        }
    }

    /// It speaks another dialect than it was taken to.
    pub(super) fn recount(&self) {
        let sockets = &self.node.metrics.sockets;
        let dialect = self.socket.dialect().id();
        self.counted.move_to(sockets.with_label_values(&[dialect]));
    }

    /// Its client has come back, which had been told everything up to `since`: the rooms it is present in, what it calls them, and
    /// what it missed.
    pub(super) async fn resume(&mut self, catch_up: CatchUp, since: Position) {
        for (room, slug) in &catch_up.public {
            if let Some(slug) = slug {
                self.names.insert(slug.clone(), *room);
            }
            let profile = self.profile.clone();
            match self.node.presence.enter(*room, profile, None).await {
                Ok(entrance) => {
                    entrance.stay();
                    self.present.insert(*room);
                }
                // It gets the room's events all the same.
                Err(error) => tracing::warn!(%error, "a socket that came back is not present"),
            }
        }
        self.knows_until = since.moment().minus(CLOCKS);
        self.catch_up = Some(Box::new(catch_up));
    }

    /// What its dialect has it listen to without being asked.
    pub(super) async fn arrive(&mut self) -> Result<(), RequestError> {
        let dialect = self.socket.dialect();
        if dialect.sight().is_wide() {
            follow_all(&self.node, &self.socket).await?;
        }
        match dialect.lobby() {
            Some(lobby) if !self.is_guest() => self.enter(&lobby).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The client knows that it is connected: what came meanwhile goes out.
    pub(super) fn begin(&mut self) {
        let (socket, catch_up) = (&self.socket, self.catch_up.take());
        let has_come_back = catch_up.is_some();
        socket.release(|held| match catch_up {
            Some(catch_up) => catch_up.frames(socket, held),
            None => held_frames(socket, held),
        });
        self.kept.begin();
        self.watch();
        self.node.presence.welcome(&self.socket, has_come_back);
    }

    /// The client left by itself: it will not come back for what it misses.
    pub(super) fn leave_on_purpose(&mut self) {
        self.left_on_purpose = true;
    }

    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.socket.user()
    }

    pub(super) fn is_guest(&self) -> bool {
        self.profile.account == AccountRole::Guest
    }

    /// An event came. What waits for something is boxed: a session has room for it only while it waits.
    pub(super) async fn event(&mut self, event: Incoming<'_>) {
        let dialect = match self.socket.settled_dialect() {
            Some(dialect) => dialect,
            None => Box::pin(self.dialect_of(event.name)).await,
        };
        let traces = &self.node.traces;
        let answer = Answer::new(traces, self.socket.clone(), event.ack_id, event.name);
        let intent = dialect.inbound(event.name, event.args);
        count_event(&self.node, intent.as_ref().ok());
        match intent {
            // By far the most, and nothing to wait for.
            Ok(Intent::Change {
                conversation,
                command,
            }) if !self.is_guest() => self.change(conversation, command, answer),
            Ok(intent) => {
                let patience = self.node.reply_timeout();
                let parent = answer.parent();
                scope(parent, Box::pin(self.fulfil(intent, answer, patience))).await;
            }
            Err(rejection) => answer.reject(&rejection),
        }
    }

    /// Does what the client asks for. Questions to PostgreSQL and Redis are given up in time: while they are away, the client is not left
    /// waiting.
    pub(super) async fn fulfil(&mut self, intent: Intent, answer: Answer, patience: Duration) {
        if self.is_guest() && !is_open_to_guests(&intent) {
            answer.reject(&Rejection::new(ErrorCode::Unauthorized, "log in first"));
            return;
        }
        if let Some(class) = self.class_of(&intent)
            && let Err(refused) = self.count(class).await
        {
            answer.reject(&refused);
            return;
        }
        self.perform(intent, answer, patience).await;
    }

    /// Does what is asked for by somebody who may. Changes are counted on their way, see [`change`](Self::change).
    pub(super) async fn perform(&mut self, intent: Intent, answer: Answer, patience: Duration) {
        match intent {
            Intent::Change {
                conversation,
                command,
            } => self.change(conversation, command, answer),
            Intent::Create {
                kind,
                name,
                participants,
            } => match creation(self.user(), kind, name, participants) {
                Ok((conversation, command)) => self.change(conversation, command, answer),
                Err(rejection) => answer.reject(&rejection),
            },
            Intent::CreateRoom { name } => {
                let made = in_time(patience, self.create_room(name)).await;
                self.show(made, answer).await;
            }
            Intent::Enter { room, .. } => {
                let entered = in_time(patience, self.enter(&room)).await;
                self.show_entered(entered, answer).await;
            }
            Intent::Exit(room) => match in_time(patience, self.exit(&room)).await {
                Ok(()) => answer.confirm(Confirmation::Left { room: &room }),
                Err(error) => answer.fail(&error),
            },
            Intent::Type { room, typing } => {
                match in_time(patience, self.types(&room, typing)).await {
                    Ok(()) => answer.confirm(Confirmation::Done),
                    Err(error) => answer.fail(&error),
                }
            }
            Intent::Say {
                room,
                content,
                temp_id,
                inside,
            } => match in_time(patience, self.whereabouts(&room, inside)).await {
                Ok(place) => self.say(place, message(content, temp_id), answer),
                Err(error) => answer.fail(&error),
            },
            Intent::SayTo {
                receiver,
                content,
                temp_id,
            } => match in_time(patience, self.between(receiver)).await {
                Ok(place) => self.say(place, message(content, temp_id), answer),
                Err(error) => answer.fail(&error),
            },
            Intent::History {
                with,
                before,
                limit,
            } => {
                let read = in_time(patience, self.history(with, before, limit)).await;
                match read {
                    Ok((subject, messages)) => answer.confirm(Confirmation::History {
                        subject: &subject,
                        messages: &messages,
                    }),
                    Err(error) => answer.fail(&error),
                }
            }
            Intent::LogIn { token } => match self.node.tokens.verify(&token) {
                Ok(claims) if claims.sub == self.user() => {
                    answer.confirm(Confirmation::LoggedIn(&self.profile));
                }
                Ok(_) => {
                    let message = "this socket is somebody else's already";
                    answer.reject(&Rejection::new(ErrorCode::Forbidden, message));
                }
                Err(_) => {
                    answer.reject(&Rejection::new(ErrorCode::Unauthorized, "Unauthorized"));
                }
            },
            Intent::WhoIsOnline => {
                let found = in_time(patience, self.online_contacts()).await;
                match found {
                    Ok(online) => answer.confirm(Confirmation::Online(&online)),
                    Err(error) => answer.fail(&error),
                }
            }
            Intent::Appear { online } => match in_time(patience, self.appear(online)).await {
                Ok(()) => answer.confirm(Confirmation::Done),
                Err(error) => answer.fail(&error),
            },
            Intent::LogOut => {
                answer.confirm(Confirmation::LoggedOut);
                self.leave_on_purpose();
                revocation::end(&self.socket);
            }
        }
    }

    async fn create_room(&self, name: String) -> Result<ConversationId, RequestError> {
        let room = NewRoom {
            name,
            description: None,
            max_users: None,
        };
        rooms::create(&self.node, self.user(), room).await
    }

    /// Confirms that a conversation is there by showing it.
    async fn show(&self, made: Result<ConversationId, RequestError>, answer: Answer) {
        match made {
            Ok(conversation) => show_made(&self.node, conversation, answer).await,
            Err(error) => answer.fail(&error),
        }
    }
}

impl Drop for UserSocket {
    fn drop(&mut self) {
        self.stop_typing_anywhere();
        self.node.recovery.release(&self.kept, self.left_on_purpose);
        let mut rooms = self.kept.rooms();
        rooms.extend(self.socket.end_following());
        take_out(&self.node, &self.socket, rooms);
        let present = std::mem::take(&mut self.present);
        if present.is_empty() {
            return;
        }
        let (presence, user, on_purpose) = (
            self.node.presence.clone(),
            self.user(),
            self.left_on_purpose,
        );
        // Without a runtime there is nobody to be told.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for room in present {
                    // Nobody is left to be told when it is done.
                    drop(presence.exit(room, user, on_purpose).await);
                }
            });
        }
    }
}

/// Counts what a client asks for; none: nobody knows what.
pub(super) fn count_event(node: &Node, intent: Option<&Intent>) {
    node.metrics
        .events_received_total
        .with_label_values(&[intent.map_or("refused", Intent::name)])
        .inc();
}

/// What somebody without an account may do: be in public rooms. That they are public is for whoever does it to see.
fn is_open_to_guests(intent: &Intent) -> bool {
    match intent {
        Intent::Enter { .. }
        | Intent::Exit(_)
        | Intent::Type { .. }
        | Intent::Say { .. }
        | Intent::LogOut => true,
        Intent::Change { command, .. } => matches!(
            command,
            Command::SendMessage { .. }
                | Command::EditMessage { .. }
                | Command::DeleteMessage { .. }
                | Command::MarkRead { .. }
        ),
        Intent::Create { .. }
        | Intent::CreateRoom { .. }
        | Intent::SayTo { .. }
        | Intent::History { .. }
        | Intent::WhoIsOnline
        | Intent::Appear { .. }
        | Intent::LogIn { .. } => false,
    }
}

/// The result of something, or that it took too long.
pub(super) async fn in_time<T>(
    patience: Duration,
    done: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    tokio::time::timeout(patience, done)
        .await
        .unwrap_or_else(|_| {
            Err(Rejection::new(ErrorCode::Timeout, "not done in time; try again").into())
        })
}
