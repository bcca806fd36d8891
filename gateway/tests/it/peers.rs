//! From node to node: an owner that answers as a test says, a node that passes on to it, and what passes between them.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use confab_gateway::config::PeerProtocol;
use confab_gateway::http::accept::{self, AcceptConfig, Protocols};
use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Address, StaticDirectory};
use confab_gateway::transport::peers::{Hop, PassOnError, Peers, PeersConfig};
use confab_gateway::transport::sid::{Sid, SidAuthority};
use confab_shared::id::NodeId;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const BOTH: [PeerProtocol; 2] = [PeerProtocol::H2c, PeerProtocol::H1];
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn accept_config(protocols: Protocols) -> AcceptConfig {
    AcceptConfig {
        protocols,
        max_connections: 5_000,
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        peer_timeout: Duration::from_secs(30),
    }
}

/// A listener that answers with `respond`.
pub(crate) async fn serve<S, F>(config: AcceptConfig, respond: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept::serve(
        listener,
        config,
        None,
        move |request, _, _| respond(request),
        CancellationToken::new(),
        TaskTracker::new(),
    ));
    address
}

/// A node that owns sessions.
async fn owner<S, F>(respond: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    serve(accept_config(Protocols::Http1AndHttp2), respond).await
}

/// A node that passes on, to an owner at an address.
struct Edge {
    peers: Peers,
    sid: Sid,
    draining: CancellationToken,
    tasks: TaskTracker,
}

impl Edge {
    fn new(owner: SocketAddr, protocol: PeerProtocol) -> Self {
        let sids = SidAuthority::new(NodeId::generate(), b"secret");
        let sid = sids.open(&sids.mint().1).unwrap();
        let directory: StaticDirectory = [(sid.node, Address::from(owner.to_string()))]
            .into_iter()
            .collect();
        let config = PeersConfig {
            protocol,
            max_answer: 2_000_000,
            patience: Duration::from_secs(30),
            spread: Duration::from_millis(100),
        };
        let (draining, tasks) = (CancellationToken::new(), TaskTracker::new());
        let peers = Peers::new(
            Arc::new(directory),
            &config,
            draining.clone(),
            tasks.clone(),
            Arc::new(Metrics::new().unwrap()),
        );
        Self {
            peers,
            sid,
            draining,
            tasks,
        }
    }

    async fn pass(
        &self,
        method: Method,
        body: impl Into<Bytes>,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let request = Request::builder()
            .method(method)
            .uri("/engine.io/?EIO=4&transport=polling&sid=x")
            .header(CONTENT_TYPE, "text/plain")
            .header(ACCEPT_ENCODING, "gzip")
            .header(COOKIE, "not=yours")
            .header("connection", "keep-alive")
            .body(())
            .unwrap();
        let head = request.into_parts().0;
        self.peers
            .pass_on(self.sid, head, body.into(), CLIENT)
            .await
    }
}

async fn text(response: Response<Full<Bytes>>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts how many of it there are.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_request_and_its_answer_pass_whole() {
    let address = owner(async |request: Request<Incoming>| {
        assert_eq!(
            Hop::read(request.headers()),
            Some(Hop::Passed { client: CLIENT })
        );
        assert_eq!(request.headers()[CONTENT_TYPE], "text/plain");
        assert!(request.headers().get(COOKIE).is_none());
        let said = format!(
            "{} {}",
            request.method(),
            request.uri().path_and_query().unwrap()
        );
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("x-kept", "yes")
            .body(Body::from(format!("{said} {}", body.len())))
            .unwrap()
    })
    .await;
    for protocol in BOTH {
        let edge = Edge::new(address, protocol);
        for size in [0, 1_000, 1_000_000] {
            let answer = edge.pass(Method::POST, vec![b'x'; size]).await.unwrap();
            assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
            assert_eq!(answer.headers()["x-kept"], "yes");
            let expected = format!("POST /engine.io/?EIO=4&transport=polling&sid=x {size}");
            assert_eq!(text(answer).await, expected, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn an_aborted_poll_is_aborted_at_the_owner_and_no_other_is() {
    let (waiting, release) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
    let address = {
        let (waiting, release) = (waiting.clone(), release.clone());
        owner(move |_| {
            let (alive, release) = (Alive::new(&waiting), release.clone());
            async move {
                release.cancelled().await;
                drop(alive);
                Response::new(Body::from("6"))
            }
        })
        .await
    };
    for protocol in BOTH {
        let edge = Arc::new(Edge::new(address, protocol));
        let poll = |_| {
            let edge = edge.clone();
            tokio::spawn(async move { text(edge.pass(Method::GET, "").await.unwrap()).await })
        };
        let kept: Vec<_> = (0..5).map(poll).collect();
        eventually("the polls that stay wait", || {
            waiting.load(Ordering::SeqCst) == 5
        })
        .await;
        // Many, and some of them before the owner has seen them: more than HTTP/2 servers take from clients.
        for _ in 0..3 {
            let aborted: Vec<_> = (0..300).map(poll).collect();
            tokio::time::sleep(Duration::from_millis(20)).await;
            for poll in &aborted {
                poll.abort();
            }
        }
        eventually("aborts reach the owner", || {
            waiting.load(Ordering::SeqCst) == 5
        })
        .await;
        if protocol == PeerProtocol::H1 {
            release.cancel();
            for poll in kept {
                assert_eq!(poll.await.unwrap(), "6");
            }
        } else {
            assert!(kept.iter().all(|poll| !poll.is_finished()));
            for poll in &kept {
                poll.abort();
            }
            eventually("nobody waits", || waiting.load(Ordering::SeqCst) == 0).await;
        }
    }
}

#[tokio::test]
async fn a_dead_or_unknown_owner_is_known_at_once() {
    // Nobody listens where somebody did.
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for protocol in BOTH {
        let mut edge = Edge::new(gone, protocol);
        let begun = Instant::now();
        let error = edge.pass(Method::GET, "").await.unwrap_err();
        assert!(matches!(error, PassOnError::OwnerSilent), "{error}");
        edge.sid.node = NodeId::generate();
        let error = edge.pass(Method::POST, "4x").await.unwrap_err();
        assert!(matches!(error, PassOnError::OwnerUnknown), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn an_owner_that_fell_silent_fails_its_polls_in_a_few_seconds() {
    // The kernel takes the connection; nobody ever reads it, as when a host is gone or a process stopped.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = Edge::new(listener.local_addr().unwrap(), PeerProtocol::H2c);
    let begun = Instant::now();
    let error = edge.pass(Method::GET, "").await.unwrap_err();
    assert!(matches!(error, PassOnError::OwnerSilent), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_collected() {
    let address = owner(async |_| Response::new(Body::from(vec![b'x'; 3_000_000]))).await;
    for protocol in BOTH {
        let error = Edge::new(address, protocol).pass(Method::GET, "").await;
        assert!(matches!(error, Err(PassOnError::OwnerSilent)));
    }
}

#[tokio::test]
async fn a_draining_node_asks_the_owner_to_release_the_polls_it_passes_on() {
    let (waiting, released) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
    let address = {
        let (waiting, released) = (waiting.clone(), released.clone());
        owner(move |request| {
            let (alive, released) = (Alive::new(&waiting), released.clone());
            async move {
                if Hop::read(request.headers()) == Some(Hop::Release) {
                    assert!(request.uri().query().unwrap().contains("sid=x"));
                    released.cancel();
                    return Response::new(Body::empty());
                }
                released.cancelled().await;
                drop(alive);
                Response::new(Body::from("6"))
            }
        })
        .await
    };
    let edge = Arc::new(Edge::new(address, PeerProtocol::H2c));
    let poll = {
        let edge = edge.clone();
        tokio::spawn(async move { text(edge.pass(Method::GET, "").await.unwrap()).await })
    };
    eventually("the poll waits", || waiting.load(Ordering::SeqCst) == 1).await;
    assert!(!poll.is_finished());
    edge.draining.cancel();
    assert_eq!(poll.await.unwrap(), "6");
}

/// An owner that gives back, on upgraded connections, what it gets; and a node with a public listener that tunnels to it.
async fn tunnel() -> (SocketAddr, Arc<Edge>, Arc<AtomicUsize>) {
    let open = Arc::<AtomicUsize>::default();
    let at_owner = {
        let open = open.clone();
        owner(move |mut request| {
            assert_eq!(
                Hop::read(request.headers()),
                Some(Hop::Passed { client: CLIENT })
            );
            let alive = Alive::new(&open);
            async move {
                if request.uri().query() == Some("refuse") {
                    let mut refusal = Response::new(Body::from("no"));
                    *refusal.status_mut() = StatusCode::BAD_REQUEST;
                    return refusal;
                }
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let upgraded = upgrade.await.unwrap();
                    let (mut stream, early) =
                        confab_gateway::transport::connection::take_over(upgraded).unwrap();
                    let (mut from, mut to) = stream.split();
                    to.write_all(&early).await.unwrap();
                    // An error is an end, too.
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.write_all(b"bye").await;
                    drop(alive);
                });
                Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "upgrade")
                    .header("upgrade", "websocket")
                    .header(
                        "sec-websocket-accept",
                        request.headers()["sec-websocket-key"].clone(),
                    )
                    .body(Body::empty())
                    .unwrap()
            }
        })
        .await
    };
    let edge = Arc::new(Edge::new(at_owner, PeerProtocol::H2c));
    let public = {
        let edge = edge.clone();
        serve(accept_config(Protocols::Http1), move |request| {
            let edge = edge.clone();
            async move {
                let opened = edge.peers.tunnel(edge.sid, request, CLIENT, Arc::new(()));
                opened.await.unwrap().map(Body::new)
            }
        })
        .await
    };
    (public, edge, open)
}

/// Asks for an upgrade; the answer's head and what came behind it.
async fn upgrade(public: SocketAddr, query: &str, early: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(public).await.unwrap();
    let request = format!(
        "GET /engine.io/?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a-key\r\n\r\n{early}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_until_a_side_ends() {
    let (public, edge, open) = tunnel().await;
    // A part of what is sent comes with the request, before anybody has consented.
    let (mut stream, head) = upgrade(public, "x", "early").await;
    assert!(
        head.starts_with("HTTP/1.1 101") && head.contains("a-key"),
        "{head}"
    );
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"early");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut from, mut to) = stream.split();
    let mut received = vec![0; sent.len()];
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut received));
    written.unwrap();
    read.unwrap();
    assert!(sent == received);
    assert_eq!(
        edge.tasks.len(),
        1,
        "what made the connections is gone, the tunnel runs"
    );
    stream.shutdown().await.unwrap();
    let mut last = String::new();
    stream.read_to_string(&mut last).await.unwrap();
    assert_eq!(last, "bye", "the owner's last word passes");
    eventually("nothing is left", || {
        open.load(Ordering::SeqCst) == 0 && edge.tasks.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_refused_upgrade_and_a_client_that_breaks_off_leave_nothing() {
    let (public, edge, open) = tunnel().await;
    let (mut stream, head) = upgrade(public, "refuse", "").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"no");
    for _ in 0..20 {
        let (stream, _) = upgrade(public, "x", "some").await;
        drop(stream);
    }
    eventually("nothing is left", || {
        open.load(Ordering::SeqCst) == 0 && edge.tasks.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_draining_node_closes_its_tunnels() {
    let (public, edge, open) = tunnel().await;
    let (mut stream, _) = upgrade(public, "x", "").await;
    edge.draining.cancel();
    let mut last = String::new();
    stream.read_to_string(&mut last).await.unwrap();
    assert_eq!(last, "bye");
    eventually("nothing is left", || {
        open.load(Ordering::SeqCst) == 0 && edge.tasks.is_empty()
    })
    .await;
}
