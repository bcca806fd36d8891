//! The one shape of every refusal, and the one place where its code becomes a status.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError, is_outage};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::throttle::seconds;

/// When somebody whom we sent away may come again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Which field.
    pub(super) field: &'static str,
    /// What is wrong with it.
    pub(super) message: String,
}

/// What more there is to say of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ErrorDetails)]
pub(super) enum Details<'a> {
    /// What is wrong with which field of the request.
    Fields(&'a [FieldError]),
    /// When to try again.
    #[serde(rename_all = "camelCase")]
    Later {
        /// In how many milliseconds.
        retry_after_ms: u64,
    },
}

impl Details<'_> {
    fn are_missing(&self) -> bool {
        matches!(self, Self::Fields([]))
    }
}

/// A refusal on its way to the client.
///
/// As a response it is a status, headers and itself as an extension: the body is written by [`identify`](super::request::identify),
/// which knows the request's id.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    details: Vec<FieldError>,
    retry_after_ms: Option<u64>,
}

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Error)]
pub(super) struct ErrorJson<'a> {
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status_code: u16,
    /// The status in words.
    #[schema(example = "Not Found")]
    error: &'a str,
    /// What is wrong, for a person to read.
    #[schema(example = "conversation not found")]
    message: &'a str,
    #[schema(schema_with = code_schema)]
    code: ErrorCode,
    #[serde(skip_serializing_if = "Details::are_missing")]
    #[schema(required = false)]
    details: Details<'a>,
    /// Names this request in our logs.
    request_id: &'a str,
}

fn code_schema() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What is wrong, for a program to read."))
        .enum_values(Some(CODES.map(ErrorCode::as_str)))
        .build()
}

/// Every code there is.
const CODES: [ErrorCode; 10] = [
    ErrorCode::ValidationFailed,
    ErrorCode::Unauthorized,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::Conflict,
    ErrorCode::PayloadTooLarge,
    ErrorCode::RateLimited,
    ErrorCode::Overloaded,
    ErrorCode::Timeout,
    ErrorCode::Internal,
];

/// The status of a code.
pub(super) fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ValidationFailed => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Overloaded | ErrorCode::Timeout => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl ApiError {
    /// A refusal with its code's own status.
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status: status(code),
            code,
            message: message.into(),
            details: Vec::new(),
            retry_after_ms: None,
        }
    }

    /// Something of ours that does not fit together. What, is for the log only.
    pub(super) fn internal(what: &str) -> Self {
        tracing::error!(what, "a request failed inside");
        Self::new(ErrorCode::Internal, "internal error")
    }

    /// No valid token.
    pub(super) fn unauthorized() -> Self {
        Self::new(ErrorCode::Unauthorized, "a valid bearer token is required")
    }

    /// It does not exist, or the user may not know that it does.
    pub(super) fn not_found(what: &str) -> Self {
        Rejection::not_found(what).into()
    }

    /// The request as a whole does not have the required form.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ValidationFailed, message)
    }

    /// Fields of the request do not have the required form: all of those that do not.
    pub(super) fn fields(details: Vec<FieldError>) -> Self {
        let message = match &details[..] {
            [only] => only.message.clone(),
            _ => "several fields are invalid".to_owned(),
        };
        Self {
            details,
            ..Self::invalid(message)
        }
    }

    /// One field of the request is wrong.
    pub(super) fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError {
            field,
            message: message.into(),
        }])
    }

    /// There is nothing at this path.
    pub(super) fn no_route() -> Self {
        Self::not_found("route")
    }

    /// There is something at this path, but not for this method.
    pub(super) fn wrong_method() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            ..Self::invalid("this method is not allowed here")
        }
    }

    /// The body is not JSON by its own account.
    pub(super) fn wrong_content_type() -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Self::invalid("the body must be application/json")
        }
    }

    /// The body that clients see.
    pub(super) fn body(&self, request_id: &str) -> Vec<u8> {
        let json = ErrorJson {
            status_code: self.status.as_u16(),
            error: self.status.canonical_reason().unwrap_or("Error"),
            message: &self.message,
            code: self.code,
            details: match self.retry_after_ms {
                Some(retry_after_ms) => Details::Later { retry_after_ms },
                None => Details::Fields(&self.details),
            },
            request_id,
        };
        // Strings and numbers: there is nothing here that JSON cannot say.
        serde_json::to_vec(&json).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.code {
            ErrorCode::Overloaded | ErrorCode::Timeout | ErrorCode::RateLimited => {
                let later = self.retry_after_ms.map(Duration::from_millis).map(seconds);
                headers.insert(RETRY_AFTER, later.unwrap_or(RETRY_AFTER_SECONDS));
            }
            ErrorCode::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self {
            retry_after_ms: rejection.retry_after_ms,
            ..Self::new(rejection.code, rejection.message)
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let rejection = error.rejection();
        match error {
            RequestError::Rejected(_) => {}
            RequestError::Database(error) if is_outage(&error) => {
                tracing::warn!(%error, "the database does not answer");
            }
            RequestError::Database(error) => tracing::error!(%error, "a statement failed"),
            RequestError::Redis(error) => tracing::warn!(%error, "redis does not answer"),
        }
        rejection.into()
    }
}

impl From<fred::error::Error> for ApiError {
    fn from(error: fred::error::Error) -> Self {
        RequestError::from(error).into()
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        RequestError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(error: &ApiError) -> Value {
        serde_json::from_slice(&error.body("r1")).unwrap()
    }

    #[test]
    fn a_refusal_has_the_one_shape() {
        assert_eq!(
            shown(&ApiError::not_found("conversation")),
            json!({"statusCode": 404, "error": "Not Found", "message": "conversation not found", "code": "NOT_FOUND",
                   "requestId": "r1"})
        );
        let field = FieldError {
            field: "email",
            message: "email is required".to_owned(),
        };
        assert_eq!(
            shown(&ApiError::fields(vec![field])),
            json!({"statusCode": 400, "error": "Bad Request", "message": "email is required",
                   "code": "VALIDATION_FAILED", "details": [{"field": "email", "message": "email is required"}],
                   "requestId": "r1"})
        );
        assert_eq!(shown(&ApiError::wrong_method())["statusCode"], 405);
        assert_eq!(shown(&ApiError::wrong_content_type())["statusCode"], 415);
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for code in [ErrorCode::Overloaded, ErrorCode::Timeout] {
            let response = ApiError::new(code, "later").into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], "1");
        }
        let limited = ApiError::from(Rejection::rate_limited(Duration::from_millis(9_001)));
        assert_eq!(shown(&limited)["details"], json!({"retryAfterMs": 9_001}));
        let response = limited.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "10");
        assert!(
            ApiError::not_found("x")
                .into_response()
                .headers()
                .get(RETRY_AFTER)
                .is_none()
        );
    }

    #[test]
    fn a_fault_of_ours_tells_nothing_of_itself() {
        let error = ApiError::from(sqlx::Error::ColumnNotFound("secret".to_owned()));
        assert_eq!(
            (error.status, error.message.as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        );
        assert_eq!(
            ApiError::from(sqlx::Error::PoolTimedOut).code,
            ErrorCode::Timeout
        );
    }
}
