//! Entering, leaving and finding conversations, on behalf of one socket.

use std::time::Duration;

use confab_shared::id::{ConversationId, MessageId, Seq, UserId};
use confab_shared::model::content::Slug;
use confab_shared::model::conversation::{
    ConversationKind, ConversationView, MemberRole, Participant, Subject,
};
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::model::message::Message;
use confab_shared::postgres::memberships::{self, Access};
use confab_shared::postgres::messages::{self, Page, Slice};
use confab_shared::postgres::{conversations, users};

use super::answer::Answer;
use super::socket::UserSocket;
use crate::dialect::{Called, Confirmation, RoomName};
use crate::hub::{JoinOutcome, Joining};
use crate::limits::Class;
use crate::presence::PresenceError;
use crate::recovery::{EnteredRoom, NoteError};
use crate::rooms;

/// How often a membership is read again because memberships changed meanwhile.
const JOIN_ATTEMPTS: usize = 8;
/// How long whoever leaves a public room is let wait until nobody counts them there any more.
const GONE_PATIENCE: Duration = Duration::from_secs(1);
/// The most people who are shown with a room.
const SHOWN: u16 = 100;

/// A conversation that a socket is in.
pub(super) struct Inside {
    conversation: ConversationId,
    called: Called,
}

/// Where something is to be said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// That was known.
    Known(ConversationId),
    /// It had to be looked for, or made, for a message that is counted.
    Found(ConversationId),
}

impl UserSocket {
    /// Counts something of the user's, unless there was too much of it.
    pub(super) async fn count(&self, class: Class) -> Result<(), Rejection> {
        let counted = self.node.limits.ask(class, self.subject.clone()).await;
        counted.map(|_| ()).map_err(|refusal| refusal.rejection())
    }

    /// Counts a message.
    pub(super) async fn count_message(&self) -> Result<(), Rejection> {
        self.count(Class::messages(self.socket.dialect().tier()))
            .await
    }

    /// Listens to a conversation, and is present in it if it is public. Entering again does no harm.
    pub(super) async fn enter(&mut self, room: &RoomName) -> Result<Inside, RequestError> {
        let called = match room {
            RoomName::Id(_) => Called::ById,
            RoomName::Slug(_) => Called::BySlug,
        };
        let conversation = self.find_or_make(room).await?;
        let full = self.kept.room_count() >= self.node.config.sockets.max_rooms;
        if full && !self.kept.is_in(conversation) {
            let message = "this socket has joined too many rooms";
            return Err(Rejection::new(ErrorCode::Conflict, message).into());
        }
        let access = self.listen(conversation, called).await?;
        if access.kind == ConversationKind::Room {
            self.be_present(conversation, access).await?;
        }
        if let RoomName::Slug(slug) = room {
            self.names.insert(slug.clone(), conversation);
        }
        Ok(Inside {
            conversation,
            called,
        })
    }

    async fn find_or_make(&self, room: &RoomName) -> Result<ConversationId, RequestError> {
        let (database, makes) = (&self.node.database, self.node.config.rooms.auto_create);
        let found = match rooms::resolve(&self.node, room).await? {
            Some(id)
                if memberships::access(database, id, self.user())
                    .await?
                    .is_some() =>
            {
                Some(id)
            }
            Some(_) | None => None,
        };
        match (found, room) {
            (Some(id), _) => Ok(id),
            (None, RoomName::Slug(slug)) if makes => {
                rooms::create_by_slug(&self.node, self.user(), slug).await
            }
            (None, _) => Err(Rejection::not_found("conversation").into()),
        }
    }

    /// Listens to a conversation in which the user may take part; or is merely in it, where subscriptions listen.
    async fn listen(
        &self,
        conversation: ConversationId,
        called: Called,
    ) -> Result<Access, RequestError> {
        if !self.socket.dialect().hears() {
            let access = self.access(conversation).await?;
            let floor = access.last_seq;
            self.kept.enter(conversation, EnteredRoom { floor, called });
            return Ok(access);
        }
        let joined = self.join(conversation, called).await;
        if joined.is_err() && self.kept.may_be_in(conversation) {
            // Its client is told that it is not in there, and neither is to say otherwise: the hub, nor the record, which may have been written
            // all the same. A room that it was in before it stays in.
            self.stop_listening(conversation).await;
        }
        joined
    }

    /// Joins a conversation's room. If that fails, it may be in there all the same.
    async fn join(
        &self,
        conversation: ConversationId,
        called: Called,
    ) -> Result<Access, RequestError> {
        let entered = |floor: Seq| EnteredRoom { floor, called };
        for _ in 0..JOIN_ATTEMPTS {
            let access = self.access(conversation).await?;
            let as_of = access.last_seq;
            // Before the hub knows: whatever becomes of this task, the socket will leave what it may have joined.
            self.kept.enter(conversation, entered(as_of));
            let joining = Joining {
                socket: self.socket.clone(),
                called,
                as_of,
                backlog: None,
            };
            // Before the client knows: what it is told has to hold wherever it comes back.
            let recovery = &self.node.recovery;
            let noted: Result<(), NoteError> = match self.node.hub.join(conversation, joining).await
            {
                // What it was told since may still be on its way: its floor stays where it was.
                Ok(JoinOutcome::AlreadyIn(_)) => recovery.was_in(&self.kept, conversation).await,
                Ok(JoinOutcome::Joined(seq)) => {
                    let entered = entered(seq);
                    recovery.joined(&self.kept, conversation, entered).await
                }
                Ok(JoinOutcome::Recheck) => {
                    self.kept.is_out(conversation);
                    continue;
                }
                Err(_) => break,
            };
            let Err(error) = noted else {
                return Ok(access);
            };
            tracing::warn!(%error, "a joined room was not noted");
            break;
        }
        let message = "the room could not be joined; retry later";
        Err(Rejection::new(ErrorCode::Overloaded, message).into())
    }

    /// How the user may take part in a conversation. To others, it does not exist; to guests, only public rooms do.
    pub(super) async fn access(
        &self,
        conversation: ConversationId,
    ) -> Result<Access, RequestError> {
        let found = memberships::access(&self.node.database, conversation, self.user());
        let found = self.node.metrics.postgres.time("access", found).await?;
        found
            .filter(|access| !self.is_guest() || access.kind == ConversationKind::Room)
            .ok_or_else(|| Rejection::not_found("conversation").into())
    }

    async fn be_present(
        &mut self,
        room: ConversationId,
        access: Access,
    ) -> Result<(), RequestError> {
        if self.present.contains(&room) {
            return Ok(());
        }
        let profile = self.profile.clone();
        let entered = self.node.presence.enter(room, profile, access.max_users);
        let error = match entered.await {
            Ok(entrance) => {
                entrance.stay();
                self.present.insert(room);
                return Ok(());
            }
            Err(PresenceError::Full) => {
                Rejection::new(ErrorCode::Conflict, "the room is full").into()
            }
            Err(PresenceError::Redis(error)) => RequestError::from(error),
            Err(PresenceError::Closed) => {
                Rejection::new(ErrorCode::Overloaded, "the node is going away").into()
            }
        };
        self.stop_listening(room).await;
        Err(error)
    }

    /// Listens to a conversation no more. Nothing of it is queued after this.
    async fn stop_listening(&self, conversation: ConversationId) {
        self.node.hub.leave(self.socket.key(), conversation).await;
        if let Err(error) = self.node.recovery.left(&self.kept, conversation).await {
            tracing::debug!(%error, "a room that was left is still in its socket's record");
        }
        self.node.hub.caught_up().await;
    }

    /// Listens to a conversation no more. Of one that it does not listen to, only those may know that it exists who may take part.
    pub(super) async fn exit(&mut self, room: &RoomName) -> Result<(), RequestError> {
        let conversation = self.resolve(room).await?;
        let is_present = self.present.contains(&conversation);
        if !is_present && !self.kept.is_in(conversation) {
            return self.access(conversation).await.map(|_| ());
        }
        self.names.retain(|_, named| *named != conversation);
        self.stop_typing(conversation);
        self.stop_listening(conversation).await;
        if is_present {
            let presence = &self.node.presence;
            let gone = presence.exit(conversation, self.user(), true).await;
            // Not before: whoever is stopped half way still knows that it has to be said; nor later, when it has been.
            self.present.remove(&conversation);
            if tokio::time::timeout(GONE_PATIENCE, gone).await.is_err() {
                tracing::debug!("somebody who left a room may still be counted there");
            }
        }
        Ok(())
    }

    /// The conversation that a client names, if nobody has to be asked which it is.
    fn known(&self, room: &RoomName) -> Option<ConversationId> {
        match room {
            RoomName::Id(id) => Some(*id),
            RoomName::Slug(slug) => self.names.get::<Slug>(slug).copied(),
        }
    }

    /// The conversation that a client names.
    pub(super) async fn resolve(&self, room: &RoomName) -> Result<ConversationId, RequestError> {
        match self.known(room) {
            Some(id) => Ok(id),
            None => rooms::resolve(&self.node, room)
                .await?
                .ok_or_else(|| Rejection::not_found("conversation").into()),
        }
    }

    /// Where something is to be said; `inside`: only where the socket is. Who may say nothing now has nothing looked for.
    pub(super) async fn whereabouts(
        &self,
        room: &RoomName,
        inside: bool,
    ) -> Result<Place, RequestError> {
        let may_be = |conversation| !inside || self.kept.is_in(conversation);
        if let Some(known) = self.known(room).filter(|known| may_be(*known)) {
            return Ok(Place::Known(known));
        }
        self.count_message().await?;
        let conversation = self.resolve(room).await?;
        if may_be(conversation) {
            return Ok(Place::Found(conversation));
        }
        self.access(conversation).await?;
        Err(Rejection::new(ErrorCode::Forbidden, "join the room first").into())
    }

    /// What was said between the user and somebody, oldest first: the latest `limit` messages before that one, or as many of them as
    /// fit into a socket's queue.
    pub(super) async fn history(
        &self,
        with: UserId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<(Subject, Vec<Message>), RequestError> {
        let (database, user) = (&self.node.database, self.user());
        let direct = ConversationId::direct(user, with);
        let conversation = match memberships::access(database, direct, user).await? {
            Some(_) => direct,
            None => match self.named_instead(with).await {
                Ok(conversation) => conversation,
                Err(error) => {
                    // They never spoke, if there is such a person.
                    return match users::profile(database, with).await? {
                        Some(_) => Ok((Subject::unknown(direct), Vec::new())),
                        None => Err(error),
                    };
                }
            },
        };
        let slice = before.map_or(Slice::Newest, Slice::Before);
        let page = Page { slice, limit };
        let page = messages::page(database, conversation, user, page).await?;
        let subjects = conversations::subjects(database, &[conversation]).await?;
        let subject = subjects.into_iter().next().map(|(subject, _)| subject);
        let mut room = self.node.config.engine.send_queue_bytes;
        let mut shown: Vec<Message> = page
            .messages
            .into_iter()
            .map(|view| view.message)
            .take_while(|message| {
                // Around the content there is about as much again as a short message has.
                let size = message.content.len() * 2 + 512;
                let fits = size <= room;
                room = room.saturating_sub(size);
                fits
            })
            .collect();
        shown.reverse();
        Ok((
            subject.unwrap_or_else(|| Subject::unknown(conversation)),
            shown,
        ))
    }

    /// Confirms that the socket is in a conversation; with who is there, if its dialect shows that.
    pub(super) async fn show_entered(&self, entered: Result<Inside, RequestError>, answer: Answer) {
        let inside = match entered {
            Ok(inside) => inside,
            Err(error) => return answer.fail(&error),
        };
        if !self.socket.dialect().shows_entered() {
            return answer.confirm(Confirmation::Done);
        }
        match self.view(inside.conversation).await {
            Ok(view) => answer.confirm(Confirmation::Entered {
                view: &view,
                called: inside.called,
            }),
            Err(error) => answer.fail(&error),
        }
    }

    /// Who of the user's contacts is online.
    pub(super) async fn online_contacts(&self) -> Result<Vec<UserId>, RequestError> {
        let found = self.node.presence.online_contacts(self.user()).await;
        let unknown = || {
            Rejection::new(
                ErrorCode::Overloaded,
                "who is online is not known; try again",
            )
        };
        Ok(found.ok_or_else(unknown)?)
    }

    /// The user wants to be seen as online, or as offline whatever they do.
    pub(super) async fn appear(&self, online: bool) -> Result<(), RequestError> {
        let account = self.node.presence.wish(self.user(), online).await?;
        let unauthorized = || Rejection::new(ErrorCode::Unauthorized, "Unauthorized");
        account.map(|_| ()).ok_or_else(|| unauthorized().into())
    }

    /// A conversation, with those who are present in it if it is public.
    async fn view(&self, conversation: ConversationId) -> Result<ConversationView, RequestError> {
        let view = conversations::view(&self.node.database, conversation, self.user());
        let view = self.node.metrics.postgres.time("view", view).await?;
        let mut view = view.ok_or_else(|| Rejection::not_found("conversation"))?;
        if view.kind == ConversationKind::Room {
            let present = self.node.presence.some_present(conversation, SHOWN).await?;
            view.participants = present
                .into_iter()
                .map(|profile| Participant::new(profile, MemberRole::Member))
                .collect();
        }
        self.node.presence.note_online(&mut view.participants).await;
        Ok(view)
    }
}
