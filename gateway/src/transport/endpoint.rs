//! The Engine.IO endpoint: checks a handshake, and starts a session or says why not.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use confab_gateway_protocol::engineio::{HandshakeError, PROTOCOL_VERSION};
use http::header::{
    CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::application::{EngineHandler, Handshake, query};
use super::origin::AllowedOrigins;
use super::sessions::Sessions;
use super::websocket;
use crate::config::EngineConfig;
use crate::hub::send_queue::SendQueue;
use crate::metrics::Metrics;

/// What joins a client's key to make the server's answer (RFC 6455, 1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Engine.IO v4 in front of a handler.
pub struct Endpoint<H> {
    inner: Arc<Inner<H>>,
}

impl<H> Clone for Endpoint<H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<H> {
    handler: H,
    config: EngineConfig,
    origins: AllowedOrigins,
    sessions: Sessions,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

/// What a connection holds while it is open; it goes with the session that takes the connection over.
pub type ConnectionGuard = Arc<dyn Send + Sync>;

impl<H: EngineHandler> Endpoint<H> {
    /// An endpoint. Its sessions are entered in `sessions` and run as `tasks`.
    pub fn new(
        handler: H,
        config: EngineConfig,
        origins: AllowedOrigins,
        sessions: Sessions,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                handler,
                config,
                origins,
                sessions,
                tasks,
                metrics,
            }),
        }
    }

    /// Answers a request to the endpoint.
    pub fn respond(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
        guard: ConnectionGuard,
    ) -> Response<Full<Bytes>> {
        match self.upgrade(request, remote, guard) {
            Ok(response) => response,
            Err(error) => refusal(error),
        }
    }

    fn upgrade(
        &self,
        mut request: Request<Incoming>,
        remote: SocketAddr,
        guard: ConnectionGuard,
    ) -> Result<Response<Full<Bytes>>, HandshakeError> {
        if !self.inner.origins.permits(request.headers()) {
            return Err(HandshakeError::Forbidden);
        }
        let uri = request.uri();
        // The reference server's order of checks: transport, then session, then method, then version.
        if query(uri, "transport").as_deref() != Some("websocket") {
            return Err(HandshakeError::TransportUnknown);
        }
        if query(uri, "sid").is_some() {
            return Err(HandshakeError::SessionUnknown);
        }
        if request.method() != Method::GET {
            return Err(HandshakeError::BadHandshakeMethod);
        }
        let accept = websocket_accept(request.headers()).ok_or(HandshakeError::BadRequest)?;
        if query(uri, "EIO").as_deref() != Some(PROTOCOL_VERSION) {
            return Err(HandshakeError::UnsupportedProtocolVersion);
        }
        let upgraded = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let handshake = Arc::new(Handshake {
            uri: head.uri,
            headers: head.headers,
            remote,
        });
        let endpoint = self.clone();
        self.inner
            .tasks
            .spawn(async move { endpoint.session(upgraded, handshake, guard).await });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        Ok(response)
    }

    async fn session(self, upgraded: OnUpgrade, handshake: Arc<Handshake>, guard: ConnectionGuard) {
        let connection = match upgraded.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a client left during its upgrade");
                return;
            }
        };
        let Ok(parts) = connection.downcast::<TokioIo<TcpStream>>() else {
            tracing::error!("an upgraded connection is not the TCP stream it began as");
            return;
        };
        let queue = Arc::new(SendQueue::new(self.inner.config.send_queue_bytes));
        let registration = self.inner.sessions.register(&queue);
        let reason = websocket::serve(
            parts.io.into_inner(),
            parts.read_buf,
            handshake,
            &self.inner.handler,
            &self.inner.config,
            queue,
            &random_id(),
        )
        .await;
        self.inner
            .metrics
            .sessions_closed
            .with_label_values(&[reason.as_str()])
            .inc();
        tracing::debug!(%reason, "session closed");
        drop((registration, guard));
    }
}

/// The answer to a refused handshake.
fn refusal(error: HandshakeError) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(error.body()));
    *response.status_mut() =
        StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The server's answer to a WebSocket handshake, if it is one (RFC 6455, 4.2.1).
fn websocket_accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let version = headers.get(SEC_WEBSOCKET_VERSION)?;
    if !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") || version != "13" {
        return None;
    }
    let key = headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    STANDARD
        .decode(key)
        .ok()
        .filter(|nonce| nonce.len() == 16)?;
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(WEBSOCKET_GUID);
    HeaderValue::try_from(STANDARD.encode(hash.finalize())).ok()
}

/// A random id of 20 characters, as session and socket ids are.
pub fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(&Uuid::new_v4().as_bytes()[..15])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(
            SEC_WEBSOCKET_KEY,
            HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
        );
        assert_eq!(
            websocket_accept(&headers).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
        assert!(websocket_accept(&headers).is_none());
    }
}
