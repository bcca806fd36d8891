//! Admins: made by whoever runs the deployment, never by a request.

use sqlx::PgPool;

use super::users::{Account, CreateUserError, NewUser};
use crate::id::UserId;

/// Makes an account that is an admin.
pub async fn create(pool: &PgPool, user: NewUser) -> Result<Account, CreateUserError> {
    let account = sqlx::query_as(
        "INSERT INTO users (id, email, username, name, avatar, password_hash, role) VALUES ($1, $2, $3, $4, $5, $6, 'admin')
         RETURNING id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at",
    )
    .bind(UserId::generate())
    .bind(user.email)
    .bind(user.username)
    .bind(user.name)
    .bind(user.avatar)
    .bind(user.password_hash)
    .fetch_one(pool)
    .await?;
    Ok(account)
}

/// Makes an admin of the account with an e-mail address (in lower case). None if there is no such account.
pub async fn promote(pool: &PgPool, email: &str) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(
        "UPDATE users SET role = 'admin' WHERE email = $1 AND role <> 'guest'
         RETURNING id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at",
    )
    .bind(email)
    .fetch_optional(pool)
    .await
}
