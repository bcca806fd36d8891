//! Requests of sessions that live on other nodes.
//!
//! Where the owner is gone its sessions are over, and their clients are told so in the protocol's words, instead of being given a fresh
//! session of the same name: sockjs-client takes a second opening for a server that has lost its session, and would leave the fresh one behind.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use bytes::Bytes;
use confab_shared::id::NodeId;
use futures_util::stream;
use http::request::Parts;
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::endpoint::SockJs;
use super::form::Form;
use super::receive::ended;
use super::task::goodbye;
use crate::registry::{DirectoryUnavailable, SessionName};
use crate::session::DisconnectReason;
use crate::transport::application::MessageHandler;
use crate::transport::peers::PassOnError;
use crate::transport::peers::forward::Stream;
use crate::transport::sid::{SessionKey, Sid};

impl<M: MessageHandler> SockJs<M> {
    /// Takes a client's request that receives to the session's owner, and its answer back. None: the owner has no such session.
    pub(super) async fn elsewhere(
        &self,
        owner: NodeId,
        name: SessionName,
        form: Form,
        head: &Parts,
        client: SocketAddr,
    ) -> Option<Answer> {
        let (peers, session) = (&self.inner.parts.peers, sid(owner, name));
        let head = bare(head);
        let answered = if form.streams() {
            let most = self.inner.own.config.response_limit;
            match peers.stream(session, head, client.ip(), most).await {
                Ok((StatusCode::OK, stream)) => Ok(answer::streaming(form, carry(stream, form))),
                Ok((status, _)) => Ok(answer::failed(status)),
                Err(error) => Err(error),
            }
        } else {
            let answered = peers.receive(session, head, client.ip()).await;
            answered.map(|answer| answer.map(Body::new))
        };
        match answered {
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => None,
            Ok(answer) => Some(answer),
            Err(error) => Some(self.lost(name, form, &error)),
        }
    }

    /// What a request that receives is told whose session's owner was not reached.
    fn lost(&self, name: SessionName, form: Form, error: &PassOnError) -> Answer {
        match error {
            PassOnError::OwnerUnknown | PassOnError::OwnerSilent => {
                self.inner.owners.forget(name);
                ended(form, None)
            }
            PassOnError::Directory(_) => answer::failed(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Takes a client's messages to the session's owner. They are said once: whether an owner that does not answer has seen them is unknown.
    pub(super) async fn bring_elsewhere(
        &self,
        name: SessionName,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Answer {
        let (head, body) = request.into_parts();
        let owner = match self.look(name).await {
            Ok(Some(owner)) => owner,
            Ok(None) => return self.unknown(body),
            Err(error) => {
                tracing::debug!(%error, "nobody can say whose a session is");
                return answer::failed(StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let peers = &self.inner.parts.peers;
        let passed = peers.pass_on(sid(owner, name), bare(&head), body, client);
        let answer = match passed.await {
            Ok(answer) => answer.map(Body::new),
            Err(PassOnError::OwnerUnknown | PassOnError::OwnerSilent) => {
                answer::failed(StatusCode::NOT_FOUND)
            }
            Err(PassOnError::Directory(_)) => answer::failed(StatusCode::SERVICE_UNAVAILABLE),
        };
        if answer.status() == StatusCode::NOT_FOUND {
            self.inner.owners.forget(name);
        }
        answer
    }
}

impl<M> SockJs<M> {
    /// Which other node has a session, if one has.
    pub(super) async fn look(
        &self,
        name: SessionName,
    ) -> Result<Option<NodeId>, DirectoryUnavailable> {
        if let Some(owner) = self.inner.owners.get(name) {
            return Ok(Some(owner));
        }
        let found = self.inner.own.claims.find(name).await?;
        // If it is ours it has ended this moment, or is about to begin.
        let owner = found.filter(|owner| *owner != self.inner.parts.sids.node());
        if let Some(owner) = owner {
            self.inner.owners.note(name, owner);
        }
        Ok(owner)
    }
}

/// A session of another node, as requests that are passed on have it.
fn sid(owner: NodeId, name: SessionName) -> Sid {
    Sid {
        node: owner,
        key: SessionKey::of_number(name.number()),
    }
}

/// What of a request is passed on.
fn bare(head: &Parts) -> Parts {
    let (mut bare, ()) = Request::new(()).into_parts();
    bare.method = head.method.clone();
    bare.uri = head.uri.clone();
    bare
}

/// An owner's answer for its client. Where it breaks off, because the owner has died, the client is told that its session is over.
fn carry(stream: Stream, form: Form) -> Body {
    let bits = stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        match stream.next().await {
            Ok(Some(bytes)) => Some((Ok::<Bytes, Infallible>(bytes), Some(stream))),
            Ok(None) => None,
            Err(_) => {
                let last = form.dress(&goodbye(DisconnectReason::TransportError));
                Some((Ok(last), None))
            }
        }
    });
    Body::from_stream(bits)
}
