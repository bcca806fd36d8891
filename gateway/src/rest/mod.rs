//! REST: the HTTP routes of sources 001 and 003, and health.
//!
//! Owns paths, bodies, statuses and error shapes. Reads go straight to PostgreSQL; changes go through the ingress like everybody
//! else's, and the object that is answered is read back after the commit. Must never decide who may do what to a conversation:
//! the worker does, in order; here it is only asked who may read.

mod auth;
mod chats;
mod conversations;
mod cors;
mod error;
mod extract;
mod fields;
mod health;
mod messages;
mod passwords;
mod request;
mod shape;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post, put};
use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::error::Rejection;
use sqlx::PgPool;

use crate::node::Node;
use crate::transport::origin::AllowedOrigins;
use error::ApiError;
use passwords::Passwords;

/// What the routes share.
struct Rest {
    node: Arc<Node>,
    passwords: Passwords,
    origins: AllowedOrigins,
    started: Instant,
}

impl Rest {
    fn database(&self) -> &PgPool {
        &self.node.database
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

    /// How long a request may take.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(self.node.config.rest.timeout_seconds)
    }
}

/// All routes, with what they have in common around them.
pub fn router(node: Arc<Node>) -> Router {
    let rest = Arc::new(Rest {
        passwords: Passwords::new(node.config.auth.password_concurrency),
        origins: AllowedOrigins::parse(&node.config.http.cors_origin),
        started: Instant::now(),
        node,
    });
    Router::new()
        .route("/auth/register", post(auth::register))
        .route("/auth/login", post(auth::login))
        .route("/auth/me", get(auth::me))
        .route(
            "/conversations",
            get(conversations::list).post(conversations::create),
        )
        .route("/conversations/{id}", get(conversations::show))
        .route("/messages", post(messages::send))
        .route("/messages/conversation/{id}", get(messages::list))
        .route("/messages/mark-as-read", put(messages::mark_as_read))
        .route(
            "/messages/{id}",
            put(messages::edit).delete(messages::delete),
        )
        .route("/chats/conversations", get(chats::list).post(chats::create))
        .route("/chats/conversations/{id}", get(chats::show))
        .route("/chats/conversations/{id}/messages", get(chats::messages))
        .route("/chats/conversations/{id}/read", post(chats::read))
        .route(
            "/chats/conversations/{id}/participants",
            post(chats::add_participants),
        )
        .route(
            "/chats/conversations/{id}/participants/{user}",
            axum::routing::delete(chats::remove_participant),
        )
        .route("/chats/conversations/{id}/leave", post(chats::leave))
        .route(
            "/chats/messages/{id}",
            axum::routing::delete(chats::delete_message),
        )
        .route("/health", get(health::all))
        .route("/health/db", get(health::database))
        .fallback(async || ApiError::no_route())
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        // The last layer is the outermost: what the inner ones refuse gets its body and its origin headers there too.
        .layer(from_fn_with_state(rest.clone(), request::limit_time))
        .layer(from_fn_with_state(rest.clone(), cors::share))
        .layer(from_fn(request::identify))
        .with_state(rest)
}
