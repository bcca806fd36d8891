//! Ids of requests: what names one in the log, of every gateway that it passes.

use std::borrow::Cow;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

/// The header that carries a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client.
const MAX_ID_BYTES: usize = 128;

/// The id that a request brought, if it is fit for logs.
pub fn brought(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_fit =
        (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_fit.then_some(id)
}

/// The id that a request brought, or one of ours.
pub fn of(headers: &HeaderMap) -> Cow<'_, str> {
    brought(headers).map_or_else(|| Uuid::now_v7().to_string().into(), Cow::Borrowed)
}

/// Gives a request's headers its id, so that it goes along when the request is passed on.
pub fn put(headers: &mut HeaderMap, id: &str) {
    // Visible ASCII is always a header's value.
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_fit_for_logs_are_taken() {
        let taken = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            of(&headers).as_bytes() == id
        };
        assert!(taken(b"abc-123"));
        assert!(taken(&[b'x'; 128]));
        assert!(!taken(&[b'x'; 129]));
        assert!(!taken(b""));
        assert!(!taken(b"two words"));
        assert!(!taken("é".as_bytes()));
        let none = HeaderMap::new();
        assert_ne!(of(&none), of(&none));
    }
}
