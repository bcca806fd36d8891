//! /auth: registering, logging in and out, and how good passwords are checked.

use std::sync::Arc;

use axum::extract::State;
use confab_shared::model::error::ErrorCode;
use confab_shared::model::event::UserSignal;
use confab_shared::postgres::tokens;
use confab_shared::postgres::users::{self, Account, CreateUserError, NewUser};
use serde::Serialize;
use utoipa::ToSchema;

use super::Rest;
use super::answer::{Created, NoContent, Shown, shapes};
use super::error::ApiError;
use super::extract::{Caller, JsonBody};
use super::form::{Optional, Required, form};
use super::rule;
use super::shape::UserJson;
use super::throttle::Visitor;
use crate::limits::Class;

form! {
    /// What a registration brings.
    Registration {
        /// The e-mail address; upper and lower case are the same.
        "email" email: String = Required(rule::EMAIL),
        /// The handle, unique whatever its letter case.
        "username" username: String = Required(rule::USERNAME),
        /// The password.
        "password" password: String = Required(rule::NEW_PASSWORD),
        /// The name to display; the username if it is not said.
        "name" name: Option<String> = Optional(rule::NAME),
        /// Where the picture is.
        "avatar" avatar: Option<String> = Optional(rule::AVATAR),
    }
}

form! {
    /// What a login brings.
    Login {
        /// The e-mail address.
        "email" email: String = Required(rule::EMAIL),
        /// The password.
        "password" password: String = Required(rule::PASSWORD),
    }
}

form! {
    /// One password for another.
    PasswordChange {
        /// The password so far.
        "currentPassword" current: String = Required(rule::PASSWORD),
        /// The password from now on.
        "newPassword" new: String = Required(rule::NEW_PASSWORD),
    }
}

/// A token and whose it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Grant)]
pub(super) struct GrantJson<'a> {
    user: UserJson<'a>,
    /// For `Authorization: Bearer …`, and for sockets.
    access_token: &'a str,
    #[schema(example = "Bearer")]
    token_type: &'a str,
    /// In seconds.
    #[schema(example = 604_800)]
    expires_in: u64,
}

shapes!(GrantJson);

/// POST /auth/register
pub(super) async fn register(
    State(rest): State<Arc<Rest>>,
    visitor: Visitor,
    JsonBody(form): JsonBody<Registration>,
) -> Result<Created<GrantJson<'static>>, ApiError> {
    visitor.count(&rest, Class::Register).await?;
    let password_hash = rest.passwords.hash(form.password).await?;
    let new = NewUser {
        email: form.email,
        name: form.name.unwrap_or_else(|| form.username.clone()),
        username: form.username,
        avatar: form.avatar,
        password_hash,
    };
    let account = users::create(rest.database(), new).await?;
    let (token, expires_in) = issue(&rest, &account)?;
    // Nobody is connected as somebody who was not there until now.
    Ok(Created::of(&grant(&account, false, &token, expires_in)))
}

/// POST /auth/login
pub(super) async fn login(
    State(rest): State<Arc<Rest>>,
    visitor: Visitor,
    JsonBody(form): JsonBody<Login>,
) -> Result<Shown<GrantJson<'static>>, ApiError> {
    visitor.count(&rest, Class::LoginAddress).await?;
    visitor.count_login(&rest, &form.email).await?;
    let found = users::find_by_email(rest.database(), &form.email).await?;
    let (account, hash) = found
        .map(|found| (found.account, found.password_hash))
        .unzip();
    let matches = rest.passwords.matches(form.password, hash).await?;
    match account {
        Some(account) if matches => {
            let (token, expires_in) = issue(&rest, &account)?;
            let is_online = rest.sees(&account).await;
            Ok(Shown::of(&grant(&account, is_online, &token, expires_in)))
        }
        _ => {
            rest.not_believed("password");
            Err(ApiError::new(
                ErrorCode::Unauthorized,
                "wrong email or password",
            ))
        }
    }
}

/// POST /auth/logout
pub(super) async fn logout(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
) -> Result<NoContent, ApiError> {
    // A token that was checked has an id.
    let Some(jti) = caller.token.jti else {
        return Err(ApiError::internal("a token without an id was accepted"));
    };
    tokens::revoke(rest.database(), caller.id(), jti, caller.token.exp).await?;
    let signal = UserSignal::TokensRevoked {
        only: Some(jti),
        except: None,
    };
    rest.signal(caller.id(), &signal).await;
    Ok(NoContent)
}

/// PUT /auth/change-password
pub(super) async fn change_password(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    visitor: Visitor,
    JsonBody(form): JsonBody<PasswordChange>,
) -> Result<NoContent, ApiError> {
    // Whoever has somebody's token guesses no faster than somebody without.
    let Account {
        email, username, ..
    } = &caller.account;
    let login = email.as_ref().unwrap_or(username);
    visitor.count_login(&rest, login).await?;
    let wrong = || ApiError::field("currentPassword", "currentPassword is wrong");
    let old = tokens::password_hash(rest.database(), caller.id()).await?;
    let old = old.ok_or_else(wrong)?;
    if !rest
        .passwords
        .matches(form.current, Some(old.clone()))
        .await?
    {
        rest.not_believed("password");
        return Err(wrong());
    }
    let new = rest.passwords.hash(form.new).await?;
    let kept = caller.token.jti;
    if !tokens::change_password(rest.database(), caller.id(), &old, &new, kept).await? {
        // Another change came first.
        return Err(wrong());
    }
    let signal = UserSignal::TokensRevoked {
        only: None,
        except: kept,
    };
    rest.signal(caller.id(), &signal).await;
    Ok(NoContent)
}

fn issue(rest: &Rest, account: &Account) -> Result<(String, u64), ApiError> {
    let tokens = &rest.node.tokens;
    let token = tokens
        .issue(account.id, account.token_version)
        .map_err(|error| ApiError::internal(&format!("a token could not be issued: {error}")))?;
    Ok((token, tokens.lifetime().as_secs()))
}

fn grant<'a>(
    account: &'a Account,
    is_online: bool,
    access_token: &'a str,
    expires_in: u64,
) -> GrantJson<'a> {
    GrantJson {
        user: UserJson::seen(account, is_online),
        access_token,
        token_type: "Bearer",
        expires_in,
    }
}

impl From<CreateUserError> for ApiError {
    fn from(error: CreateUserError) -> Self {
        match error {
            CreateUserError::EmailTaken => Self::new(ErrorCode::Conflict, "this email is taken"),
            CreateUserError::UsernameTaken => {
                Self::new(ErrorCode::Conflict, "this username is taken")
            }
            CreateUserError::Database(error) => error.into(),
        }
    }
}
