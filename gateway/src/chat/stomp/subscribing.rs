//! What a subscription listens to: a room, the user's direct messages, or what the user has not read.

use std::sync::Arc;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::content::Slug;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::memberships::{self, Access};

use super::super::Chat;
use super::super::follow::follow_all;
use super::super::introduction::random_name;
use super::client::StompClient;
use super::listening::Listening;
use crate::dialect::{self, Called, Dialect, RoomName};
use crate::hub::socket::SocketRef;
use crate::hub::{JoinOutcome, Joining};
use crate::limits::Class;
use crate::rooms;
use crate::session::stomp::Subscription;
use crate::transport::application::Topic;

/// How often a membership is read again because memberships changed meanwhile.
const ATTEMPTS: usize = 8;

impl Chat {
    /// Counts something of a client's that has a room looked for, unless there was too much of it: that costs as much as if it had said
    /// something, and nothing else would hold it back.
    pub(super) async fn counts_subscription(&self, client: &StompClient) -> Result<(), Rejection> {
        let asked = self
            .node
            .limits
            .ask(Class::Subscriptions, client.subject())
            .await;
        asked.map(|_| ()).map_err(|refusal| refusal.rejection())
    }

    /// Has a subscription shown what it is to. If that fails, it is the caller's to end what it has begun.
    pub(super) async fn listen(
        &self,
        client: &mut StompClient,
        topic: Topic<'_>,
        subscription: Arc<Subscription>,
    ) -> Result<(), RequestError> {
        match topic {
            Topic::Room(name) => self.listen_to_room(client, name, subscription).await,
            Topic::DirectMessages => {
                client.account()?;
                let socket = socket(client, &dialect::stomp::DIRECT_MESSAGES, &subscription);
                let listening = Listening::to_user(self.node.clone(), socket.clone());
                client.listening.insert(subscription.id().into(), listening);
                follow_all(&self.node, &socket).await?;
                Ok(())
            }
            Topic::Notifications => {
                client.account()?;
                let socket = socket(client, &dialect::stomp::NOTIFICATIONS, &subscription);
                let listening = Listening::to_user(self.node.clone(), socket.clone());
                client.listening.insert(subscription.id().into(), listening);
                // Whatever happens from here on it is told, however late it begins to watch.
                self.node.backplane.watch(&socket, Timestamp::now());
                Ok(())
            }
        }
    }

    async fn listen_to_room(
        &self,
        client: &mut StompClient,
        name: &str,
        subscription: Arc<Subscription>,
    ) -> Result<(), RequestError> {
        let room = RoomName::parse(name)?;
        let called = match room {
            RoomName::Id(_) => Called::ById,
            RoomName::Slug(_) => Called::BySlug,
        };
        let (conversation, mut access) = self.find_or_make(client, &room).await?;
        let socket = socket(client, &dialect::stomp::TOPIC, &subscription);
        let listening = Listening::to_room(self.node.clone(), socket.clone(), conversation);
        // Before the hub knows: whatever becomes of this task, it will leave what it may have joined.
        client.listening.insert(subscription.id().into(), listening);
        for _ in 0..ATTEMPTS {
            let joining = Joining {
                socket: socket.clone(),
                called,
                as_of: access.last_seq,
                backlog: None,
            };
            match self.node.hub.join(conversation, joining).await {
                Ok(JoinOutcome::Joined(_) | JoinOutcome::AlreadyIn(_)) => return Ok(()),
                Ok(JoinOutcome::Recheck) => {}
                Err(_) => break,
            }
            let found = self.audience(client, conversation).await?;
            access = found.ok_or_else(|| Rejection::not_found("conversation"))?;
        }
        let message = "the room could not be subscribed to; retry later";
        Err(Rejection::new(ErrorCode::Overloaded, message).into())
    }

    /// The conversation of this name, if the client may listen to it; a room that is not there is made, where that is so.
    async fn find_or_make(
        &self,
        client: &StompClient,
        room: &RoomName,
    ) -> Result<(ConversationId, Access), RequestError> {
        if let Some(id) = rooms::resolve(&self.node, room).await?
            && let Some(access) = self.audience(client, id).await?
        {
            return Ok((id, access));
        }
        let not_found = || Rejection::not_found("conversation");
        let RoomName::Slug(slug) = room else {
            return Err(not_found().into());
        };
        if !self.node.config.rooms.auto_create {
            return Err(not_found().into());
        }
        let id = self.make(client, slug).await?;
        let access = self.audience(client, id).await?;
        Ok((id, access.ok_or_else(not_found)?))
    }

    async fn make(
        &self,
        client: &StompClient,
        slug: &Slug,
    ) -> Result<ConversationId, RequestError> {
        let class = Class::room_operations(dialect::stomp::SESSION.tier());
        if let Err(refusal) = self.node.limits.ask(class, client.subject()).await {
            return Err(refusal.rejection().into());
        }
        let creator = match client.user() {
            Some(user) => user.user(),
            // Rooms have creators; this one is a guest whom nobody will be.
            None => {
                self.lets_in_a_guest(client.address).await?;
                self.named_guest(&random_name()).await?.id
            }
        };
        rooms::create_by_slug(&self.node, creator, slug).await
    }

    /// How a client may listen to a conversation. To others, it does not exist; to those without an account, only public rooms do.
    async fn audience(
        &self,
        client: &StompClient,
        conversation: ConversationId,
    ) -> Result<Option<Access>, sqlx::Error> {
        let (reader, members_too) = match client.user() {
            Some(user) => (user.user(), !user.is_guest()),
            None => (UserId::SYSTEM, false),
        };
        let found = memberships::access(&self.node.database, conversation, reader);
        let found = self.node.metrics.postgres.time("access", found).await?;
        Ok(found.filter(|access| members_too || access.kind == ConversationKind::Room))
    }
}

/// A subscription's socket. It is shown what comes at once: its client knows of it, having made it.
fn socket(
    client: &StompClient,
    dialect: &'static dyn Dialect,
    subscription: &Arc<Subscription>,
) -> SocketRef {
    let socket = client.subscription(dialect, subscription);
    socket.release(|_| Vec::new());
    socket
}
