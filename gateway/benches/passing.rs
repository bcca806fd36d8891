//! What it costs that a session lives on another node: a polling request that is passed on, over HTTP/2 and HTTP/1.1, and a
//! WebSocket that goes through a tunnel; each beside the same thing done directly.
//!
//! Clients, both nodes and the owner's answers are one process, so the difference in its processor time is what passing on costs.
//! Run with `cargo bench -p confab-gateway --bench passing`. Without `--bench` (as when all targets are tested) it runs for a moment,
//! to see that it does.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on has failed, and its figures are its output"
)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use confab_gateway::config::PeerProtocol;
use confab_gateway::http::accept::{self, AcceptConfig, Protocols};
use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Address, StaticDirectory};
use confab_gateway::transport::connection::take_over;
use confab_gateway::transport::peers::{Peers, PeersConfig};
use confab_gateway::transport::sid::{Sid, SidAuthority};
use confab_shared::id::NodeId;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CLIENTS: usize = 64;
const PACE: Duration = Duration::from_millis(50);
const IDLE: usize = 2_000;
/// Says that this process is one for the memory of one case.
const IDLE_CASE: &str = "CONFAB_BENCH_IDLE";

/// How long each figure is taken.
static FOR: LazyLock<Duration> = LazyLock::new(|| {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    Duration::from_millis(if is_bench { 5_000 } else { 50 })
});

#[tokio::main]
async fn main() {
    let owner = listen(Protocols::Http1AndHttp2, answer).await;
    let ways = [
        ("direct", owner),
        ("over h2c", edge(owner, PeerProtocol::H2c).await),
        ("over h1", edge(owner, PeerProtocol::H1).await),
    ];
    if let Ok(case) = std::env::var(IDLE_CASE) {
        return idle(&case, ways).await;
    }
    for (what, path, batch) in [
        ("POST of 100 bytes", "/post", 1),
        ("poll that waits 20 ms", "/poll", 1),
        ("POST, 8 at once", "/post", 8),
    ] {
        println!("{what}, {} a second:", CLIENTS * batch * 1_000 / 50);
        for round in 0..2 {
            for (name, address) in ways {
                let figures = requests(address, path, batch).await;
                if round > 0 {
                    println!("  {name:9} {figures}");
                }
            }
        }
    }
    let tunnelled = ways[1].1;
    println!("WebSocket, there and back:");
    for (name, address) in [("direct", owner), ("tunnel", tunnelled)] {
        println!("  {name:9} {}", round_trips(address).await);
    }
    println!("idle, {IDLE} of each, clients included:");
    for (what, name) in [
        ("poll", "direct"),
        ("poll", "over h2c"),
        ("poll", "over h1"),
        ("WebSocket", "direct"),
        ("WebSocket", "tunnel"),
    ] {
        // Each in a process of its own, which has not grown for the others.
        let program = std::env::current_exe().unwrap();
        let case = Command::new(program)
            .env(IDLE_CASE, format!("{what}/{name}"))
            .output();
        print!("  {}", String::from_utf8_lossy(&case.unwrap().stdout));
    }
}

/// What a waiting poll, or a WebSocket that says nothing, takes in memory.
async fn idle(case: &str, ways: [(&str, SocketAddr); 3]) {
    let (what, name) = case.split_once('/').unwrap();
    let way = ways
        .iter()
        .find(|way| way.0 == name)
        .map_or(ways[1].1, |way| way.1);
    let before = resident();
    let mut streams = Vec::new();
    for _ in 0..IDLE {
        if what == "poll" {
            let mut stream = TcpStream::connect(way).await.unwrap();
            let request = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            streams.push(stream);
        } else {
            let mut stream = upgraded(way).await;
            stream.write_all(&[b'x'; 100]).await.unwrap();
            stream.read_exact(&mut [0; 100]).await.unwrap();
            streams.push(stream);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let each = (resident() - before) / IDLE as f64;
    println!("{what:9} {name:9} {each:.1} KB each");
}

async fn answer(mut request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        "/ws" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut stream, early) = take_over(upgrade.await.unwrap()).unwrap();
                stream.write_all(&early).await.unwrap();
                let mut bytes = [0; 256];
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    stream.write_all(&bytes[..read]).await.unwrap();
                }
            });
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket")] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        path => {
            match path {
                "/poll" => tokio::time::sleep(Duration::from_millis(20)).await,
                "/wait" => std::future::pending().await,
                _ => {}
            }
            request.into_body().collect().await.unwrap();
            Response::new(Body::from("ok"))
        }
    }
}

async fn edge(owner: SocketAddr, protocol: PeerProtocol) -> SocketAddr {
    let sids = SidAuthority::new(NodeId::generate(), b"secret");
    let sid: Sid = sids.open(&sids.mint().1).unwrap();
    let directory: StaticDirectory = [(sid.node, Address::from(owner.to_string()))]
        .into_iter()
        .collect();
    let config = PeersConfig {
        protocol,
        max_answer: 2_000_000,
        patience: Duration::from_secs(30),
        stuck: Duration::from_secs(30),
        spread: Duration::from_secs(1),
    };
    let peers = Peers::new(
        Arc::new(directory),
        &config,
        CancellationToken::new(),
        TaskTracker::new(),
        Arc::new(Metrics::new().unwrap()),
    );
    listen(Protocols::Http1, move |request: Request<Incoming>| {
        let peers = peers.clone();
        async move {
            if request.uri().path() == "/ws" {
                let opened = peers.tunnel(sid, request, CLIENT, Arc::new(())).await;
                return opened.unwrap().map(Body::new);
            }
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let answered = peers.pass_on(sid, head, body, CLIENT).await;
            answered.unwrap().map(Body::new)
        }
    })
    .await
}

async fn listen<S, F>(protocols: Protocols, respond: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = AcceptConfig {
        protocols,
        max_connections: 10_000,
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        peer_timeout: Duration::from_secs(30),
        tls: None,
    };
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

/// Paced requests on connections of their own, `batch` of them at once.
async fn requests(address: SocketAddr, path: &str, batch: usize) -> String {
    let body = "x".repeat(100);
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{body}");
    let request: Arc<[u8]> = request.into_bytes().into();
    measure(CLIENTS * batch, |client| {
        let request = request.clone();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut latencies = Vec::new();
            let mut turn = paced(client / batch);
            let until = Instant::now() + *FOR;
            while Instant::now() < until {
                turn.tick().await;
                let begun = Instant::now();
                stream.write_all(&request).await.unwrap();
                let mut answer = [0; 512];
                let mut read = 0;
                while !answer[..read].ends_with(b"\r\n\r\nok") {
                    read += stream.read(&mut answer[read..]).await.unwrap();
                }
                latencies.push(begun.elapsed());
            }
            latencies
        }
    })
    .await
}

/// Paced messages of 100 bytes there and back.
async fn round_trips(address: SocketAddr) -> String {
    measure(CLIENTS, |client| async move {
        let mut stream = upgraded(address).await;
        let mut latencies = Vec::new();
        let mut turn = paced(client);
        let until = Instant::now() + *FOR;
        while Instant::now() < until {
            turn.tick().await;
            let begun = Instant::now();
            stream.write_all(&[b'x'; 100]).await.unwrap();
            stream.read_exact(&mut [0; 100]).await.unwrap();
            latencies.push(begun.elapsed());
        }
        latencies
    })
    .await
}

/// Clients take turns evenly.
fn paced(client: usize) -> tokio::time::Interval {
    let offset = PACE.mul_f64((client % CLIENTS) as f64 / CLIENTS as f64);
    tokio::time::interval_at(tokio::time::Instant::now() + offset, PACE)
}

async fn measure<F>(clients: usize, client: impl Fn(usize) -> F) -> String
where
    F: Future<Output = Vec<Duration>> + Send + 'static,
{
    let before = processor_time();
    let running: Vec<_> = (0..clients).map(|n| tokio::spawn(client(n))).collect();
    let mut latencies = Vec::new();
    for client in running {
        latencies.extend(client.await.unwrap());
    }
    let spent = processor_time().saturating_sub(before);
    latencies.sort_unstable();
    let at = |share: usize| latencies[latencies.len() * share / 100].as_secs_f64() * 1e3;
    format!(
        "p50 {:.3} ms, p99 {:.3} ms, {:.0} µs of processor time each ({} measured)",
        at(50),
        at(99),
        spent.as_secs_f64() * 1e6 / latencies.len() as f64,
        latencies.len()
    )
}

async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request =
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream
}

/// What this process has used, user and system.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory in KB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
