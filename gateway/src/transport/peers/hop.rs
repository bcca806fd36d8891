//! What one node tells another about a request that it passes on, as headers.
//!
//! They mean something on the internal listener only. A client that sends them to the public one is talking to itself: requests
//! are passed on with the headers listed here and no others.

use std::net::IpAddr;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderName, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

/// Why a request came over the internal listener.
const HOP: HeaderName = HeaderName::from_static("confab-hop");
/// The address of the client whose request it is.
const CLIENT: HeaderName = HeaderName::from_static("confab-client");

const PASSED: HeaderValue = HeaderValue::from_static("passed");
const RELEASE: HeaderValue = HeaderValue::from_static("release");
const BROKEN: HeaderValue = HeaderValue::from_static("broken");

/// What of a client's polling request matters to the session's owner. Which pages may talk to us is decided where they do.
const OF_REQUESTS: [HeaderName; 2] = [ACCEPT_ENCODING, CONTENT_TYPE];
/// And of its upgrade.
const OF_UPGRADES: [HeaderName; 6] = [
    CONNECTION,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
];

/// What a node wants of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Serve this request of a client of mine: its session is yours. It is not to be passed on again.
    Passed {
        /// Where the client is.
        client: IpAddr,
    },
    /// Answer the poll of this session that I passed on to you, with a noop: I am draining and want to let its client go.
    Release,
    /// End this session of yours: its client broke off in the middle of a request.
    Broken,
}

impl Hop {
    /// What a request on the internal listener says about itself. None: no node sent it.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let hop = headers.get(HOP)?;
        if hop == RELEASE {
            return Some(Self::Release);
        }
        if hop == BROKEN {
            return Some(Self::Broken);
        }
        let client = headers.get(CLIENT)?.to_str().ok()?.parse().ok()?;
        (hop == PASSED).then_some(Self::Passed { client })
    }

    /// The headers of a request that is passed on.
    pub(super) fn of_request(client: IpAddr, from: HeaderMap) -> HeaderMap {
        passed(client, from, &OF_REQUESTS)
    }

    /// The headers of an upgrade that is passed on.
    pub(super) fn of_upgrade(client: IpAddr, from: HeaderMap) -> HeaderMap {
        passed(client, from, &OF_UPGRADES)
    }

    /// The headers of a request to release a poll.
    pub(super) fn of_release() -> HeaderMap {
        HeaderMap::from_iter([(HOP, RELEASE)])
    }

    /// The headers of a word about a client that broke off.
    pub(super) fn of_broken() -> HeaderMap {
        HeaderMap::from_iter([(HOP, BROKEN)])
    }
}

fn passed(client: IpAddr, mut from: HeaderMap, which: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(which.len() + 2);
    for name in which {
        if let Some(value) = from.remove(name) {
            headers.insert(name, value);
        }
    }
    headers.insert(HOP, PASSED);
    // An address's digits, dots and colons are always a header's value.
    if let Ok(client) = HeaderValue::try_from(client.to_string()) {
        headers.insert(CLIENT, client);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_says_so_and_whose_it_is() {
        let client = "192.0.2.7".parse().unwrap();
        let headers = Hop::of_request(client, HeaderMap::new());
        assert_eq!(Hop::read(&headers), Some(Hop::Passed { client }));
        assert_eq!(Hop::read(&Hop::of_release()), Some(Hop::Release));
        assert_eq!(Hop::read(&Hop::of_broken()), Some(Hop::Broken));
        assert_eq!(Hop::read(&HeaderMap::new()), None);
    }

    #[test]
    fn a_client_cannot_speak_as_a_node() {
        let forged = Hop::of_request("198.51.100.1".parse().unwrap(), HeaderMap::new());
        let client = "192.0.2.7".parse().unwrap();
        let mut cookies = forged;
        cookies.insert(http::header::COOKIE, HeaderValue::from_static("a=b"));
        cookies.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let headers = Hop::of_request(client, cookies);
        assert_eq!(Hop::read(&headers), Some(Hop::Passed { client }));
        assert!(headers.get(http::header::COOKIE).is_none());
        assert_eq!(headers[CONTENT_TYPE], "text/plain");
    }
}
