//! The HTTP answers of SockJS: their statuses and headers, most of which keep something in between from keeping them.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use std::convert::Infallible;
use tokio::sync::mpsc;

use super::form::Form;

/// What is answered.
pub(super) type Answer = Response<Body>;

const TEXT: &str = "text/plain; charset=UTF-8";
/// Some browsers keep even the answers to POSTs.
const NOT_KEPT: HeaderValue =
    HeaderValue::from_static("no-store, no-cache, no-transform, must-revalidate, max-age=0");
/// What does not change may be kept for a year.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=31536000");
/// The same for whoever goes by this.
const KEPT_UNTIL: HeaderValue = HeaderValue::from_static("Fri, 31 Dec 2100 00:00:00 GMT");
const YEAR: HeaderValue = HeaderValue::from_static("31536000");
/// Proxies that gather an answer before they pass it on are asked not to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Body::new(Full::new(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, NOT_KEPT);
    answer
}

/// What is said to whoever looks whether somebody is there.
pub(super) fn greeting(words: &'static str) -> Answer {
    answer(StatusCode::OK, TEXT, Bytes::from_static(words.as_bytes()))
}

/// What clients have to know beforehand.
pub(super) fn info(json: Bytes) -> Answer {
    answer(StatusCode::OK, "application/json; charset=UTF-8", json)
}

/// The answer to a request that receives one frame.
pub(super) fn frame(form: Form, frame: Bytes) -> Answer {
    answer(StatusCode::OK, form.content_type(), frame)
}

/// The answer to a request that receives frames as they come.
pub(super) fn frames(form: Form, chunks: mpsc::Receiver<Bytes>) -> Answer {
    streaming(
        form,
        Body::from_stream(stream::unfold(chunks, async |mut chunks| {
            let chunk = chunks.recv().await?;
            Some((Ok::<_, Infallible>(chunk), chunks))
        })),
    )
}

/// The same, whatever it comes from.
pub(super) fn streaming(form: Form, body: Body) -> Answer {
    let mut answer = frame(form, Bytes::new());
    *answer.body_mut() = body;
    let no = HeaderValue::from_static("no");
    answer.headers_mut().insert(BUFFERING, no);
    answer
}

/// Messages were taken in.
pub(super) fn processed() -> Answer {
    answer(StatusCode::NO_CONTENT, TEXT, Bytes::new())
}

/// A request is refused by HTTP's own means.
pub(super) fn failed(status: StatusCode) -> Answer {
    answer(status, TEXT, Bytes::new())
}

/// The same, with what the protocol has to say about it.
pub(super) fn refused(status: StatusCode, why: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, why.into())
}

/// There is nothing here for this method, but for those.
pub(super) fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

/// What a browser may do here, which it asks before it does it.
pub(super) fn preflight(request: &HeaderMap, methods: &'static str) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, KEPT);
    headers.insert(EXPIRES, KEPT_UNTIL);
    headers.insert(ACCESS_CONTROL_MAX_AGE, YEAR);
    let methods = HeaderValue::from_static(methods);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        // Which headers a page sends is its own affair: those that matter are checked when they come.
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        let varies = HeaderValue::from_static("Access-Control-Request-Headers");
        headers.append(VARY, varies);
    }
    answer
}
