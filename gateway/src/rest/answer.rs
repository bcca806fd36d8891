//! What handlers answer: a status, a shape that is part of the type, and the bytes.

use std::marker::PhantomData;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, LINK};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use confab_shared::model::error::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::describe::{Answer, Draft};
use super::error::ApiError;

/// A JSON object that borrows what it shows, and its type when it is only spoken of.
pub(super) trait Shape: Serialize {
    /// The same without a lifetime.
    type Named: ToSchema;
}

/// Says of types with one lifetime that they are shapes.
macro_rules! shapes {
    ($($shape:ident),+ $(,)?) => {
        $(impl $crate::rest::answer::Shape for $shape<'_> {
            type Named = $shape<'static>;
        })+
    };
}
pub(super) use shapes;

/// 200 and an object of this shape.
pub(super) struct Shown<T>(Json<T>);

/// 200 and an object of this shape, which is generic and has no name of its own.
pub(super) struct Inlined<T>(Json<T>);

/// 201 and an object of this shape.
pub(super) struct Created<T>(Json<T>);

/// 201 and an object of this shape, or 200 if it was there before.
pub(super) struct Made<T>(StatusCode, Json<T>);

/// A page of a list, and the way to the next one.
pub(super) struct Listing<T> {
    entries: Json<T>,
    link: Option<HeaderValue>,
}

/// 204.
pub(super) struct NoContent;

/// An object's bytes.
struct Json<T> {
    bytes: Result<Vec<u8>, serde_json::Error>,
    shape: PhantomData<fn() -> T>,
}

impl<T> Json<T> {
    fn of<S: Shape<Named = T>>(value: &S) -> Self {
        Self {
            bytes: serde_json::to_vec(value),
            shape: PhantomData,
        }
    }

    fn list<S: Shape<Named = T>>(values: &[S]) -> Self {
        Self {
            bytes: serde_json::to_vec(values),
            shape: PhantomData,
        }
    }

    fn into_response(self, status: StatusCode) -> Response<Body> {
        let bytes = match self.bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                let what = format!("an answer could not be written: {error}");
                return ApiError::internal(&what).into_response();
            }
        };
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl<T> Shown<T> {
    /// Shows an object.
    pub(super) fn of<S: Shape<Named = T>>(value: &S) -> Self {
        Self(Json::of(value))
    }
}

impl<T> Inlined<T> {
    /// Shows an object.
    pub(super) fn of<S: Shape<Named = T>>(value: &S) -> Self {
        Self(Json::of(value))
    }
}

impl<T> Created<T> {
    /// Shows an object that has just been made.
    pub(super) fn of<S: Shape<Named = T>>(value: &S) -> Self {
        Self(Json::of(value))
    }
}

impl<T> Made<T> {
    /// Shows an object that has been made, or was there.
    pub(super) fn of<S: Shape<Named = T>>(is_new: bool, value: &S) -> Self {
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Self(status, Json::of(value))
    }
}

impl<T> Listing<T> {
    /// Shows a page's entries. `next` is the target of the next page, if there is one; what stands in it is fit for a header.
    pub(super) fn of<S: Shape<Named = T>>(entries: &[S], next: Option<String>) -> Self {
        let link = next.map(|target| format!("<{target}>; rel=\"next\""));
        Self {
            entries: Json::list(entries),
            link: link.and_then(|link| HeaderValue::try_from(link).ok()),
        }
    }
}

impl<T> IntoResponse for Shown<T> {
    fn into_response(self) -> Response<Body> {
        self.0.into_response(StatusCode::OK)
    }
}

impl<T> IntoResponse for Inlined<T> {
    fn into_response(self) -> Response<Body> {
        self.0.into_response(StatusCode::OK)
    }
}

impl<T> IntoResponse for Created<T> {
    fn into_response(self) -> Response<Body> {
        self.0.into_response(StatusCode::CREATED)
    }
}

impl<T> IntoResponse for Made<T> {
    fn into_response(self) -> Response<Body> {
        self.1.into_response(self.0)
    }
}

impl<T> IntoResponse for Listing<T> {
    fn into_response(self) -> Response<Body> {
        let mut response = self.entries.into_response(StatusCode::OK);
        if let Some(link) = self.link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response<Body> {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl<T: ToSchema> Answer for Shown<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("200", "Done.");
    }
}

impl<T: ToSchema> Answer for Inlined<T> {
    fn describe(draft: &mut Draft) {
        draft.answers_inline::<T>("200", "Done.");
    }
}

impl<T: ToSchema> Answer for Created<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("201", "Made.");
    }
}

impl<T: ToSchema> Answer for Made<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("201", "Made.");
        draft.answers::<T>("200", "It was there already.");
    }
}

impl<T: ToSchema> Answer for Listing<T> {
    fn describe(draft: &mut Draft) {
        draft.answers_list::<T>("200", "A page.");
        draft.with_header(
            "200",
            "Link",
            "The next page, if there is one: `<…>; rel=\"next\"`.",
        );
    }
}

impl Answer for NoContent {
    fn describe(draft: &mut Draft) {
        draft.answers_nothing("204", "Done.");
    }
}

/// Whatever can go wrong can fail in these ways, too.
impl<T: Answer> Answer for Result<T, ApiError> {
    fn describe(draft: &mut Draft) {
        T::describe(draft);
        draft.refuses(ErrorCode::Internal, "A fault of ours.");
        draft.refuses(ErrorCode::Overloaded, "Nothing was done; try again later.");
        draft.refuses(
            ErrorCode::Timeout,
            "Not confirmed in time; it may yet happen.",
        );
    }
}
