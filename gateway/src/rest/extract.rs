//! What routes take from a request: who asks, ids in the path, a JSON object, a query, a page.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use confab_shared::id::UserId;
use confab_shared::model::error::{ErrorCode, Rejection};
use confab_shared::postgres::messages::{Page, Slice};
use confab_shared::postgres::users::{self, Account};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Rest;
use super::error::ApiError;
use super::fields::{Fields, id};

/// The most entries of one page.
const MAX_LIMIT: u32 = 100;
/// The entries of a page where the client does not say.
const DEFAULT_LIMIT: u32 = 50;

/// Who asks: the account behind a valid bearer token, as PostgreSQL has it now.
pub(super) struct Caller(pub(super) Account);

impl Caller {
    /// Whose account it is.
    pub(super) fn id(&self) -> UserId {
        self.0.id
    }
}

impl FromRequestParts<Arc<Rest>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or_else(ApiError::unauthorized)?;
        let claims = rest.node.tokens.verify(token).map_err(|refused| {
            tracing::debug!(%refused, "a token was refused");
            ApiError::unauthorized()
        })?;
        let account = users::find(rest.database(), claims.sub).await?;
        account.map(Self).ok_or_else(ApiError::unauthorized)
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

/// The path's variable parts, as texts.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Rest>> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        // A path that is not even text leads nowhere.
        let Path(segments) = Path::from_request_parts(parts, rest)
            .await
            .map_err(|_| ApiError::no_route())?;
        Ok(Self(segments))
    }
}

/// Reads an id in a path. A malformed one is the id of nothing.
pub(super) fn path_id<T: FromStr>(what: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(what))
}

/// The body, which has to be a JSON object within the size limit.
pub(super) struct JsonBody(pub(super) Fields);

impl FromRequest<Arc<Rest>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::wrong_content_type());
        }
        let bytes = read(request.into_body(), rest.node.config.rest.max_body_bytes).await?;
        let given: Map<String, Value> = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(given)) => given,
            Ok(_) => return Err(ApiError::invalid("the body must be a JSON object")),
            Err(error) => {
                return Err(ApiError::invalid(format!(
                    "the body is not valid JSON: {error}"
                )));
            }
        };
        Ok(Self(Fields::new(given)))
    }
}

/// Whether a body is JSON by its own account: `application/json` or a type with the suffix `+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(given) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a body that is not larger than this. One that announces its size is refused before it is sent.
async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the body must have at most {limit} bytes"),
        )
    };
    if axum::body::HttpBody::size_hint(&body).lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            tracing::debug!(%error, "a body broke off");
            Err(ApiError::invalid("the body broke off"))
        }
    }
}

/// The query. A parameter without a value counts as not given.
pub(super) struct QueryFields(pub(super) Fields);

impl FromRequestParts<Arc<Rest>> for QueryFields {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let Query(given) = Query::<HashMap<String, String>>::from_request_parts(parts, rest)
            .await
            .map_err(|_| ApiError::invalid("malformed query"))?;
        let given = given.into_iter().filter(|(_, value)| !value.is_empty());
        Ok(Self(Fields::new(
            given
                .map(|(name, value)| (name, Value::String(value)))
                .collect(),
        )))
    }
}

/// How many entries are asked for: a positive number, cut to 100.
pub(super) fn parse_limit(text: &str) -> Result<u32, Rejection> {
    positive("limit", text).map(|number| number.min(MAX_LIMIT))
}

/// The entries of a page where the client does not say.
pub(super) fn limit_or_default(limit: Option<u32>) -> u32 {
    limit.unwrap_or(DEFAULT_LIMIT)
}

/// Which part of a conversation's history is asked for.
pub(super) fn page(mut query: Fields) -> Result<Page, ApiError> {
    let limit = query.optional_text("limit", parse_limit);
    let before = query.optional_text("before", id("before"));
    let after = query.optional_text("after", id("after"));
    let number = query.optional_text("page", |text| positive("page", text));
    let (limit, before, after, number) = query.finish((limit, before, after, number))?;
    let slice = match (before, after, number) {
        (None, None, None) => Slice::Newest,
        (Some(message), None, None) => Slice::Before(message),
        (None, Some(message), None) => Slice::After(message),
        (None, None, Some(number)) => Slice::Numbered(number),
        _ => return Err(ApiError::invalid("give one of before, after and page")),
    };
    Ok(Page {
        slice,
        limit: limit_or_default(limit),
    })
}

/// A positive whole number in plain digits. One that is too large for us is as large as we can say.
fn positive(field: &str, text: &str) -> Result<u32, Rejection> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(0) => {}
        Ok(number) if digits => return Ok(number),
        Err(_) if digits => return Ok(u32::MAX),
        _ => {}
    }
    Err(Rejection::invalid(format!(
        "{field} must be a positive whole number"
    )))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;
    use confab_shared::id::MessageId;

    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn asked(query: &[(&str, &str)]) -> Result<Page, u16> {
        let given = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        page(Fields::new(given)).map_err(|error| error.into_response().status().as_u16())
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

    #[test]
    fn json_is_what_says_so() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            assert!(is_json(&headers(CONTENT_TYPE, good)), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "",
        ] {
            assert!(!is_json(&headers(CONTENT_TYPE, bad)), "{bad}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn limits_are_cut_and_garbage_is_refused() {
        assert_eq!(parse_limit("7"), Ok(7));
        assert_eq!(parse_limit("101"), Ok(100));
        assert_eq!(parse_limit("99999999999999999999"), Ok(100));
        for bad in ["0", "00", "-1", "+1", "1.5", "many", " 1", ""] {
            assert!(parse_limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_is_asked_for_in_one_way() {
        assert_eq!(
            asked(&[]),
            Ok(Page {
                slice: Slice::Newest,
                limit: DEFAULT_LIMIT
            })
        );
        assert_eq!(
            asked(&[("before", "12"), ("limit", "3")]),
            Ok(Page {
                slice: Slice::Before(MessageId(12)),
                limit: 3
            })
        );
        assert_eq!(
            asked(&[("after", "12")]).map(|page| page.slice),
            Ok(Slice::After(MessageId(12)))
        );
        assert_eq!(
            asked(&[("page", "2")]).map(|page| page.slice),
            Ok(Slice::Numbered(2))
        );
        assert_eq!(asked(&[("before", "12"), ("page", "2")]), Err(400));
        for bad in ["x", "0", "-1", "012", "99999999999999999999"] {
            assert_eq!(asked(&[("before", bad)]), Err(400), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_large_body_is_refused_whether_or_not_it_says_so() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), "12345");
        let announced = read(Body::from("123456"), 5).await.unwrap_err();
        assert_eq!(announced.into_response().status(), 413);
        let chunks = futures_util::stream::iter(["123", "456"].map(Ok::<_, std::io::Error>));
        let streamed = read(Body::from_stream(chunks), 5).await.unwrap_err();
        assert_eq!(streamed.into_response().status(), 413);
    }
}
