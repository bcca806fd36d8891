//! How often somebody may ask: who is counted, and what the headers of an answer say of it.
//!
//! What a request is counted as, its parts and its handler say: whoever has a token as itself, others as their address, and what
//! some of them do in a class of its own besides. The answer tells of the limit that is nearest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;

use super::Rest;
use super::describe::{Draft, Part};
use super::error::ApiError;
use crate::limits::{Class, Limits, Refusal, Standing, Subject, Verdict};
use crate::transport::admission::client_network;

pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(super) const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(super) const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// What has been counted of one request, for its answer's headers.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Option<Standing>>>);

impl Tally {
    /// Counts the request, unless its author has made too many.
    pub(super) async fn count(
        &self,
        limits: &Limits,
        class: Class,
        subject: Subject,
    ) -> Result<(), ApiError> {
        self.note(limits.ask(class, subject).await)
    }

    /// Refuses the request without counting it, if it is known already that its author has made too many.
    pub(super) fn recall(
        &self,
        limits: &Limits,
        class: Class,
        subject: Subject,
    ) -> Result<(), ApiError> {
        self.note(limits.recall(class, subject))
    }

    fn note(&self, verdict: Verdict) -> Result<(), ApiError> {
        let standing = match &verdict {
            Ok(standing) => *standing,
            Err(Refusal::Limited { standing, .. }) => Some(*standing),
            Err(Refusal::Overloaded) => None,
        };
        if let Some(standing) = standing {
            let mut nearest = self.0.lock();
            if nearest.is_none_or(|known| standing.remaining < known.remaining) {
                *nearest = Some(standing);
            }
        }
        verdict
            .map(|_| ())
            .map_err(|refusal| refusal.rejection().into())
    }

    /// The tally of this request.
    pub(super) fn of(parts: &Parts) -> Self {
        parts.extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

/// Says in an answer's headers how its request's author stands.
pub(super) async fn show(mut request: Request, next: Next) -> Response {
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let mut response = next.run(request).await;
    let nearest = *tally.0.lock();
    if let Some(standing) = nearest {
        let headers = response.headers_mut();
        headers.insert(LIMIT, standing.most.into());
        headers.insert(REMAINING, standing.remaining.into());
        headers.insert(RESET, seconds(standing.reset));
    }
    response
}

/// Whole seconds, up: nobody comes too early who waits for them.
pub(super) fn seconds(time: Duration) -> HeaderValue {
    let up = u64::from(time.subsec_nanos() > 0);
    (time.as_secs() + up).into()
}

/// Where a request comes from, as it is counted.
pub(super) fn address(parts: &Parts, rest: &Rest) -> IpAddr {
    let remote = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let remote = remote.map_or((Ipv4Addr::UNSPECIFIED, 0).into(), |remote| remote.0);
    client_network(rest.proxies.client(remote, &parts.headers))
}

/// Somebody by the address, who has no token yet or has to prove once more who it is.
pub(super) struct Visitor {
    address: IpAddr,
    tally: Tally,
}

impl Visitor {
    /// Counts something of the visitor's address.
    pub(super) async fn count(&self, rest: &Rest, class: Class) -> Result<(), ApiError> {
        let subject = Subject::Address(self.address);
        self.tally.count(&rest.node.limits, class, subject).await
    }

    /// Counts a login to an account from the visitor's address, or whatever else tells whether a password is its own.
    pub(super) async fn count_login(&self, rest: &Rest, login: &str) -> Result<(), ApiError> {
        let subject = Subject::account(self.address, login);
        self.tally
            .count(&rest.node.limits, Class::Login, subject)
            .await
    }
}

impl FromRequestParts<Arc<Rest>> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        Ok(Self {
            address: address(parts, rest),
            tally: Tally::of(parts),
        })
    }
}

impl Part for Visitor {
    fn describe(draft: &mut Draft) {
        draft.limited();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        let shown = |millis| seconds(Duration::from_millis(millis));
        assert_eq!(
            [shown(0), shown(1), shown(1_000), shown(1_001)],
            ["0", "1", "1", "2"]
        );
    }
}
