//! Which web pages may talk to us: one list for REST's CORS and for the `Origin` of WebSocket and polling requests.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// The origins that are allowed.
#[derive(Debug, Clone)]
pub enum AllowedOrigins {
    /// All of them; for development only.
    Any,
    /// These, as browsers write them.
    List(Arc<[String]>),
}

impl AllowedOrigins {
    /// Reads a comma-separated list; `*` allows all.
    pub fn parse(text: &str) -> Self {
        let origins: Vec<String> = text
            .split(',')
            .map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect();
        if origins.iter().any(|origin| origin == "*") {
            Self::Any
        } else {
            Self::List(origins.into())
        }
    }

    /// Whether this origin is in the list.
    pub fn contains(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(origins) => origins
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }

    /// Whether a request may be served: it has no `Origin` (no browser sent it), or one that is allowed, or that of this very host.
    pub fn permits(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let same_host = origin.split_once("://").is_some_and(|(_, host)| {
            headers
                .get(HOST)
                .is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
        });
        same_host || self.contains(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, "chat.example:3000".parse().unwrap());
        headers
    }

    #[test]
    fn listed_origins_and_the_host_itself_may_talk_to_us() {
        let origins = AllowedOrigins::parse("http://localhost:5173, https://app.example/");
        assert!(origins.permits(&HeaderMap::new()));
        assert!(origins.permits(&headers("https://app.example")));
        assert!(origins.permits(&headers("http://chat.example:3000")));
        assert!(!origins.permits(&headers("https://evil.example")));
        assert!(!origins.permits(&headers("null")));
        assert!(AllowedOrigins::parse("*").permits(&headers("https://evil.example")));
    }
}
