//! The HTTP answers of the Engine.IO endpoint: their statuses, headers, compression, and what browsers ask of them.

use std::io::Write;

use bytes::Bytes;
use confab_gateway_protocol::engineio::HandshakeError;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// What the endpoint answers with.
pub(super) type Answer = Response<Full<Bytes>>;

/// How long browsers may remember what a preflight allowed, in seconds.
const PREFLIGHT_AGE: &str = "86400";

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Packets for a GET, compressed if they are more than `compress_above` bytes (0: never) and the client can read that.
pub(super) fn packets(body: Bytes, compress_above: usize, accepts_gzip: bool) -> Answer {
    const KIND: &str = "text/plain; charset=UTF-8";
    if compress_above == 0 || body.len() <= compress_above {
        return answer(StatusCode::OK, KIND, body);
    }
    let compressed = if accepts_gzip { gzip(&body) } else { None };
    let is_compressed = compressed.is_some();
    let mut answer = answer(StatusCode::OK, KIND, compressed.unwrap_or(body));
    let headers = answer.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// A POST's packets were processed.
pub(super) fn processed() -> Answer {
    answer(StatusCode::OK, "text/html", Bytes::from_static(b"ok"))
}

/// A request is refused in the protocol's own words.
pub(super) fn refused(error: HandshakeError) -> Answer {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    answer(
        status,
        "application/json",
        Bytes::from_static(error.body().as_bytes()),
    )
}

/// A request is refused by HTTP's own means.
pub(super) fn failed(status: StatusCode) -> Answer {
    answer(status, "text/plain; charset=UTF-8", Bytes::new())
}

/// What a browser may do here, which it asks before it does it.
pub(super) fn preflight(request: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    headers.insert(
        ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(PREFLIGHT_AGE),
    );
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        // Which headers a page sends is its own affair: those that matter are checked when they come.
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        headers.append(
            VARY,
            HeaderValue::from_static("Access-Control-Request-Headers"),
        );
    }
    answer
}

/// Lets the page that asked see the answer. `request` has an origin that is permitted, or none.
pub(super) fn share<B>(answer: &mut Response<B>, request_origin: Option<HeaderValue>) {
    let Some(origin) = request_origin else {
        return;
    };
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.append(VARY, HeaderValue::from_name(ORIGIN));
}

/// Whether a client can read gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let is_refused = parts
                .filter_map(|part| part.split_once('='))
                .any(|(name, value)| {
                    name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
                });
            is_gzip && !is_refused
        })
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    match written {
        Ok(compressed) => Some(compressed.into()),
        Err(error) => {
            tracing::error!(%error, "an answer was not compressed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn gzip_is_used_where_it_is_wanted() {
        let wants = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepts_gzip(&headers)
        };
        assert!(wants("gzip"));
        assert!(wants("deflate, GZIP;q=0.5, br"));
        assert!(!wants("gzip;q=0, br"));
        assert!(!wants("identity"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_compressed_is_the_same() {
        let body = Bytes::from("4hello".repeat(1_000));
        let compressed = gzip(&body).unwrap();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..])
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(body, back);
        assert!(compressed.len() < body.len() / 10);
    }
}
