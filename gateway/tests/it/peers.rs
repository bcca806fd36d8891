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
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::nodes::AT_ONCE;
use crate::raw::PATIENCE;

const BOTH: [PeerProtocol; 2] = [PeerProtocol::H2c, PeerProtocol::H1];
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

pub(crate) fn accept_config(protocols: Protocols) -> AcceptConfig {
    AcceptConfig {
        protocols,
        max_connections: 5_000,
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        peer_timeout: Duration::from_secs(30),
        tls: None,
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
pub(crate) async fn owner<S, F>(respond: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    serve(accept_config(Protocols::Http1AndHttp2), respond).await
}

/// A node that passes on, to an owner at an address.
pub(crate) struct Edge {
    pub(crate) peers: Peers,
    pub(crate) sid: Sid,
    pub(crate) draining: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Edge {
    pub(crate) fn new(owner: SocketAddr, protocol: PeerProtocol) -> Self {
        let sids = SidAuthority::new(NodeId::generate(), b"secret");
        let sid = sids.open(&sids.mint().1).unwrap();
        let directory: StaticDirectory = [(sid.node, Address::from(owner.to_string()))]
            .into_iter()
            .collect();
        let config = PeersConfig {
            protocol,
            max_answer: 2_000_000,
            patience: Duration::from_secs(30),
            stuck: Duration::from_secs(30),
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

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts how many of it there are.
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
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
        assert_eq!(request.headers()[ACCEPT_ENCODING], "gzip");
        assert!(request.headers().get(CONTENT_TYPE).is_none());
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
        // A slow machine may take longer, but not every time.
        for tries_left in (0..3).rev() {
            let mut edge = Edge::new(gone, protocol);
            let begun = Instant::now();
            let error = edge.pass(Method::GET, "").await.unwrap_err();
            assert!(matches!(error, PassOnError::OwnerSilent), "{error}");
            edge.sid.node = NodeId::generate();
            let error = edge.pass(Method::POST, "4x").await.unwrap_err();
            assert!(matches!(error, PassOnError::OwnerUnknown), "{error}");
            let took = begun.elapsed();
            if took < AT_ONCE {
                break;
            }
            assert!(tries_left > 0, "{took:?}");
        }
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
        begun.elapsed() < Duration::from_secs(25),
        "{:?}, and requests may take 30 s",
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
