//! Chat over STOMP: who connects, what its subscriptions listen to, and what its messages do.
//!
//! A session is a socket like those of Socket.IO, which is shown nothing: it is what counts as connected and is present in rooms. Each of its
//! subscriptions is another on the same queue, which is present nowhere. What a SEND asks for is done as for any other socket; its receipt is
//! the confirmation. Sessions are not recovered: there is nothing in STOMP that a client could give back.
//! They end with their tokens.

mod client;
mod committing;
mod curfew;
mod listening;
mod places;
mod sending;
mod subscribing;

use std::sync::Arc;

use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::model::account::Profile;
use confab_shared::model::error::Rejection;

use super::answer::rejection;
use super::socket::{UserSocket, in_time};
use super::{Chat, unauthorized};
use crate::dialect;
use crate::hub::socket::{Carrier, Socket, SocketRef};
use crate::session::DisconnectReason;
use crate::session::stomp::Subscription;
use crate::transport::admission::client_network;
use crate::transport::application::{
    ConnectError, Handshake, StompApplication, StompMessage, Topic,
};
use crate::transport::stomp::{Reply, StompLink};
pub use client::StompClient;
use curfew::Curfew;
pub(super) use places::Named;

impl Chat {
    async fn log_in_by_stomp(
        &self,
        token: &str,
        link: &StompLink,
    ) -> Result<Box<UserSocket>, ConnectError> {
        let claims = self.verify(token)?;
        let socket = session(claims.sub, Some(claims.clone()), link);
        let arrival = self.welcome(socket).await?;
        let profile = self.bearer(&claims).await?;
        self.has_room_for(profile.id, link.link())?;
        self.admit_late(arrival, profile).await
    }

    async fn become_guest(
        &self,
        profile: Arc<Profile>,
        link: &StompLink,
    ) -> Result<Box<UserSocket>, ConnectError> {
        let arrival = self.welcome(session(profile.id, None, link)).await?;
        self.admit_late(arrival, profile).await
    }
}

/// A session's own socket.
fn session(user: UserId, claims: Option<Claims>, link: &StompLink) -> SocketRef {
    let queue = link.link().queue().clone();
    Socket::stomp(
        user,
        claims,
        &dialect::stomp::SESSION,
        Carrier::Stomp,
        queue,
    )
}

impl StompApplication for Chat {
    type Client = StompClient;

    async fn connect(
        &self,
        handshake: &Arc<Handshake>,
        token: Option<&str>,
        link: &Arc<StompLink>,
    ) -> Result<(StompClient, Option<String>), ConnectError> {
        let address = client_network(handshake.remote().ip());
        let Some(token) = token else {
            // Guests are somebody as soon as they enter a room.
            return if self.node.config.auth.guests {
                Ok((StompClient::nobody(link, address), None))
            } else {
                Err(unauthorized())
            };
        };
        let user =
            tokio::time::timeout(self.node.reply_timeout(), self.log_in_by_stomp(token, link));
        let user = user.await.unwrap_or(Err(ConnectError::Unavailable))?;
        let name = user.profile.username.to_string();
        let curfew = user
            .socket
            .token()
            .map(|claims| Curfew::new(link.link(), claims));
        let client = StompClient::somebody(user, link, address, curfew);
        Ok((client, Some(name)))
    }

    async fn connected(&self, _client: &mut StompClient) {
        self.node.metrics.sockets_connected_total.inc();
    }

    async fn subscribe(
        &self,
        client: &mut StompClient,
        topic: Topic<'_>,
        subscription: Arc<Subscription>,
        reply: Reply,
    ) {
        let id: Box<str> = subscription.id().into();
        // Boxed: a session has room for it only while it waits.
        let listens = Box::pin(async {
            self.counts_subscription(client).await?;
            self.listen(client, topic, subscription).await
        });
        match in_time(self.node.reply_timeout(), listens).await {
            Ok(()) => reply.done(),
            Err(error) => {
                client.listening.remove(&id);
                reply.refuse(&rejection(&error));
            }
        }
    }

    async fn unsubscribe(&self, client: &mut StompClient, id: &str) {
        if let Some(listening) = client.listening.remove(id) {
            Box::pin(listening.end()).await;
        }
    }

    fn check(&self, message: &StompMessage<'_>) -> Result<(), Rejection> {
        dialect::stomp::intent(message.destination, message.body).map(|_| ())
    }

    async fn send(&self, client: &mut StompClient, message: StompMessage<'_>, reply: Reply) {
        match dialect::stomp::intent(message.destination, message.body) {
            Ok(intent) => Box::pin(self.fulfil(client, intent, reply)).await,
            Err(rejection) => reply.refuse(&rejection),
        }
    }

    async fn commit(
        &self,
        client: &mut StompClient,
        messages: Vec<(StompMessage<'_>, Reply)>,
    ) -> Result<(), Rejection> {
        self.fulfil_all(client, messages).await
    }

    async fn disconnected(&self, mut client: StompClient, reason: DisconnectReason) {
        if let Some(user) = client.user_mut() {
            if reason == DisconnectReason::ClientClosed {
                user.leave_on_purpose();
            }
            tracing::debug!(user = %user.user(), %reason, "STOMP session disconnected");
        }
    }
}
