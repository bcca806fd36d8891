//! What handlers take from a request: [who asks](super::caller), ids in the path, a body, a query, a header.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::content::TempId;
use confab_shared::model::error::ErrorCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use super::Rest;
pub(super) use super::caller::{Caller, Reader};
use super::describe::{Draft, Part};
use super::error::ApiError;
use super::form::{Form, Given, Optional, property};
use super::rule::{self, CONVERSATION_ID, MESSAGE_ID, ROOM_NAME, USER_ID};
use crate::dialect::RoomName;

/// The header by which a client makes a send repeatable.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl Part for State<Arc<Rest>> {
    fn describe(_: &mut Draft) {}
}

/// The path's variable part, or both.
pub(super) struct Segments<T>(pub(super) T);

/// Something that a path can name.
pub(super) trait Named: Sized {
    /// What it is, for who reads that it was not found.
    const WHAT: &'static str;

    /// Reads a segment. A malformed one is the name of nothing.
    fn parse(text: &str) -> Option<Self>;

    /// What a segment looks like.
    fn schema() -> ObjectBuilder;
}

macro_rules! named {
    ($($id:ty, $what:literal, $rule:ident;)+) => {
        $(impl Named for $id {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn schema() -> ObjectBuilder {
                $rule.describe()
            }
        })+
    };
}

named! {
    ConversationId, "conversation", CONVERSATION_ID;
    MessageId, "message", MESSAGE_ID;
    UserId, "participant", USER_ID;
}

impl Named for RoomName {
    const WHAT: &'static str = "room";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    fn schema() -> ObjectBuilder {
        ROOM_NAME.describe()
    }
}

async fn segments<T: DeserializeOwned + Send>(
    parts: &mut Parts,
    rest: &Arc<Rest>,
) -> Result<T, ApiError> {
    // A path that is not even text leads nowhere.
    let Path(segments) = Path::from_request_parts(parts, rest)
        .await
        .map_err(|_| ApiError::no_route())?;
    Ok(segments)
}

fn segment<T: Named>(text: &str) -> Result<T, ApiError> {
    T::parse(text).ok_or_else(|| ApiError::not_found(T::WHAT))
}

fn describe_segment<T: Named>(draft: &mut Draft) {
    draft.segment(&format!("Which {}.", T::WHAT), Schema::from(T::schema()));
    draft.refuses(
        ErrorCode::NotFound,
        &format!("There is no such {}, for whoever asks.", T::WHAT),
    );
}

impl<T: Named> FromRequestParts<Arc<Rest>> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let text: String = segments(parts, rest).await?;
        segment(&text).map(Self)
    }
}

impl<T: Named> Part for Segments<T> {
    fn describe(draft: &mut Draft) {
        describe_segment::<T>(draft);
    }
}

impl<T: Named, U: Named> FromRequestParts<Arc<Rest>> for Segments<(T, U)> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let (first, second): (String, String) = segments(parts, rest).await?;
        Ok(Self((segment(&first)?, segment(&second)?)))
    }
}

impl<T: Named, U: Named> Part for Segments<(T, U)> {
    fn describe(draft: &mut Draft) {
        describe_segment::<T>(draft);
        describe_segment::<U>(draft);
    }
}

/// What makes a request repeatable, if the client gave it something.
pub(super) struct IdempotencyKey(pub(super) Option<TempId>);

impl FromRequestParts<Arc<Rest>> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Rest>) -> Result<Self, ApiError> {
        idempotency_key(&parts.headers).map(Self)
    }
}

impl Part for IdempotencyKey {
    fn describe(draft: &mut Draft) {
        let about = "Sent again with the same key and content, a message is stored once.";
        draft.header(&property(
            IDEMPOTENCY_KEY,
            about,
            &Optional(rule::IDEMPOTENCY_KEY),
        ));
        draft.refuses(ErrorCode::ValidationFailed, "The key is malformed.");
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<TempId>, ApiError> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let text = Value::from(String::from_utf8_lossy(given.as_bytes()));
    let key = rule::IDEMPOTENCY_KEY.read(IDEMPOTENCY_KEY, &text);
    key.map(Some)
        .map_err(|rejection| ApiError::field(IDEMPOTENCY_KEY, rejection.message))
}

/// A form in the body, which has to be a JSON object within the size limit.
pub(super) struct JsonBody<F>(pub(super) F);

impl<F: Form> FromRequest<Arc<Rest>> for JsonBody<F> {
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
        F::read(Given::new(given)).map(Self)
    }
}

impl<F: Form> Part for JsonBody<F> {
    fn describe(draft: &mut Draft) {
        draft.body::<F>();
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

/// A form in the query.
pub(super) struct QueryFields<F>(pub(super) F);

impl<F: Form> FromRequestParts<Arc<Rest>> for QueryFields<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let Query(given) = Query::<HashMap<String, String>>::from_request_parts(parts, rest)
            .await
            .map_err(|_| ApiError::invalid("malformed query"))?;
        let given = given.into_iter();
        let given = given.map(|(name, value)| (name, Value::String(value)));
        F::read(Given::new(given.collect())).map(Self)
    }
}

impl<F: Form> Part for QueryFields<F> {
    fn describe(draft: &mut Draft) {
        draft.query(F::describe());
        draft.refuses(
            ErrorCode::ValidationFailed,
            "What is wrong stands in `details`, field by field.",
        );
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;

    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
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
    fn an_idempotency_key_is_a_temp_id() {
        let key = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            idempotency_key(&HeaderMap::from_iter([(
                IDEMPOTENCY_KEY.parse().unwrap(),
                value,
            )]))
        };
        assert_eq!(key(b"k-1").unwrap().unwrap().as_str(), "k-1");
        assert!(key(&[b'x'; 128]).is_ok());
        for bad in [&b""[..], &[b'x'; 129], "é".as_bytes(), b"\xff", b"a\tb"] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
        assert!(idempotency_key(&HeaderMap::new()).unwrap().is_none());
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
