//! A socket that gave no token: it may say who it is, or enter a public room where guests are welcome.

use std::net::IpAddr;
use std::time::Duration;

use confab_shared::model::content::parse_username;
use confab_shared::model::error::{ErrorCode, Rejection};
use tokio::task::AbortHandle;

use crate::dialect::{self, Confirmation, Dialect, Namespace};
use crate::limits::Subject;
use crate::session::DisconnectReason;
use crate::transport::application::{Incoming, Link};
use crate::transport::socketio::disconnect_frame;

/// What a socket speaks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spoken {
    /// It said so, or its first event did.
    Chosen(&'static dyn Dialect),
    /// Its namespace's default, until its first event.
    Default(&'static dyn Dialect),
}

impl Spoken {
    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Chosen(dialect) | Self::Default(dialect) => dialect,
        }
    }
}

/// A socket that has not said who it is.
#[derive(Debug)]
pub struct AnonymousSocket {
    namespace: Namespace,
    spoken: Spoken,
    link: Link,
    /// Where its client is.
    address: IpAddr,
    patience: Option<AbortHandle>,
}

impl AnonymousSocket {
    /// A socket that is put out, with its session, when it is still there after `patience`, if that is bounded.
    pub(super) fn new(
        namespace: Namespace,
        spoken: Spoken,
        link: Link,
        address: IpAddr,
        patience: Option<Duration>,
    ) -> Self {
        let patience = patience.map(|patience| {
            let way = link.clone();
            let timer = tokio::spawn(async move {
                tokio::time::sleep(patience).await;
                way.push(disconnect_frame(namespace.as_str()));
                way.close(DisconnectReason::Unauthenticated);
            });
            timer.abort_handle()
        });
        Self {
            namespace,
            spoken,
            link,
            address,
            patience,
        }
    }

    /// Where its client is.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// The namespace it joined.
    pub(super) fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The way to its client.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The dialect of an event; the first one that a dialect knows settles the socket's.
    pub(super) fn dialect_of(&mut self, event: &str) -> &'static dyn Dialect {
        if let Spoken::Default(default) = self.spoken
            && let Some(spoken) = dialect::speaking(event, default)
        {
            self.spoken = Spoken::Chosen(spoken);
        }
        self.spoken.dialect()
    }

    /// Its dialect, once that is settled.
    pub(super) fn chosen(&self) -> Option<&'static dyn Dialect> {
        match self.spoken {
            Spoken::Chosen(dialect) => Some(dialect),
            Spoken::Default(_) => None,
        }
    }

    /// An event is refused.
    pub(super) fn reject(&self, event: &Incoming<'_>, rejection: &Rejection) {
        let dialect = self.spoken.dialect();
        self.link
            .push(dialect.rejected(self.namespace, event.ack_id, event.name, rejection));
    }

    /// It has to say who it is first.
    pub(super) fn turn_away(&self, event: &Incoming<'_>) {
        self.reject(
            event,
            &Rejection::new(ErrorCode::Unauthorized, "log in first"),
        );
    }

    /// It goes without ever having said who it is.
    pub(super) fn let_go(&self, event: &Incoming<'_>) {
        let dialect = self.spoken.dialect();
        let said = dialect.confirmed(self.namespace, event.ack_id, Confirmation::LoggedOut);
        self.link.push(said);
        self.link.push(disconnect_frame(self.namespace.as_str()));
        self.link.close(DisconnectReason::LoggedOut);
    }
}

impl Drop for AnonymousSocket {
    fn drop(&mut self) {
        // It left by itself, or is somebody now: its session may go on.
        if let Some(patience) = &self.patience {
            patience.abort();
        }
    }
}

/// Whose doings a guest's are counted with, by the name that it has or wants to have. Whoever wants none is its address until one is made:
/// that would be another each time.
pub(super) fn guest_subject(address: IpAddr, name: Option<&str>) -> Subject {
    match name.map(parse_username) {
        Some(Ok(name)) => Subject::guest(address, &name),
        Some(Err(_)) | None => Subject::Address(address),
    }
}
