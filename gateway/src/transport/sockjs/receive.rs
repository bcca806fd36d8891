//! Requests that receive, and the sessions that begin with one.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use confab_shared::id::NodeId;
use http::StatusCode;
use http::request::Parts;
use tokio::time::Instant;
use tracing::Instrument;

use super::answer::{self, Answer};
use super::door::{Door, Turned};
use super::endpoint::{Inner, SockJs};
use super::form::Form;
use super::table::Entry;
use super::task::{self, goodbye};
use crate::hub::send_queue::SendQueue;
use crate::registry::{Claims, DirectoryUnavailable, SessionName};
use crate::session::DisconnectReason;
use crate::transport::admission::Admitted;
use crate::transport::application::{Handshake, MessageHandler};
use crate::transport::sessions::{Place, Registration};

/// For how long a session is waited for that a node has claimed and not opened yet: no longer than a claim may take.
const BEGINNING: Duration = Duration::from_secs(2);
/// After how long such a session is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often it is tried to release the claim of a session that is over.
const RELEASES: u32 = 5;
/// How long after one such try the next one comes.
const RELEASE_AGAIN: Duration = Duration::from_secs(1);

impl<M: MessageHandler> SockJs<M> {
    /// A client's request that receives.
    pub(super) async fn receive(
        &self,
        name: SessionName,
        form: Form,
        head: Parts,
        client: SocketAddr,
    ) -> Answer {
        let until = Instant::now() + BEGINNING;
        loop {
            if let Some(door) = self.inner.table.find(name) {
                return self.here(&door, form).await;
            }
            let owner = match self.look(name).await {
                Ok(Some(owner)) => owner,
                Ok(None) => match self.begin(name, form, &head, client).await {
                    Begun::Here(door) => return self.here(&door, form).await,
                    Begun::Elsewhere(owner) => owner,
                    Begun::Not(refused) => return refused,
                },
                Err(error) => return unavailable(&error),
            };
            if let Some(answer) = self.elsewhere(owner, name, form, &head, client).await {
                return answer;
            }
            // It has ended there, and then it is whoever's claims it now; or it is just about to begin there.
            self.inner.owners.forget(name);
            if Instant::now() >= until {
                return answer::failed(StatusCode::SERVICE_UNAVAILABLE);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A request that receives from a session of this node.
    pub(super) async fn here(&self, door: &Door, form: Form) -> Answer {
        match door.receive(form, self.inner.own.config.response_limit) {
            Ok(chunks) if form.streams() => answer::frames(form, chunks),
            Ok(mut chunks) => match chunks.recv().await {
                Some(chunk) => answer::frame(form, chunk),
                None => ended(form, door.last_word()),
            },
            Err(Turned::Overlap) => answer::frame(form, task::overlap(form)),
            Err(Turned::Over(last)) => ended(form, Some(last)),
        }
    }

    /// The first request of a session that is nobody's, as far as was to be seen. Whether it may begin is asked before it is claimed; from then
    /// on it does not matter whether the client is still there, so that each claim comes to have a session or is released.
    async fn begin(
        &self,
        name: SessionName,
        form: Form,
        head: &Parts,
        client: SocketAddr,
    ) -> Begun {
        let parts = &self.inner.parts;
        let admitted = match parts.admit(client.ip()) {
            Ok(admitted) => admitted,
            Err(refused) => return Begun::Not(refused.response().map(Body::new)),
        };
        let handshake = Arc::new(Handshake::new(head, client));
        let session = self.clone();
        let beginning = parts
            .tasks
            .spawn(async move { session.claim(name, form, handshake, admitted).await });
        // It ends early only with the process.
        beginning
            .await
            .unwrap_or_else(|_| Begun::Not(answer::failed(StatusCode::SERVICE_UNAVAILABLE)))
    }

    async fn claim(
        self,
        name: SessionName,
        form: Form,
        handshake: Arc<Handshake>,
        admitted: (Place, Admitted),
    ) -> Begun {
        match self.inner.own.claims.claim(name).await {
            Ok(owner) if owner == self.node() => {
                Begun::Here(self.open(name, form, handshake, admitted))
            }
            Ok(owner) => {
                self.inner.owners.note(name, owner);
                Begun::Elsewhere(owner)
            }
            Err(error) => {
                // It may have been made all the same. If it is a session's by now, it is not this request's to give up.
                if self.inner.table.find(name).is_none() {
                    let claims = &*self.inner.own.claims;
                    release(claims, name, RELEASE_AGAIN, std::future::ready(())).await;
                }
                Begun::Not(unavailable(&error))
            }
        }
    }

    /// Opens a session that this node has claimed.
    fn open(
        &self,
        name: SessionName,
        form: Form,
        handshake: Arc<Handshake>,
        admitted: (Place, Admitted),
    ) -> Arc<Door> {
        let parts = &self.inner.parts;
        let queue = Arc::new(SendQueue::new(parts.config.send_queue_bytes));
        let (door, brought) = Door::new(queue.clone());
        let door = Arc::new(door);
        let entry = match self.inner.table.enter(name, door.clone()) {
            Ok(entry) => entry,
            // Two first requests at once.
            Err(door) => return door,
        };
        let (key, _) = parts.sids.mint();
        handshake.opened(key);
        let span = handshake.span().clone();
        let registration = parts.sessions.register(key, &queue, None).counted(
            &parts.metrics,
            "sockjs",
            form.as_str(),
        );
        let session = self.clone();
        parts.tasks.spawn(async move {
            let Inner { parts, own, .. } = &*session.inner;
            let served = task::serve(handshake, &parts.handler, &own.config, &entry.door, brought);
            let reason = served.await;
            session
                .ended(name, reason, entry, registration, admitted)
                .instrument(span)
                .await;
        });
        door
    }

    /// A session is over. Its name stays taken for a while: whoever still comes with it is told why.
    async fn ended(
        &self,
        name: SessionName,
        reason: DisconnectReason,
        entry: Entry,
        registration: Registration,
        admitted: (Place, Admitted),
    ) {
        self.inner.parts.ended(reason, registration);
        // A node that leaves does not wait for that.
        let told = tokio::time::sleep(self.inner.own.config.disconnect_delay());
        tokio::select! {
            () = told => {}
            () = self.inner.parts.peers.draining() => {}
        }
        // Before the name leaves the table: nobody here can have claimed it anew by then. While it is claimed and has no session, requests for
        // it at other nodes are waited for in vain.
        let claims = &*self.inner.own.claims;
        let hurry = self.inner.parts.peers.draining();
        release(claims, name, RELEASE_AGAIN, hurry).await;
        drop(entry);
        // What has ended takes room until here, of the node's and of what its client may have.
        drop(admitted);
    }
}

/// Gives a claim up; if that fails, a few times more, with pauses in between, unless there is a hurry. What is not released lapses by itself.
async fn release(
    claims: &dyn Claims,
    name: SessionName,
    pause: Duration,
    hurry: impl Future<Output = ()>,
) {
    let mut hurry = pin!(hurry);
    for _ in 1..RELEASES {
        let Err(error) = claims.release(name).await else {
            return;
        };
        tracing::debug!(%error, "a session's claim was not released yet");
        tokio::select! {
            biased;
            () = &mut hurry => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Err(error) = claims.release(name).await {
        tracing::debug!(%error, "a session's claim was not released");
    }
}

/// Where a session has begun, if it has.
enum Begun {
    Here(Arc<Door>),
    /// Another node was faster.
    Elsewhere(NodeId),
    /// Nowhere, and this is what its client is told.
    Not(Answer),
}

fn unavailable(error: &DirectoryUnavailable) -> Answer {
    tracing::debug!(%error, "nobody can say whose a session is");
    answer::failed(StatusCode::SERVICE_UNAVAILABLE)
}

/// A request that receives is told that its session is over.
pub(super) fn ended(form: Form, last: Option<Bytes>) -> Answer {
    let last = last.unwrap_or_else(|| goodbye(DisconnectReason::TransportError));
    answer::frame(form, form.whole(&last))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use futures_util::future::{BoxFuture, FutureExt};

    use super::*;
    use crate::chat::Chat;
    use crate::config::SockJsConfig;
    use crate::registry::Renewed;
    use crate::transport::sockjs::door::Delivery;
    use crate::transport::stomp::Stomp;
    use tokio::sync::mpsc;

    fn size_of_session<'a, F: Future>(
        _serve: impl Fn(
            Arc<Handshake>,
            &'a Stomp<Chat>,
            &'a SockJsConfig,
            &'a Door,
            mpsc::Receiver<Delivery>,
        ) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// Says no for a while.
    struct Moody {
        refusals: AtomicU32,
        released: AtomicU32,
    }

    impl Claims for Moody {
        fn claim(&self, _: SessionName) -> BoxFuture<'_, Result<NodeId, DirectoryUnavailable>> {
            std::future::pending().boxed()
        }

        fn find(
            &self,
            _: SessionName,
        ) -> BoxFuture<'_, Result<Option<NodeId>, DirectoryUnavailable>> {
            std::future::pending().boxed()
        }

        fn renew<'a>(&'a self, _: &'a [SessionName]) -> BoxFuture<'a, Renewed> {
            std::future::pending().boxed()
        }

        fn release(&self, _: SessionName) -> BoxFuture<'_, Result<(), DirectoryUnavailable>> {
            let left = self.refusals.load(Relaxed);
            if left > 0 {
                self.refusals.store(left - 1, Relaxed);
                return std::future::ready(Err(DirectoryUnavailable::Silent)).boxed();
            }
            self.released.fetch_add(1, Relaxed);
            std::future::ready(Ok(())).boxed()
        }
    }

    #[tokio::test]
    async fn a_claim_is_released_if_that_can_be_done_soon() {
        for (refusals, is_hurried, released, left) in [
            (0, false, 1, 0),
            (RELEASES - 1, false, 1, 0),
            (u32::MAX, false, 0, u32::MAX - RELEASES),
            (1, true, 0, 0),
        ] {
            let claims = Moody {
                refusals: AtomicU32::new(refusals),
                released: AtomicU32::new(0),
            };
            let hurry = async {
                if !is_hurried {
                    std::future::pending::<()>().await;
                }
            };
            release(&claims, SessionName::of("a"), Duration::ZERO, hurry).await;
            let came = (claims.released.load(Relaxed), claims.refusals.load(Relaxed));
            assert_eq!(came, (released, left), "{refusals} {is_hurried}");
        }
    }

    #[test]
    fn a_session_that_waits_takes_little_room() {
        let size = size_of_session(task::serve::<Stomp<Chat>>);
        assert!(size < 4_096, "{size}");
    }
}
