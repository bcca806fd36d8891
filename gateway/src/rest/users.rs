//! What one is to others (/auth/me, /auth/profile, /auth/online-status), and finding others (/users).

use std::sync::Arc;

use axum::extract::State;
use confab_shared::id::UserId;
use confab_shared::postgres::users::{self, ProfileChange, SearchCursor};

use super::Rest;
use super::answer::{Listing, Shown};
use super::error::ApiError;
use super::extract::{Caller, JsonBody, QueryFields};
use super::form::{Change, Optional, Required, form};
use super::page::limit_or_default;
use super::rule;
use super::shape::{PublicUserJson, UserJson};

form! {
    /// What is to be different about oneself; what is missing stays as it is.
    ProfileUpdate {
        /// The handle.
        "username" username: Option<String> = Optional(rule::USERNAME),
        /// The name to display.
        "name" name: Option<String> = Optional(rule::NAME),
        /// Where the picture is; null takes it away.
        "avatar" avatar: Option<Option<String>> = Change(rule::AVATAR),
    }
}

form! {
    /// Whether one wants to be seen as online.
    OnlineStatus {
        /// No: as offline, whatever one does.
        "isOnline" is_online: bool = Required(rule::BOOLEAN),
    }
}

form! {
    /// Who is searched for.
    SearchQuery {
        /// What the username or the e-mail address begins with, whatever its letter case.
        "q" prefix: String = Required(rule::PREFIX),
        /// Where the page begins, as the `Link` of the one before says.
        "cursor" cursor: Option<SearchCursor> = Optional(rule::SEARCH_CURSOR),
        /// How many entries; 50 if it is not said, at most 100. A page may have fewer and still have a next one.
        "limit" limit: Option<u32> = Optional(rule::LIMIT),
    }
}

/// GET /auth/me
pub(super) async fn me(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
) -> Result<Shown<UserJson<'static>>, ApiError> {
    let is_online = rest.sees(&caller.account).await;
    Ok(Shown::of(&UserJson::seen(&caller.account, is_online)))
}

/// PUT /auth/profile
pub(super) async fn update(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(form): JsonBody<ProfileUpdate>,
) -> Result<Shown<UserJson<'static>>, ApiError> {
    let change = ProfileChange {
        username: form.username,
        name: form.name,
        avatar: form.avatar,
    };
    let account = users::update(rest.database(), caller.id(), change).await?;
    let account = account.ok_or_else(ApiError::unauthorized)?;
    let is_online = rest.sees(&account).await;
    Ok(Shown::of(&UserJson::seen(&account, is_online)))
}

/// PUT /auth/online-status
pub(super) async fn set_online_status(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(OnlineStatus { is_online }): JsonBody<OnlineStatus>,
) -> Result<Shown<UserJson<'static>>, ApiError> {
    let account = rest.node.presence.wish(caller.id(), is_online).await?;
    let account = account.ok_or_else(ApiError::unauthorized)?;
    // What was asked for, though nobody sees it before there is a connection.
    Ok(Shown::of(&UserJson::seen(&account, is_online)))
}

/// GET /users/search
pub(super) async fn search(
    State(rest): State<Arc<Rest>>,
    _caller: Caller,
    QueryFields(query): QueryFields<SearchQuery>,
) -> Result<Listing<PublicUserJson<'static>>, ApiError> {
    let limit = limit_or_default(query.limit);
    let (found, next) = users::search(rest.database(), &query.prefix, query.cursor, limit).await?;
    let ids: Vec<UserId> = found.iter().map(|account| account.id).collect();
    let connected = rest.node.presence.connected(&ids).await;
    let shown: Vec<_> = found
        .iter()
        .map(|account| {
            let is_online = !account.appears_offline && connected.contains(&account.id);
            PublicUserJson::new(account, is_online)
        })
        .collect();
    let next = next.map(|next| {
        let prefix = percent_encode(&query.prefix);
        format!("/users/search?q={prefix}&cursor={next}&limit={limit}")
    });
    Ok(Listing::of(&shown, next))
}

/// A text as a query's value (RFC 3986, 2.1).
fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_survives_its_way_through_a_link() {
        assert_eq!(percent_encode("a+b@c.de"), "a%2Bb%40c.de");
        assert_eq!(percent_encode("é& "), "%C3%A9%26%20");
    }
}
