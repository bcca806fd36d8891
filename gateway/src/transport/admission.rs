//! Who may open a session: limits per client address, each node for itself.
//!
//! What is counted is in this node's memory only: `n` nodes admit `n` times as much. These limits keep one address from taking a
//! node's connections and memory; what users may do is limited elsewhere, across nodes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use ipnet::IpNet;
use parking_lot::Mutex;

use crate::config::LimitsConfig;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How many seconds' worth of handshakes may come at once.
const BURST: f64 = 2.0;
/// When an address with too many sessions may try again.
const LATER: Duration = Duration::from_secs(5);
/// How many addresses are told apart. When there are more, newcomers share one allowance.
const CAPACITY: usize = 65_536;
/// How often room is looked for among them.
const SWEEP: Duration = Duration::from_secs(1);
/// Whose allowance they share.
const EVERYBODY_ELSE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The proxies whose word about a client's address is taken.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// Where a request comes from: the last address of its way that is no trusted proxy. What stands before that one in
    /// X-Forwarded-For is hearsay, and the header itself is if the connection does not come from a trusted proxy.
    pub fn client(&self, remote: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = remote.ip().to_canonical();
        let named = headers.get_all(FORWARDED_FOR);
        let mut named = named.iter().rev().flat_map(|value| {
            let value = value.to_str().unwrap_or_default();
            value.rsplit(',').map(str::trim)
        });
        while self.trusts(client) {
            // A trusted proxy that says nothing, or nonsense, is where the trail ends.
            let Some(Some(before)) = named.next().map(address) else {
                break;
            };
            client = before;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: bare, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']').parse();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let address: Result<IpAddr, _> = bare.or_else(|_| with_port());
    Some(address.ok()?.to_canonical())
}

/// What stands for a client's address where addresses are counted: for IPv6 its /64 network, all of which one customer has.
pub fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// How soon a client may ask again at a node that is full.
const FULL: Duration = Duration::from_secs(5);

/// A handshake that is refused for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAdmitted {
    /// Which limit, for metric labels.
    pub limit: &'static str,
    /// Whether it is the node's, not the client's.
    pub is_node_full: bool,
    /// After how long it makes sense to try again.
    pub retry_after: Duration,
}

impl NotAdmitted {
    /// The node has as many sessions as it may.
    pub(super) const NODE_FULL: Self = Self {
        limit: "max_sessions",
        is_node_full: true,
        retry_after: FULL,
    };

    /// What the client is told.
    pub fn response(&self) -> Response<Full<Bytes>> {
        let (status, body) = if self.is_node_full {
            let body = r#"{"code":4,"message":"Too many sessions"}"#;
            (StatusCode::SERVICE_UNAVAILABLE, body)
        } else {
            let body = r#"{"code":4,"message":"Too many requests"}"#;
            (StatusCode::TOO_MANY_REQUESTS, body)
        };
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let seconds = self.retry_after.as_secs_f64().ceil().max(1.0);
        if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
}

/// The limits, and what is counted against them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sessions: u32,
    handshakes: f64,
    addresses: Mutex<Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    known: HashMap<IpAddr, Allowance>,
    /// When the idle ones were last looked for.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Allowance {
    sessions: u32,
    handshakes: f64,
    at: Instant,
}

/// A session's place among its address's; given back when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    /// None where nothing is counted.
    place: Option<(Arc<Inner>, IpAddr)>,
}

impl Admission {
    /// Admits within these limits.
    pub fn new(limits: &LimitsConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                sessions: limits.sessions_per_ip,
                handshakes: limits.handshakes_per_ip.into(),
                addresses: Mutex::default(),
            }),
        }
    }

    /// Counts a handshake from an address and a session that begins with it, unless it has too many.
    pub fn admit(&self, client: IpAddr) -> Result<Admitted, NotAdmitted> {
        self.admit_at(client, Instant::now())
    }

    fn admit_at(&self, client: IpAddr, now: Instant) -> Result<Admitted, NotAdmitted> {
        let inner = &self.inner;
        if inner.sessions == 0 && inner.handshakes == 0.0 {
            return Ok(Admitted { place: None });
        }
        let mut addresses = inner.addresses.lock();
        let subject = addresses.subject(client, now);
        let allowance = addresses.known.entry(subject).or_insert(Allowance {
            sessions: 0,
            handshakes: inner.handshakes * BURST,
            at: now,
        });
        if inner.handshakes > 0.0 {
            allowance.refill(inner.handshakes, now);
            if allowance.handshakes < 1.0 {
                return Err(NotAdmitted {
                    limit: "handshakes_per_ip",
                    is_node_full: false,
                    retry_after: Duration::from_secs_f64(
                        (1.0 - allowance.handshakes) / inner.handshakes,
                    ),
                });
            }
            allowance.handshakes -= 1.0;
        }
        if inner.sessions > 0 && allowance.sessions >= inner.sessions {
            return Err(NotAdmitted {
                limit: "sessions_per_ip",
                is_node_full: false,
                retry_after: LATER,
            });
        }
        allowance.sessions += 1;
        Ok(Admitted {
            place: Some((self.inner.clone(), subject)),
        })
    }
}

impl Addresses {
    /// Whose allowance counts: a client's own, or that of everybody else.
    fn subject(&mut self, client: IpAddr, now: Instant) -> IpAddr {
        let subject = client_network(client);
        let Self { known, swept } = self;
        if known.len() < CAPACITY || known.contains_key(&subject) {
            return subject;
        }
        // Not for every newcomer: there may be many, and nothing to be found.
        if swept.is_none_or(|last| now.saturating_duration_since(last) >= SWEEP) {
            *swept = Some(now);
            known.retain(|_, allowance| !allowance.is_idle(now));
        }
        if known.len() < CAPACITY {
            subject
        } else {
            EVERYBODY_ELSE
        }
    }
}

impl Allowance {
    /// Whether its address is as good as unknown: no sessions, and all of its handshakes again.
    fn is_idle(&self, now: Instant) -> bool {
        let full = now.saturating_duration_since(self.at).as_secs_f64() >= BURST;
        self.sessions == 0 && full
    }

    fn refill(&mut self, per_second: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.handshakes = (self.handshakes + passed * per_second).min(per_second * BURST);
        self.at = now;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some((inner, subject)) = &self.place
            && let Some(allowance) = inner.addresses.lock().known.get_mut(subject)
        {
            allowance.sessions = allowance.sessions.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(sessions_per_ip: u32, handshakes_per_ip: u32) -> Admission {
        Admission::new(&LimitsConfig {
            sessions_per_ip,
            handshakes_per_ip,
            sessions_per_user: 0,
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| (FORWARDED_FOR, line.parse().unwrap());
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_client_is_the_last_address_that_is_no_trusted_proxy() {
        let proxies = TrustedProxies::new(vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ]);
        let client = |remote: &str, lines: &[&str]| {
            proxies.client(SocketAddr::new(ip(remote), 9), &forwarded(lines))
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.9"]), ip("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["198.51.100.9"]), ip("198.51.100.9"));
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6, 198.51.100.9, 10.0.0.2"]),
            ip("198.51.100.9")
        );
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6", "198.51.100.9", "10.0.0.2"]),
            ip("198.51.100.9")
        );
        assert_eq!(
            client("10.0.0.1", &["198.51.100.9:4711"]),
            ip("198.51.100.9")
        );
        assert_eq!(client("2001:db8::1", &["[2a00::7]:80"]), ip("2a00::7"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6, unknown"]), ip("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(client("::ffff:10.0.0.1", &["1.2.3.4"]), ip("1.2.3.4"));
        let nobody = TrustedProxies::default();
        let remote = SocketAddr::new(ip("10.0.0.1"), 9);
        assert_eq!(
            nobody.client(remote, &forwarded(&["6.6.6.6"])),
            ip("10.0.0.1")
        );
    }

    #[test]
    fn sessions_are_counted_while_they_last() {
        let admission = limits(2, 0);
        let (one, _other) = (
            admission.admit(ip("192.0.2.1")),
            admission.admit(ip("192.0.2.1")),
        );
        let refused = admission.admit(ip("192.0.2.1")).unwrap_err();
        assert_eq!(refused.limit, "sessions_per_ip");
        assert!(admission.admit(ip("192.0.2.2")).is_ok());
        drop(one);
        assert!(admission.admit(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn handshakes_come_back_with_time() {
        let (admission, start) = (limits(0, 10), Instant::now());
        let admit =
            |after: u64| admission.admit_at(ip("192.0.2.1"), start + Duration::from_millis(after));
        assert_eq!((0..100).filter(|_| admit(0).is_ok()).count(), 20);
        let refused = admit(0).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_millis(100));
        assert_eq!(refused.response().headers()[RETRY_AFTER], "1");
        assert_eq!((0..100).filter(|_| admit(500).is_ok()).count(), 5);
    }

    #[test]
    fn a_network_of_the_sixth_version_is_one_client() {
        let admission = limits(1, 0);
        let _first = admission.admit(ip("2001:db8::1")).unwrap();
        assert!(admission.admit(ip("2001:db8::2")).is_err());
        assert!(admission.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_newcomers_share() {
        let (admission, now) = (limits(0, 1), Instant::now());
        let strangers = (0..u32::try_from(CAPACITY).unwrap() + 100).map(|n| IpAddr::V4(n.into()));
        let admitted = strangers
            .filter(|ip| admission.admit_at(*ip, now).is_ok())
            .count();
        assert_eq!(admission.inner.addresses.lock().known.len(), CAPACITY + 1);
        assert_eq!(admitted, CAPACITY + 2);
        let later = now + Duration::from_secs(3);
        assert!(admission.admit_at(ip("192.0.2.1"), later).is_ok());
        assert!(admission.inner.addresses.lock().known.len() <= 2);
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let admission = limits(0, 0);
        let admitted: Vec<_> = (0..100).map(|_| admission.admit(ip("192.0.2.1"))).collect();
        assert!(admitted.iter().all(Result::is_ok));
        assert!(admission.inner.addresses.lock().known.is_empty());
    }
}
