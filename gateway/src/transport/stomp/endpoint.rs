//! The STOMP endpoint: says what a request is, and opens the sessions that raw WebSockets carry.

use std::net::SocketAddr;
use std::sync::Arc;

use confab_gateway_protocol::stomp::Version;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::Stomp;
use crate::config::SockJsConfig;
use crate::hub::send_queue::SendQueue;
use crate::registry::Claims;
use crate::transport::admission::Admitted;
use crate::transport::answer::{self, Answer};
use crate::transport::application::{Handshake, StompApplication};
use crate::transport::endpoint::{ConnectionGuard, EndpointParts, too_large};
use crate::transport::sessions::Place;
use crate::transport::sockjs::{SockJs, SockJsParts};
use crate::transport::{upgrade, websocket};

/// STOMP at a path.
pub struct StompEndpoint<A> {
    inner: Arc<EndpointParts<Stomp<A>>>,
    path: Arc<str>,
}

impl<A> Clone for StompEndpoint<A> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            path: self.path.clone(),
        }
    }
}

/// What a request at the endpoint's path is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    /// It opens a raw WebSocket.
    WebSocket {
        /// What proves to the client that we know what it wants.
        accept: HeaderValue,
    },
    /// Nothing that there is.
    Unknown,
}

/// What a request is, by the part of its path that follows the endpoint's.
fn route<B>(request: &Request<B>, behind: &str) -> Route {
    match behind {
        "" | "/" | "/websocket" if request.method() == Method::GET => {
            match upgrade::accept_key(request.headers()) {
                Some(accept) => Route::WebSocket { accept },
                None => Route::Unknown,
            }
        }
        _ => Route::Unknown,
    }
}

impl<A: StompApplication> StompEndpoint<A> {
    /// STOMP at this path.
    pub fn new(parts: EndpointParts<Stomp<A>>, path: &str) -> Self {
        Self {
            inner: Arc::new(parts),
            path: path.into(),
        }
    }

    /// Whether a request with this path is for the endpoint.
    pub fn is_at(&self, path: &str) -> bool {
        self.behind(path).is_some()
    }

    /// Whether a request opens a raw WebSocket here. What does not may be SockJS' business.
    pub fn opens<B>(&self, request: &Request<B>) -> bool {
        let behind = self.behind(request.uri().path());
        matches!(
            behind.map(|behind| route(request, behind)),
            Some(Route::WebSocket { .. })
        )
    }

    /// SockJS at the same path, with the same sessions in it.
    pub fn sockjs(&self, config: SockJsConfig, claims: Arc<dyn Claims>) -> SockJs<Stomp<A>> {
        let own = SockJsParts {
            config,
            path: self.path.clone(),
            claims,
        };
        SockJs::new(self.inner.clone(), own)
    }

    /// Answers a client's request.
    pub fn respond(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        if let Some(status) = too_large(&request) {
            return answer::failed(status);
        }
        if !self.inner.origins.permits(request.headers()) {
            return answer::failed(StatusCode::FORBIDDEN);
        }
        let client = self.inner.proxies.client(remote, request.headers());
        let client = SocketAddr::new(client, remote.port());
        let behind = self.behind(request.uri().path()).unwrap_or_default();
        match route(&request, behind) {
            Route::WebSocket { accept } => self.open(request, accept, client, guard),
            Route::Unknown => answer::failed(StatusCode::NOT_FOUND),
        }
    }

    /// What follows the endpoint's path, if it begins with that.
    fn behind<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&*self.path)
            .filter(|behind| behind.is_empty() || behind.starts_with('/'))
    }

    /// Opens a session over a raw WebSocket.
    fn open(
        &self,
        mut request: Request<Incoming>,
        accept: HeaderValue,
        client: SocketAddr,
        guard: ConnectionGuard,
    ) -> Answer {
        let admitted = match self.inner.admit(client.ip()) {
            Ok(admitted) => admitted,
            Err(refused) => return refused.response(),
        };
        let subprotocol = subprotocol(request.headers());
        let upgraded = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let handshake = Arc::new(Handshake::new(&head, client));
        let endpoint = self.clone();
        self.inner.tasks.spawn(async move {
            endpoint
                .over_websocket(upgraded, handshake, guard, admitted)
                .await;
        });
        let mut answer = upgrade::switching(accept);
        if let Some(subprotocol) = subprotocol {
            answer
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        answer
    }

    async fn over_websocket(
        self,
        upgraded: OnUpgrade,
        handshake: Arc<Handshake>,
        guard: ConnectionGuard,
        admitted: (Place, Admitted),
    ) {
        let Some(connection) = upgrade::connection(upgraded).await else {
            return;
        };
        let (key, _) = self.inner.sids.mint();
        handshake.opened(key);
        let span = handshake.span().clone();
        let queue = Arc::new(SendQueue::new(self.inner.config.send_queue_bytes));
        let registration = self.inner.sessions.register(key, &queue, None).counted(
            &self.inner.metrics,
            "stomp",
            "websocket",
        );
        let EndpointParts {
            handler, config, ..
        } = &*self.inner;
        let reason =
            websocket::serve_messages(connection, handshake, handler, config, queue, admitted)
                .await;
        span.in_scope(|| self.inner.ended(reason, registration));
        drop(guard);
    }
}

/// The best of the subprotocols that a client offers. Whoever offers none, or only others, is not told one, and may speak STOMP all the
/// same: CONNECT is where the version is agreed on.
fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|value| value.to_str().ok());
    let best = Version::best_of_subprotocols(offered)?;
    Some(HeaderValue::from_static(best.subprotocol()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Chat;

    fn size_of_task<A, F: Future>(
        _serve: impl Fn(
            StompEndpoint<A>,
            OnUpgrade,
            Arc<Handshake>,
            ConnectionGuard,
            (Place, Admitted),
        ) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_that_waits_takes_little_room() {
        let size = size_of_task(StompEndpoint::<Chat>::over_websocket);
        assert!(size < 4_096, "{size}");
    }

    #[test]
    fn the_best_subprotocol_is_chosen_and_others_are_passed_over() {
        let chosen = |offered: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in offered {
                headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap());
            }
            subprotocol(&headers)
        };
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["mqtt"]), None);
        let best = chosen(&["v10.stomp, v12.stomp, v11.stomp"]).unwrap();
        assert_eq!(best, "v12.stomp");
        assert_eq!(chosen(&["mqtt", "v11.stomp"]).unwrap(), "v11.stomp");
    }
}
