//! Accounts: the rows behind registration, login and the names that stand beside messages.
//!
//! Owns the reading and making of `users` rows. Must never know how a token or a password is checked.

use std::sync::Arc;

use sqlx::{PgPool, Row};

use crate::id::UserId;
use crate::model::account::{AccountRole, Profile};
use crate::model::timestamp::Timestamp;

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    /// Whose.
    pub id: UserId,
    /// In lower case; guests have none.
    pub email: Option<String>,
    /// The unique handle.
    pub username: String,
    /// The name to display.
    pub name: String,
    /// Where the picture is, if there is one.
    pub avatar: Option<String>,
    /// What the account may do.
    pub role: AccountRole,
    /// Under which version its tokens are issued: see [`tokens`](super::tokens).
    pub token_version: i32,
    /// Whether the user wants to be seen as offline.
    pub appears_offline: bool,
    /// When the user was last there.
    pub last_seen_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a registration brings, checked for its form.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// In lower case.
    pub email: String,
    /// The handle asked for.
    pub username: String,
    /// The name to display.
    pub name: String,
    /// Where the picture is, if there is one.
    pub avatar: Option<String>,
    /// The argon2id hash, in PHC format.
    pub password_hash: String,
}

/// Why an account was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateUserError {
    /// Another account has the e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Another account has the username, perhaps in other letter case.
    #[error("the username is taken")]
    UsernameTaken,
    /// PostgreSQL did not answer as it should.
    #[error("database: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for CreateUserError {
    fn from(error: sqlx::Error) -> Self {
        match error
            .as_database_error()
            .and_then(|refused| refused.constraint())
        {
            Some("users_email") => Self::EmailTaken,
            Some("users_username") => Self::UsernameTaken,
            _ => Self::Database(error),
        }
    }
}

/// What a login is checked against.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The account that logs in if the password matches.
    pub account: Account,
    /// The argon2id hash, in PHC format.
    pub password_hash: String,
}

/// Makes an account. Two that ask for one name at the same moment are told apart by the unique indexes.
pub async fn create(pool: &PgPool, user: NewUser) -> Result<Account, CreateUserError> {
    let account = sqlx::query_as(
        "INSERT INTO users (id, email, username, name, avatar, password_hash) VALUES ($1, $2, $3, $4, $5, $6)
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

/// The account with an e-mail address (in lower case) and the hash of its password.
pub async fn find_by_email(pool: &PgPool, email: &str) -> Result<Option<Credentials>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at, password_hash
         FROM users WHERE email = $1 AND password_hash IS NOT NULL",
    )
    .bind(email)
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        Ok(Credentials {
            account: sqlx::FromRow::from_row(&row)?,
            password_hash: row.try_get("password_hash")?,
        })
    })
    .transpose()
}

/// An account by its id.
pub async fn find(pool: &PgPool, id: UserId) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at FROM users WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// Notes that these users are there now. For users whose going a gateway sees, and for guests as long as they stay: one that nobody
/// has seen for an hour may be removed.
pub async fn seen(pool: &PgPool, users: &[UserId]) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET last_seen_at = now() WHERE id = ANY($1)")
        .bind(users)
        .execute(pool)
        .await?;
    Ok(())
}

/// A user as others see them.
pub async fn profile(pool: &PgPool, id: UserId) -> Result<Option<Profile>, sqlx::Error> {
    let row: Option<(UserId, String, String, Option<String>, AccountRole)> =
        sqlx::query_as("SELECT id, username, name, avatar, role FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(pool)
            .await?;
    Ok(row.map(|(id, username, name, avatar, account)| Profile {
        id,
        username: username.into(),
        name: name.into(),
        avatar: avatar.map(Arc::from),
        account,
    }))
}
