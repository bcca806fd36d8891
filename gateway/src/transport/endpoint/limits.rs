//! How large a request may be of which something is kept, repeated or passed on to other nodes.

use http::header::{AUTHORIZATION, ORIGIN};
use http::{Request, StatusCode};

/// The longest target: it is passed on to other nodes, and a session keeps its own. Clients' have some hundred bytes.
const MAX_TARGET: usize = 4 * 1024;
/// The longest `Origin`, which the answer repeats, and the longest `Authorization`, which the session keeps.
const MAX_HEADER: usize = 4 * 1024;

/// The status for a request that is too large, if it is.
pub(in crate::transport) fn too_large<B>(request: &Request<B>) -> Option<StatusCode> {
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > MAX_TARGET) {
        return Some(StatusCode::URI_TOO_LONG);
    }
    [ORIGIN, AUTHORIZATION]
        .iter()
        .filter_map(|name| request.headers().get(name))
        .any(|value| value.len() > MAX_HEADER)
        .then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_or_passed_on_is_bounded() {
        let request = |target: usize, origin: usize| {
            let request = Request::get(format!("/socket.io/?{}", "x".repeat(target)))
                .header(ORIGIN, "x".repeat(origin))
                .header("cookie", "x".repeat(60_000));
            too_large(&request.body(()).unwrap())
        };
        assert_eq!(request(4_000, 4_000), None);
        assert_eq!(request(4_096, 1), Some(StatusCode::URI_TOO_LONG));
        let too_large = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(request(1, 4_097), too_large);
    }
}
