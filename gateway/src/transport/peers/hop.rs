//! What one node tells another about a request that it passes on, as headers.
//!
//! They mean something on the internal listener only. A client that sends them to the public one is talking to itself: requests
//! are passed on with the headers listed here and no others. What a client wrote is not repeated but said again in our own words:
//! many clients' requests share a connection, which one header that is too large or too odd would end for all of them.

use std::net::IpAddr;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::transport::answer::accepts_gzip;
use crate::transport::request_id;

/// Why a request came over the internal listener.
const HOP: HeaderName = HeaderName::from_static("confab-hop");
/// The address of the client whose request it is.
const CLIENT: HeaderName = HeaderName::from_static("confab-client");

const PASSED: HeaderValue = HeaderValue::from_static("passed");
const RELEASE: HeaderValue = HeaderValue::from_static("release");
const BROKEN: HeaderValue = HeaderValue::from_static("broken");

/// What of a client's upgrade is repeated: its connection to the owner is its own, and no extension or subprotocol is spoken.
const OF_UPGRADES: [HeaderName; 2] = [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

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

    /// The headers of a polling request that is passed on. Of the client's, only what it can read matters to the owner: which pages
    /// may talk to us is decided where they do.
    pub(super) fn of_request(client: IpAddr, from: &HeaderMap) -> HeaderMap {
        let mut headers = passed(client, from);
        if accepts_gzip(from) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers
    }

    /// The headers of an upgrade that is passed on. A proxy before us may have sent its own `Connection`.
    pub(super) fn of_upgrade(client: IpAddr, from: &HeaderMap) -> HeaderMap {
        let mut headers = passed(client, from);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        for name in OF_UPGRADES {
            if let Some(value) = from.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers
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

/// What all requests that are passed on say. A client's own id for its request names it in both nodes' logs.
fn passed(client: IpAddr, from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(HOP, PASSED)]);
    // An address's digits, dots and colons are always a header's value.
    if let Ok(client) = HeaderValue::try_from(client.to_string()) {
        headers.insert(CLIENT, client);
    }
    if let Some(id) = request_id::brought(from) {
        request_id::put(&mut headers, id);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_says_so_and_whose_it_is() {
        let client = "192.0.2.7".parse().unwrap();
        let headers = Hop::of_request(client, &HeaderMap::new());
        assert_eq!(Hop::read(&headers), Some(Hop::Passed { client }));
        assert_eq!(Hop::read(&Hop::of_release()), Some(Hop::Release));
        assert_eq!(Hop::read(&Hop::of_broken()), Some(Hop::Broken));
        assert_eq!(Hop::read(&HeaderMap::new()), None);
    }

    #[test]
    fn a_client_cannot_speak_as_a_node() {
        let mut forged = Hop::of_request("198.51.100.1".parse().unwrap(), &HeaderMap::new());
        let client = "192.0.2.7".parse().unwrap();
        forged.insert(http::header::COOKIE, HeaderValue::from_static("a=b"));
        let headers = Hop::of_request(client, &forged);
        assert_eq!(Hop::read(&headers), Some(Hop::Passed { client }));
        assert!(headers.get(http::header::COOKIE).is_none());
    }

    #[test]
    fn a_request_keeps_its_id_if_that_is_fit_for_logs() {
        let client = "192.0.2.7".parse().unwrap();
        let mut from = HeaderMap::new();
        request_id::put(&mut from, "abc-123");
        for headers in [
            Hop::of_request(client, &from),
            Hop::of_upgrade(client, &from),
        ] {
            assert_eq!(request_id::brought(&headers), Some("abc-123"));
        }
        from.insert(
            request_id::REQUEST_ID,
            HeaderValue::from_static("two words"),
        );
        let headers = Hop::of_request(client, &from);
        assert!(headers.get(request_id::REQUEST_ID).is_none());
    }

    #[test]
    fn what_a_client_can_read_is_said_in_our_own_words() {
        let client = "192.0.2.7".parse().unwrap();
        let mut from = HeaderMap::new();
        let odd = [b"gzip, ".as_slice(), &vec![0xff; 60_000]].concat();
        from.insert(ACCEPT_ENCODING, HeaderValue::from_bytes(&odd).unwrap());
        let headers = Hop::of_request(client, &from);
        assert!(headers.get(ACCEPT_ENCODING).is_none());
        from.append(ACCEPT_ENCODING, HeaderValue::from_static("br;q=1, gzip"));
        let headers = Hop::of_request(client, &from);
        assert_eq!(headers[ACCEPT_ENCODING], "gzip");
    }
}
