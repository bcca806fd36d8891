//! Accounts: the rows behind registration, login and the names that stand beside messages.
//!
//! Owns the reading and making of `users` rows. Must never know how a token or a password is checked.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::{PgPool, Row};

use super::conversations::MalformedCursor;
use crate::id::UserId;
use crate::model::account::{AccountRole, Profile};
use crate::model::content::parse_username;
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

impl From<Account> for Profile {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            username: account.username.into(),
            name: account.name.into(),
            avatar: account.avatar.map(Arc::from),
            account: account.role,
        }
    }
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

/// What somebody changes about themselves, checked for its form; what is none stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// The handle.
    pub username: Option<String>,
    /// The name to display.
    pub name: Option<String>,
    /// Where the picture is; an inner none takes it away.
    pub avatar: Option<Option<String>>,
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

/// These accounts and guests, in no particular order. Those that do not exist are left out.
pub async fn find_all(pool: &PgPool, ids: &[UserId]) -> Result<Vec<Account>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at
         FROM users WHERE id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await
}

/// Changes an account; none if there is none. Two that ask for one name at the same moment are told apart by the unique index.
pub async fn update(
    pool: &PgPool,
    id: UserId,
    change: ProfileChange,
) -> Result<Option<Account>, CreateUserError> {
    let account = sqlx::query_as(
        "UPDATE users SET username = COALESCE($2, username), name = COALESCE($3, name),
                          avatar = CASE WHEN $4 THEN $5 ELSE avatar END
         WHERE id = $1 AND role <> 'guest'
         RETURNING id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at",
    )
    .bind(id)
    .bind(change.username)
    .bind(change.name)
    .bind(change.avatar.is_some())
    .bind(change.avatar.flatten())
    .fetch_optional(pool)
    .await?;
    Ok(account)
}

/// Notes whether a user wants to be seen as offline. Whoever begins to was last seen now.
pub async fn set_appears_offline(
    pool: &PgPool,
    id: UserId,
    appears_offline: bool,
) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(
        "UPDATE users
         SET appears_offline = $2,
             last_seen_at = CASE WHEN $2 AND NOT appears_offline THEN date_trunc('milliseconds', now()) ELSE last_seen_at END
         WHERE id = $1 AND role <> 'guest'
         RETURNING id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at",
    )
    .bind(id)
    .bind(appears_offline)
    .fetch_optional(pool)
    .await
}

/// The place after an account that was found, from where the next page goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchCursor {
    /// Among those found by username, after this one, in lower case: whoever bore it may be called otherwise meanwhile.
    Username(String),
    /// Among those found by address, after this one. It says who it is, not the address: that is nobody else's business.
    Email(UserId),
}

impl fmt::Display for SearchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Username(name) => write!(f, "u_{name}"),
            Self::Email(user) => write!(f, "e_{user}"),
        }
    }
}

impl FromStr for SearchCursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        match text.split_once('_').ok_or(MalformedCursor)? {
            ("u", name) if name == name.to_lowercase() => parse_username(name)
                .map(Self::Username)
                .map_err(|_| MalformedCursor),
            ("e", user) => user.parse().map(Self::Email).map_err(|_| MalformedCursor),
            _ => Err(MalformedCursor),
        }
    }
}

/// The accounts whose username or e-mail address begins with `prefix` in whatever letter case: first those by username, in its order,
/// then the others, by address; and where the next page begins if there is one.
///
/// A page costs the same however many match. Of the addresses only so many are looked at, since their owners may have been found by
/// username: so a page may be short, or empty, and still have a next one.
pub async fn search(
    pool: &PgPool,
    prefix: &str,
    cursor: Option<SearchCursor>,
    limit: u32,
) -> Result<(Vec<Account>, Option<SearchCursor>), sqlx::Error> {
    let prefix = prefix.to_lowercase();
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let last_of = |found: &[Account]| {
        let last = found.last()?;
        Some(SearchCursor::Username(last.username.to_lowercase()))
    };
    let (mut found, after_email) = match &cursor {
        Some(SearchCursor::Email(user)) => (Vec::new(), email(pool, *user).await?),
        Some(SearchCursor::Username(after)) => {
            (by_username(pool, &prefix, after, limit).await?, None)
        }
        None => (by_username(pool, &prefix, "", limit).await?, None),
    };
    if found.len() > wanted {
        found.truncate(wanted);
        let next = last_of(&found);
        return Ok((found, next));
    }
    let looked_at = limit.saturating_add(1).saturating_mul(4);
    let after_email = after_email.unwrap_or_default();
    let candidates = by_email(pool, &prefix, &after_email, looked_at).await?;
    let mut next = match cursor {
        Some(SearchCursor::Email(_)) => cursor,
        _ => last_of(&found),
    };
    let mut more = candidates.len() == usize::try_from(looked_at).unwrap_or(usize::MAX);
    for account in candidates {
        let is_found_by_username = account.username.to_lowercase().starts_with(&prefix);
        if !is_found_by_username && found.len() == wanted {
            more = true;
            break;
        }
        next = Some(SearchCursor::Email(account.id));
        if !is_found_by_username {
            found.push(account);
        }
    }
    Ok((found, next.filter(|_| more)))
}

async fn by_username(
    pool: &PgPool,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Account>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at FROM users
         WHERE role <> 'guest' AND lower(username) ~>=~ $1 AND lower(username) ~<~ $2 AND lower(username) ~>~ $3
         ORDER BY lower(username) USING ~<~ LIMIT $4",
    )
    .bind(prefix)
    .bind(behind(prefix))
    .bind(after)
    .bind(i64::from(limit) + 1)
    .fetch_all(pool)
    .await
}

async fn by_email(
    pool: &PgPool,
    prefix: &str,
    after: &str,
    count: u32,
) -> Result<Vec<Account>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, email, username, name, avatar, role, token_version, appears_offline, last_seen_at, created_at FROM users
         WHERE email IS NOT NULL AND email ~>=~ $1 AND email ~<~ $2 AND email ~>~ $3
         ORDER BY email USING ~<~ LIMIT $4",
    )
    .bind(prefix)
    .bind(behind(prefix))
    .bind(after)
    .bind(i64::from(count))
    .fetch_all(pool)
    .await
}

/// What comes bytewise after everything that begins with a prefix.
fn behind(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

async fn email(pool: &PgPool, user: UserId) -> Result<Option<String>, sqlx::Error> {
    let found: Option<Option<String>> = sqlx::query_scalar("SELECT email FROM users WHERE id = $1")
        .bind(user)
        .fetch_optional(pool)
        .await?;
    Ok(found.flatten())
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
