//! Who asks, and that it is counted how often.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HeaderMap};
use axum::http::request::Parts;
use confab_shared::auth::Claims;
use confab_shared::id::UserId;
use confab_shared::postgres::tokens;
use confab_shared::postgres::users::Account;

use super::Rest;
use super::describe::{Draft, Part};
use super::error::ApiError;
use super::throttle::{Tally, address};
use crate::limits::{Class, Limits, Line, Question, Subject};

/// Who asks: the account behind a token that is still good, as PostgreSQL has it now.
pub(super) struct Caller {
    pub(super) account: Account,
    pub(super) token: Claims,
    tally: Tally,
}

impl Caller {
    /// Whose account it is.
    pub(super) fn id(&self) -> UserId {
        self.account.id
    }

    /// Counts what the request is for, unless the caller has done too much of it. That it is one more request is counted already.
    pub(super) async fn count(&self, rest: &Rest, class: Class) -> Result<(), ApiError> {
        let subject = Subject::User(self.id());
        self.tally.count(&rest.node.limits, class, subject).await
    }

    /// The request's token, if it was issued here and is not over.
    fn token(parts: &Parts, rest: &Rest) -> Option<Claims> {
        let token = bearer(&parts.headers)?;
        match rest.node.tokens.verify(token) {
            Ok(token) => Some(token),
            Err(refused) => {
                tracing::debug!(%refused, "a token was refused");
                rest.not_believed(refused.as_str());
                None
            }
        }
    }
}

/// A request whose token PostgreSQL is being asked about. Who goes before it knows is counted all the same, or could have it asked as often
/// as he likes; but as somebody who only says who he is, from where he is: with a token that is no good any more he would else use up what
/// its user may do.
struct Asking<'a> {
    limits: &'a Limits,
    who: Option<Subject>,
}

impl Asking<'_> {
    /// PostgreSQL has answered.
    fn done(mut self) {
        self.who = None;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(subject) = self.who.take() {
            let class = Class::Rest;
            let question = Some(Question { class, subject });
            self.limits.pass(&Line::default(), question, drop);
        }
    }
}

impl FromRequestParts<Arc<Rest>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let (limits, tally) = (&rest.node.limits, Tally::of(parts));
        if let Some(token) = Self::token(parts, rest) {
            let subject = Subject::User(token.sub);
            // Whoever goes on all the same costs PostgreSQL nothing.
            tally.recall(limits, Class::Rest, subject.clone())?;
            let alleged = Subject::account(address(parts, rest), &token.sub.to_string());
            tally.recall(limits, Class::Rest, alleged.clone())?;
            // Not by a token alone that is not good any more: whoever has one could use up what its user may do.
            let bearer = tokens::bearer(rest.database(), &token);
            let metrics = &rest.node.metrics;
            let asking = Asking {
                limits,
                who: Some(alleged),
            };
            let account = metrics.postgres.time("authenticate", bearer).await;
            asking.done();
            if let Some(account) = account? {
                tally.count(limits, Class::Rest, subject).await?;
                return Ok(Self {
                    account,
                    token,
                    tally,
                });
            }
            rest.not_believed("revoked");
        }
        let subject = Subject::Address(address(parts, rest));
        tally.count(limits, Class::Rest, subject).await?;
        Err(ApiError::unauthorized())
    }
}

impl Part for Caller {
    fn describe(draft: &mut Draft) {
        draft.token(true);
        draft.limited();
    }
}

/// Somebody who may read what guests may: with a token, or without one where there are guests. A token that is no good is refused
/// here, too: whoever sends one believes to be known.
pub(super) struct Reader;

impl FromRequestParts<Arc<Rest>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        if !rest.node.config.auth.guests || parts.headers.contains_key(AUTHORIZATION) {
            Caller::from_request_parts(parts, rest).await?;
            return Ok(Self);
        }
        let subject = Subject::Address(address(parts, rest));
        let tally = Tally::of(parts);
        tally.count(&rest.node.limits, Class::Rest, subject).await?;
        Ok(Self)
    }
}

impl Part for Reader {
    fn describe(draft: &mut Draft) {
        draft.token(false);
        draft.limited();
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750, 2.1). The scheme's letter case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_token_stands_behind_its_scheme() {
        let token = |value| bearer(&headers(AUTHORIZATION, value)).map(str::to_owned);
        assert_eq!(token("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("bEARER  a.b.c").as_deref(), Some("a.b.c"));
        for bad in ["a.b.c", "Bearer", "Bearer ", "Basic a.b.c"] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }
}
