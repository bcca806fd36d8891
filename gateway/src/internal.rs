//! The internal listener: operators are answered from the process' first moment, other nodes as soon as there are sessions for them to reach.
//!
//! It is served before the node has started, which may take as long as PostgreSQL or Redis are away, and until the last session has left.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::doors::Doors;
use crate::http::accept::{self, AcceptConfig};
use crate::transport::endpoint::ConnectionGuard;

/// The internal listener, being served. Cheap to clone.
#[derive(Clone, Default)]
pub struct Internal {
    doors: Arc<OnceLock<Doors>>,
}

impl Internal {
    /// Serves `listener` until `stop`. What is not for sessions is answered by `operations`.
    pub fn serve(
        listener: TcpListener,
        config: AcceptConfig,
        operations: Router,
        stop: CancellationToken,
    ) -> Self {
        let internal = Self::default();
        let answering = internal.clone();
        let respond = move |request, _, guard| {
            let (internal, operations) = (answering.clone(), operations.clone());
            async move { internal.answer(operations, request, guard).await }
        };
        // Whatever is under way on it when the process ends is of no use to anybody.
        let connections = TaskTracker::new();
        tokio::spawn(accept::serve(
            listener,
            config,
            None,
            respond,
            stop,
            connections,
        ));
        internal
    }

    /// From now on other nodes reach these sessions.
    pub fn open(&self, doors: Doors) {
        // Once open they stay: there is one node in a process.
        self.doors.get_or_init(|| doors);
    }

    /// The answer to another gateway, or to whoever runs this one. Before there are doors, a session that somebody looks for here is one of a
    /// node that is gone, and not found.
    async fn answer(
        &self,
        operations: Router,
        request: Request<Incoming>,
        guard: ConnectionGuard,
    ) -> Response<Body> {
        let request = match self.doors.get() {
            Some(doors) => match doors.respond_to_peer(request, guard).await {
                Ok(response) => return response,
                Err(request) => request,
            },
            None => request,
        };
        answer(operations, request.map(Body::new)).await
    }
}

/// A router's answer.
pub async fn answer(router: Router, request: Request<Body>) -> Response<Body> {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
