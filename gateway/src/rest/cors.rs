//! Which web pages may read our answers (the Fetch standard's CORS protocol).
//!
//! Tokens travel in a header that pages set themselves, so nothing is granted by a cookie; still, a wildcard is never combined
//! with credentials.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Rest;
use crate::transport::origin::AllowedOrigins;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-request-id");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "link, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, x-request-id",
);
/// How long a browser may remember a preflight's answer, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Says who may read an answer, to a page of this origin. Whether it may.
fn grant(origins: &AllowedOrigins, origin: &HeaderValue, headers: &mut HeaderMap) -> bool {
    match origins {
        AllowedOrigins::Any => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            true
        }
        AllowedOrigins::List(_) => {
            headers.append(VARY, HeaderValue::from_static("origin"));
            let allowed = origin.to_str().is_ok_and(|origin| origins.contains(origin));
            if allowed {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(
                    ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
            allowed
        }
    }
}

/// Answers preflights, and adds to other answers who may read them.
pub(super) async fn share(State(rest): State<Arc<Rest>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return next.run(request).await;
    };
    if is_preflight(&request) {
        return preflight(&rest.origins, &origin);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if grant(&rest.origins, &origin, headers) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(origins: &AllowedOrigins, origin: &HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if grant(origins, origin, headers) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn a_wildcard_goes_without_credentials() {
        let response = preflight(
            &AllowedOrigins::parse("*"),
            &origin("http://anywhere.example"),
        );
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(
            !response
                .headers()
                .contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS)
        );
    }

    #[test]
    fn a_preflight_grants_a_listed_origin_and_no_other() {
        let origins = AllowedOrigins::parse("http://localhost:3000");
        let granted = preflight(&origins, &origin("http://localhost:3000"));
        assert_eq!(granted.status(), StatusCode::NO_CONTENT);
        assert_eq!(
            granted.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
            "http://localhost:3000"
        );
        assert_eq!(granted.headers()[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        let refused = preflight(&origins, &origin("http://evil.example"));
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_METHODS));
        assert_eq!(refused.headers()[VARY], "origin");
    }
}
