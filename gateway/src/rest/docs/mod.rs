//! /api: the document of these routes, that of the socket events, and Swagger UI to read the former with.
//!
//! Owns what a browser needs for it, which is all in the program: nothing is fetched from anywhere, when it is built or when it runs.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderValue, VARY,
};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::read::GzDecoder;
use utoipa::openapi::OpenApi;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::Rest;
use super::describe::{Answer, Draft, Part};
use super::error::ApiError;
use super::extract::{Named, Segments};

const INDEX: &str = include_str!("index.html");
const START: &str = include_str!("start.js");
/// The page's own scripts and pictures; Swagger UI sets styles in the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);

/// Both documents, as they are sent.
pub(super) struct Documents {
    openapi: Bytes,
    asyncapi: Bytes,
}

impl Documents {
    /// The document of these routes, and that of the socket events.
    pub(super) fn new(openapi: &OpenApi) -> Result<Self, serde_json::Error> {
        Ok(Self {
            openapi: serde_json::to_vec(openapi)?.into(),
            asyncapi: serde_json::to_vec(&crate::dialect::asyncapi::document())?.into(),
        })
    }
}

/// A JSON document.
pub(super) struct Document(Bytes);

/// A page or what belongs to it.
pub(super) struct Asset {
    content: Bytes,
    media_type: &'static str,
    is_gzipped: bool,
}

/// What the page needs.
#[derive(Clone, Copy)]
pub(super) enum AssetName {
    Start,
    Bundle,
    Style,
    Icon,
}

impl AssetName {
    const ALL: [Self; 4] = [Self::Start, Self::Bundle, Self::Style, Self::Icon];

    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start.js",
            Self::Bundle => "swagger-ui-bundle.js",
            Self::Style => "swagger-ui.css",
            Self::Icon => "favicon-32x32.png",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Start | Self::Bundle => "text/javascript",
            Self::Style => "text/css",
            Self::Icon => "image/png",
        }
    }
}

impl Named for AssetName {
    const WHAT: &'static str = "file";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    fn schema() -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.map(Self::as_str)))
    }
}

/// GET /api
pub(super) async fn index() -> Asset {
    Asset {
        content: Bytes::from_static(INDEX.as_bytes()),
        media_type: "text/html; charset=utf-8",
        is_gzipped: false,
    }
}

/// GET /api/openapi.json
pub(super) async fn openapi(State(rest): State<Arc<Rest>>) -> Document {
    Document(rest.documents.openapi.clone())
}

/// GET /api/asyncapi.json
pub(super) async fn asyncapi(State(rest): State<Arc<Rest>>) -> Document {
    Document(rest.documents.asyncapi.clone())
}

/// GET /api/docs/{file}
pub(super) async fn asset(
    Segments(name): Segments<AssetName>,
    accepted: Accepted,
) -> Result<Asset, ApiError> {
    let (content, is_gzipped) = match name {
        AssetName::Start => (Bytes::from_static(START.as_bytes()), false),
        AssetName::Bundle | AssetName::Style | AssetName::Icon => swagger_file(name.as_str())?,
    };
    Ok(Asset {
        content: if is_gzipped && !accepted.gzip {
            inflate(&content)?
        } else {
            content
        },
        media_type: name.media_type(),
        is_gzipped: is_gzipped && accepted.gzip,
    })
}

/// A file of Swagger UI as it stands in the program, and whether it is compressed.
fn swagger_file(name: &str) -> Result<(Bytes, bool), ApiError> {
    let config = Arc::new(utoipa_swagger_ui::Config::default());
    match utoipa_swagger_ui::serve(name, config) {
        Ok(Some(file)) => Ok((Bytes::from(file.bytes.into_owned()), file.gzpipped)),
        Ok(None) => Err(ApiError::not_found("file")),
        Err(error) => Err(ApiError::internal(&format!("{name}: {error}"))),
    }
}

fn inflate(compressed: &[u8]) -> Result<Bytes, ApiError> {
    let mut plain = Vec::new();
    match GzDecoder::new(compressed).read_to_end(&mut plain) {
        Ok(_) => Ok(plain.into()),
        Err(error) => Err(ApiError::internal(&format!("a page's file: {error}"))),
    }
}

/// What the client can read.
pub(super) struct Accepted {
    gzip: bool,
}

impl axum::extract::FromRequestParts<Arc<Rest>> for Accepted {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &Arc<Rest>,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self {
            gzip: accepts_gzip(&parts.headers),
        })
    }
}

impl Part for Accepted {
    fn describe(_: &mut Draft) {}
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight.trim().trim_start_matches("q=");
            name.trim().eq_ignore_ascii_case("gzip") && weight.parse::<f32>() != Ok(0.0)
        })
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl IntoResponse for Asset {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.content));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
        if self.is_gzipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl Answer for Document {
    fn describe(draft: &mut Draft) {
        draft.answers_content("200", "The document.", "application/json");
    }
}

impl Answer for Asset {
    fn describe(draft: &mut Draft) {
        draft.answers_content("200", "The file.", "*/*");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_page_needs_is_in_the_program() {
        for name in AssetName::ALL {
            assert!(INDEX.contains(&format!("/api/docs/{}", name.as_str())));
        }
        for name in [AssetName::Bundle, AssetName::Style, AssetName::Icon] {
            let (content, is_gzipped) = swagger_file(name.as_str()).unwrap();
            assert!(is_gzipped && !inflate(&content).unwrap().is_empty());
        }
        assert!(!INDEX.contains("://") && !START.contains("://"));
    }

    #[test]
    fn gzip_is_for_who_can_read_it() {
        let accepts = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(
                ACCEPT_ENCODING,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(accepts("gzip, deflate, br") && accepts("br;q=1.0, GZip;q=0.5"));
        assert!(!accepts("br") && !accepts("gzip;q=0") && !accepts_gzip(&HeaderMap::new()));
    }
}
