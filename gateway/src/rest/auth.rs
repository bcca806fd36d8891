//! /auth: registering, logging in, and who one is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use confab_shared::model::content::{parse_avatar, parse_email, parse_name, parse_username};
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::postgres::users::{self, Account, CreateUserError, NewUser};
use serde::Serialize;

use super::Rest;
use super::error::ApiError;
use super::extract::{Caller, JsonBody};
use super::shape::UserJson;

/// The shortest password, in characters.
const MIN_PASSWORD_CHARS: usize = 8;
/// The longest password, in characters.
const MAX_PASSWORD_CHARS: usize = 128;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantJson<'a> {
    user: UserJson<'a>,
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
}

/// POST /auth/register
pub(super) async fn register(
    State(rest): State<Arc<Rest>>,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let email = body.text("email", parse_email);
    let username = body.text("username", parse_username);
    let password = body.text("password", parse_password);
    let name = body.optional_text("name", |text| parse_name("name", text));
    let avatar = body.optional_text("avatar", parse_avatar);
    let (email, username, password, name, avatar) =
        body.finish((email, username, password, name, avatar))?;
    let password_hash = rest.passwords.hash(password).await?;
    let name = name.unwrap_or_else(|| username.clone());
    let account = users::create(
        rest.database(),
        NewUser {
            email,
            username,
            name,
            avatar,
            password_hash,
        },
    )
    .await?;
    Ok((StatusCode::CREATED, grant(&rest, &account)?).into_response())
}

/// POST /auth/login
pub(super) async fn login(
    State(rest): State<Arc<Rest>>,
    JsonBody(mut body): JsonBody,
) -> Result<Response, ApiError> {
    let email = body.text("email", parse_email);
    let password = body.text("password", |text| Ok(text.to_owned()));
    let (email, password) = body.finish((email, password))?;
    let found = users::find_by_email(rest.database(), &email).await?;
    let (account, hash) = found
        .map(|found| (found.account, found.password_hash))
        .unzip();
    let matches = rest.passwords.matches(password, hash).await?;
    match account {
        Some(account) if matches => grant(&rest, &account),
        _ => Err(ApiError::new(
            ErrorCode::Unauthorized,
            "wrong email or password",
        )),
    }
}

/// GET /auth/me
pub(super) async fn me(caller: Caller) -> Response {
    Json(UserJson::from(&caller.0)).into_response()
}

fn grant(rest: &Rest, account: &Account) -> Result<Response, ApiError> {
    let access_token = rest
        .node
        .tokens
        .issue(account.id, account.token_version)
        .map_err(|error| ApiError::internal(&format!("a token could not be issued: {error}")))?;
    let expires_in = rest.node.tokens.lifetime().as_secs();
    Ok(Json(GrantJson {
        user: account.into(),
        access_token,
        token_type: "Bearer",
        expires_in,
    })
    .into_response())
}

fn parse_password(text: &str) -> Result<String, Rejection> {
    if (MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        let expected =
            format!("password must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters");
        Err(Rejection::invalid(expected))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_counted_in_characters() {
        assert!(parse_password("1234567").is_err());
        assert!(parse_password("12345678").is_ok());
        assert!(parse_password(&"é".repeat(128)).is_ok());
        assert!(parse_password(&"x".repeat(129)).is_err());
    }
}
