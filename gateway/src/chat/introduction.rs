//! How a socket without a token becomes somebody's: by a token that comes later, or as a guest.

use std::net::IpAddr;
use std::sync::Arc;

use confab_shared::id::UserId;
use confab_shared::model::account::Profile;
use confab_shared::model::content::parse_username;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::postgres::users::CreateUserError;
use confab_shared::postgres::{memberships, rooms as stored};
use uuid::Uuid;

use super::anonymous::{AnonymousSocket, guest_subject};
use super::answer::Answer;
use super::socket::{UserSocket, count_event, in_time};
use super::{Chat, Way};
use crate::dialect::{Confirmation, Intent, RoomName};
use crate::limits::Class;
use crate::rooms;
use crate::session::DisconnectReason;
use crate::transport::application::{ConnectError, Incoming, Link};

impl Chat {
    /// An event of a socket that has not said who it is. Somebody's, if it has now.
    pub(super) async fn introduce(
        &self,
        anonymous: &mut AnonymousSocket,
        event: Incoming<'_>,
    ) -> Option<Box<UserSocket>> {
        let dialect = anonymous.dialect_of(event.name);
        let intent = dialect.inbound(event.name, event.args);
        count_event(&self.node, intent.as_ref().ok());
        let intent = match intent {
            Ok(intent) => intent,
            // Whoever has not logged in is told that first.
            Err(rejection) if self.node.config.auth.guests => {
                anonymous.reject(&event, &rejection);
                return None;
            }
            Err(_) => {
                anonymous.turn_away(&event);
                return None;
            }
        };
        let patience = self.node.reply_timeout();
        match intent {
            Intent::LogIn { token } => {
                let admitted = in_time(patience, self.log_in(anonymous, &token)).await;
                self.admitted(anonymous, &event, admitted, |socket, answer| {
                    answer.confirm(Confirmation::LoggedIn(&socket.profile));
                })
            }
            Intent::LogOut => {
                anonymous.let_go(&event);
                None
            }
            Intent::Enter { room, guest_name } if self.node.config.auth.guests => {
                if let Err(rejection) = self.lets_in_a_guest(anonymous.address()).await {
                    anonymous.reject(&event, &rejection);
                    return None;
                }
                let class = Class::room_operations(dialect.tier());
                let subject = guest_subject(anonymous.address(), guest_name.as_deref());
                if let Err(refusal) = self.node.limits.ask(class, subject).await {
                    anonymous.reject(&event, &refusal.rejection());
                    return None;
                }
                let guest = self.be_guest(anonymous, &room, guest_name.as_deref());
                let mut socket =
                    self.admitted(anonymous, &event, in_time(patience, guest).await, |_, _| {})?;
                let name = Some(&*socket.profile.username);
                socket.subject = guest_subject(anonymous.address(), name);
                let (traces, own) = (&self.node.traces, socket.socket.clone());
                let answer = Answer::new(traces, own, event.ack_id, event.name);
                let enter = Intent::Enter {
                    room,
                    guest_name: None,
                };
                socket.perform(enter, answer, patience).await;
                Some(socket)
            }
            Intent::Say { inside: true, .. } | Intent::Exit(_) | Intent::Type { .. }
                if self.node.config.auth.guests =>
            {
                let rejection = Rejection::new(ErrorCode::Forbidden, "join the room first");
                anonymous.reject(&event, &rejection);
                None
            }
            _ => {
                anonymous.turn_away(&event);
                None
            }
        }
    }

    /// Whether one more guest may come from this address. Another name is another guest, but not another address.
    pub(super) async fn lets_in_a_guest(&self, address: IpAddr) -> Result<(), Rejection> {
        let whoever = guest_subject(address, None);
        match self.node.limits.ask(Class::Guests, whoever).await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.rejection()),
        }
    }

    fn admitted(
        &self,
        anonymous: &AnonymousSocket,
        event: &Incoming<'_>,
        admitted: Result<Box<UserSocket>, RequestError>,
        confirm: impl FnOnce(&UserSocket, Answer),
    ) -> Option<Box<UserSocket>> {
        match admitted {
            Ok(socket) => {
                self.node.metrics.sockets_introduced_total.inc();
                let (traces, own) = (&self.node.traces, socket.socket.clone());
                let answer = Answer::new(traces, own, event.ack_id, event.name);
                confirm(&socket, answer);
                Some(socket)
            }
            Err(error) => {
                if !matches!(error, RequestError::Rejected(_)) {
                    tracing::warn!(%error, "a socket could not be introduced");
                }
                anonymous.reject(event, &error.rejection());
                None
            }
        }
    }

    async fn log_in(
        &self,
        anonymous: &AnonymousSocket,
        token: &str,
    ) -> Result<Box<UserSocket>, RequestError> {
        let admitted = async {
            let claims = self.verify(token)?;
            let (user, way) = (claims.sub, way(anonymous));
            let socket = self.socket(user, Some(claims.clone()), &way);
            let arrival = self.welcome(socket).await?;
            self.has_room_for(user, way.link)?;
            let profile = self.bearer(&claims).await?;
            self.admit_late(arrival, profile).await
        };
        admitted
            .await
            .map_err(|error| refusal(anonymous.link(), error))
    }

    /// Makes a guest of somebody who may enter this room.
    async fn be_guest(
        &self,
        anonymous: &AnonymousSocket,
        room: &RoomName,
        name: Option<&str>,
    ) -> Result<Box<UserSocket>, RequestError> {
        let profile = self.guest(room, name).await?;
        let socket = self.socket(profile.id, None, &way(anonymous));
        let admitted = async {
            let arrival = self.welcome(socket).await?;
            self.admit_late(arrival, profile).await
        };
        admitted
            .await
            .map_err(|error| refusal(anonymous.link(), error))
    }

    /// Gives somebody who may enter this room a name.
    pub(super) async fn guest(
        &self,
        room: &RoomName,
        name: Option<&str>,
    ) -> Result<Arc<Profile>, RequestError> {
        let node = &self.node;
        let name = match name {
            Some(name) => parse_username(name)?,
            None => random_name(),
        };
        // Nobody becomes a guest by knocking at a door that stays shut.
        let access = match rooms::resolve(node, room).await? {
            Some(id) => memberships::access(&node.database, id, UserId::SYSTEM).await?,
            None => None,
        };
        let opens = match access {
            Some(access) => access.kind == ConversationKind::Room,
            None => node.config.rooms.auto_create && matches!(room, RoomName::Slug(_)),
        };
        if !opens {
            return Err(Rejection::not_found("room").into());
        }
        self.named_guest(&name).await
    }

    /// A guest of this name.
    pub(super) async fn named_guest(&self, name: &str) -> Result<Arc<Profile>, RequestError> {
        match stored::create_guest(&self.node.database, name).await {
            Ok(account) => Ok(Arc::new(account.into())),
            Err(CreateUserError::Database(error)) => Err(error.into()),
            Err(CreateUserError::UsernameTaken | CreateUserError::EmailTaken) => {
                Err(Rejection::new(ErrorCode::Conflict, "this username is taken").into())
            }
        }
    }
}

/// What guests are called that want no name.
pub(super) fn random_name() -> String {
    format!("guest-{}", &Uuid::new_v4().simple().to_string()[..8])
}

fn way(anonymous: &AnonymousSocket) -> Way<'_> {
    Way {
        namespace: anonymous.namespace(),
        dialect: anonymous.chosen(),
        link: anonymous.link(),
    }
}

/// Why somebody was not let in, as the answer to an event.
pub(super) fn refusal(link: &Link, error: ConnectError) -> RequestError {
    match error {
        ConnectError::Refused { message, .. } if message == "Too many sessions" => {
            Rejection::new(ErrorCode::RateLimited, message).into()
        }
        ConnectError::Refused { message, .. } => {
            Rejection::new(ErrorCode::Unauthorized, message).into()
        }
        ConnectError::Unavailable => {
            // As at CONNECT: it is to come back, here or elsewhere.
            link.close(DisconnectReason::Unavailable);
            Rejection::new(ErrorCode::Overloaded, "try again").into()
        }
    }
}
