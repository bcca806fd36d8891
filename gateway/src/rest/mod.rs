//! REST: the HTTP routes of sources 000, 001 and 003, health, and the documents that describe them.
//!
//! Owns paths, bodies, statuses and error shapes. Reads go straight to PostgreSQL; changes go through the ingress like everybody
//! else's, and the object that is answered is read back after the commit. Must never decide who may do what to a conversation:
//! the worker does, in order; here it is only asked who may read.

mod answer;
mod api;
mod auth;
mod caller;
mod chats;
mod conversations;
mod cors;
mod describe;
mod docs;
mod error;
mod extract;
mod form;
mod health;
mod messages;
mod page;
mod passwords;
mod request;
mod rooms;
mod routes;
mod rule;
mod shape;
mod system;
mod throttle;
mod users;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::error::Rejection;
use confab_shared::model::event::UserSignal;
use confab_shared::postgres::users::Account;
use sqlx::PgPool;

use crate::node::Node;
use crate::transport::admission::TrustedProxies;
use crate::transport::origin::AllowedOrigins;
use docs::Documents;
use error::ApiError;
use passwords::Passwords;

/// What the routes share.
struct Rest {
    node: Arc<Node>,
    passwords: Passwords,
    origins: AllowedOrigins,
    proxies: TrustedProxies,
    documents: Documents,
    started: Instant,
}

impl Rest {
    fn database(&self) -> &PgPool {
        &self.node.database
    }

    /// Counts that somebody is not who he says.
    fn not_believed(&self, reason: &str) {
        let failures = &self.node.metrics.auth_failures_total;
        failures.with_label_values(&["rest", reason]).inc();
    }

    /// Asks for a change and waits until it is committed. A repetition of the request is another change.
    async fn change(
        &self,
        conversation: ConversationId,
        actor: UserId,
        command: Command,
    ) -> Result<Outcome, Rejection> {
        self.node
            .ingress
            .request(CommandId::generate(), conversation, actor, command)
            .await
    }

    /// Says something to a user's sockets. It is a hint: whoever does not hear it finds out by asking.
    async fn signal(&self, user: UserId, signal: &UserSignal) {
        if let Err(error) = self.node.backplane.signal(user, signal).await {
            tracing::warn!(%error, %user, "a signal was not said; sockets will find out later");
        }
    }

    /// Whether somebody is seen as online.
    async fn sees(&self, account: &Account) -> bool {
        let connected = || {
            self.node
                .presence
                .connected(std::slice::from_ref(&account.id))
        };
        !account.appears_offline && connected().await.contains(&account.id)
    }

    /// How long a request may take.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(self.node.config.rest.timeout_seconds)
    }
}

/// All routes, with what they have in common around them.
pub fn router(node: Arc<Node>) -> anyhow::Result<Router> {
    let (routes, document) = routes::all(node.config.auth.guests).finish();
    let rest = Arc::new(Rest {
        passwords: Passwords::new(node.config.auth.password_concurrency),
        origins: AllowedOrigins::parse(&node.config.http.cors_origin),
        proxies: TrustedProxies::new(node.config.http.trusted_proxies()?),
        documents: Documents::new(&document).context("REST documents")?,
        started: Instant::now(),
        node,
    });
    Ok(routes
        .fallback(async || ApiError::no_route())
        .method_not_allowed_fallback(request::wrong_method)
        // The last layer is the outermost: what the inner ones refuse gets its body and its origin headers there too.
        .layer(from_fn(throttle::show))
        .layer(from_fn_with_state(rest.clone(), request::limit_time))
        .layer(from_fn_with_state(rest.clone(), cors::share))
        .layer(from_fn_with_state(rest.clone(), request::identify))
        .layer(from_fn_with_state(rest.clone(), request::count))
        .with_state(rest))
}
