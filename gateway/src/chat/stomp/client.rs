//! A STOMP session as chat has it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use confab_shared::id::UserId;
use confab_shared::model::error::{ErrorCode, Rejection};

use super::super::anonymous::guest_subject;
use super::super::socket::UserSocket;
use super::curfew::Curfew;
use super::listening::Listening;
use super::places::Places;
use crate::dialect::Dialect;
use crate::hub::socket::{Carrier, Revealed, Socket, SocketRef};
use crate::limits::Subject;
use crate::session::stomp::Subscription;
use crate::transport::stomp::StompLink;

/// A client, and what it listens to. However it ends, dropping it takes it out of everything.
#[derive(Debug)]
pub struct StompClient {
    who: Who,
    /// The way to it.
    pub(super) link: Arc<StompLink>,
    /// Where it is.
    pub(super) address: IpAddr,
    /// Its subscriptions, by the ids that it has for them.
    pub(super) listening: HashMap<Box<str>, Listening>,
    /// What ends it with its token; guests have none.
    _curfew: Option<Curfew>,
    /// Rooms that it said something in by their slugs.
    pub(super) places: Places,
}

/// Whose session it is.
#[derive(Debug)]
enum Who {
    /// It has not said. Its subscriptions are counted as somebody's whom there is not, until they are told.
    Nobody(UserId, Revealed),
    /// A user's, or a guest's.
    Somebody(Box<UserSocket>),
}

impl StompClient {
    /// A client that has not said who it is.
    pub(super) fn nobody(link: &Arc<StompLink>, address: IpAddr) -> Self {
        Self::new(
            Who::Nobody(UserId::generate(), Arc::new(OnceLock::new())),
            link,
            address,
            None,
        )
    }

    /// A user's client.
    pub(super) fn somebody(
        user: Box<UserSocket>,
        link: &Arc<StompLink>,
        address: IpAddr,
        curfew: Option<Curfew>,
    ) -> Self {
        Self::new(Who::Somebody(user), link, address, curfew)
    }

    fn new(who: Who, link: &Arc<StompLink>, address: IpAddr, curfew: Option<Curfew>) -> Self {
        Self {
            who,
            link: link.clone(),
            address,
            listening: HashMap::new(),
            _curfew: curfew,
            places: Places::default(),
        }
    }

    /// It has said who it is. What it subscribed to before is shown to that user from here on.
    pub(super) fn become_somebody(&mut self, user: Box<UserSocket>) {
        if let Who::Nobody(_, revealed) = &self.who {
            // Whoever is somebody is so for good: there is nothing to be set twice.
            revealed.get_or_init(|| user.user());
        }
        self.who = Who::Somebody(user);
    }

    /// A subscription's socket.
    pub(super) fn subscription(
        &self,
        dialect: &'static dyn Dialect,
        subscription: &Arc<Subscription>,
    ) -> SocketRef {
        let carrier = Carrier::Subscription(subscription.clone());
        let queue = self.link.link().queue().clone();
        match &self.who {
            Who::Nobody(nobody, revealed) => {
                Socket::stomp_unknown(*nobody, revealed.clone(), dialect, carrier, queue)
            }
            Who::Somebody(user) => Socket::stomp(user.user(), None, dialect, carrier, queue),
        }
    }

    /// The user's socket, once it is known whose it is.
    pub(super) fn user(&self) -> Option<&UserSocket> {
        match &self.who {
            Who::Nobody(..) => None,
            Who::Somebody(user) => Some(user),
        }
    }

    /// The same, to do something with it.
    pub(super) fn user_mut(&mut self) -> Option<&mut UserSocket> {
        match &mut self.who {
            Who::Nobody(..) => None,
            Who::Somebody(user) => Some(user),
        }
    }

    /// The account that it has to have for what it asks.
    pub(super) fn account(&self) -> Result<&UserSocket, Rejection> {
        self.user()
            .filter(|user| !user.is_guest())
            .ok_or_else(|| Rejection::new(ErrorCode::Unauthorized, "log in first"))
    }

    /// Whose doings its own are counted with.
    pub(super) fn subject(&self) -> Subject {
        match self.user() {
            Some(user) => user.subject.clone(),
            None => guest_subject(self.address, None),
        }
    }
}
