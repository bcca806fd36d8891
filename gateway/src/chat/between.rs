//! The conversation between a socket's user and somebody, which is there or is made.

use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{Rejection, RequestError};
use confab_shared::postgres::{memberships, users};

use super::commands::creation;
use super::inside::Place;
use super::socket::UserSocket;
use crate::limits::Class;

/// How many direct conversations a socket remembers to be there.
const DIRECTS: usize = 1_024;

impl UserSocket {
    /// The conversation with somebody, for a message, which is counted unless it is known to be there.
    pub(super) async fn between(&mut self, receiver: UserId) -> Result<Place, RequestError> {
        let conversation = self.pair_with(receiver)?;
        if self.directs.contains(&conversation) {
            return Ok(Place::Known(conversation));
        }
        self.count_message().await?;
        self.open(receiver).await.map(Place::Found)
    }

    /// Which conversation is the one with somebody, be it there or not.
    pub(super) fn pair_with(&self, receiver: UserId) -> Result<ConversationId, Rejection> {
        if receiver == self.user() {
            return Err(Rejection::invalid("receiverId must be somebody else's"));
        }
        Ok(ConversationId::direct(self.user(), receiver))
    }

    /// The conversation with somebody, which is made if it is the first time. Clients that know nobody but users may also name a
    /// conversation that they were shown in a user's place. Making one counts as such.
    pub(super) async fn open(&mut self, receiver: UserId) -> Result<ConversationId, RequestError> {
        let conversation = self.pair_with(receiver)?;
        if self.directs.contains(&conversation) {
            return Ok(conversation);
        }
        let database = &self.node.database;
        if memberships::access(database, conversation, self.user())
            .await?
            .is_none()
        {
            if users::profile(database, receiver).await?.is_none() {
                return self.named_instead(receiver).await;
            }
            self.count(Class::room_operations(self.socket.dialect().tier()))
                .await?;
            let (_, command) =
                creation(self.user(), ConversationKind::Direct, None, vec![receiver])?;
            let id = CommandId::generate();
            let made = self
                .node
                .ingress
                .request(id, conversation, self.user(), command);
            made.await?;
        }
        if self.directs.len() >= DIRECTS {
            self.directs.clear();
        }
        self.directs.insert(conversation);
        Ok(conversation)
    }

    /// A conversation by its id, in the place of a user's.
    pub(super) async fn named_instead(
        &self,
        receiver: UserId,
    ) -> Result<ConversationId, RequestError> {
        let conversation = ConversationId(receiver.0);
        let access = memberships::access(&self.node.database, conversation, self.user());
        match self.node.metrics.postgres.time("access", access).await? {
            Some(_) => Ok(conversation),
            None => Err(Rejection::not_found("receiver").into()),
        }
    }
}
