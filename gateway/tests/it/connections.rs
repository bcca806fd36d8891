//! What becomes of connections whose clients do nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use confab_gateway::http::accept::{self, AcceptConfig, Closing, Protocols};
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peers::{Alive, eventually, serve};
use crate::raw::PATIENCE;

fn config() -> AcceptConfig {
    AcceptConfig {
        protocols: Protocols::Http1,
        max_connections: 10,
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(900),
        peer_timeout: Duration::from_secs(2),
        tls: None,
    }
}

/// Waits until the server ends a connection.
async fn ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the connection never ended");
}

/// A request on a connection that stays.
async fn ask(stream: &mut TcpStream) {
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_without_a_request_ends_soon() {
    let config = AcceptConfig {
        idle_timeout: PATIENCE * 2,
        ..config()
    };
    let address = serve(config, async |_| Response::new(Body::from("ok"))).await;
    for sent in ["", "GET / HTTP/1.1\r\nHo"] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        ends(&mut stream).await;
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(290), "{took:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_ends_later() {
    let config = AcceptConfig {
        idle_timeout: Duration::from_secs(8),
        ..config()
    };
    let address = serve(config, async |_| Response::new(Body::from("ok"))).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle).await;
    // Longer than one may be silent that has asked for nothing yet.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    ask(&mut idle).await;
    ends(&mut idle).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(7_990), "{took:?}");
}

/// An answer that is alive until it was sent or given up.
struct Answer(
    Vec<u8>,
    #[expect(dead_code, reason = "it counts while it is held")] Alive,
);

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_let_go() {
    let (given, held) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (given.clone(), held.clone());
    let address = serve(config(), move |_| {
        let answer = Answer(vec![b'x'; 32 << 20], Alive::new(&counts.1));
        counts.0.fetch_add(1, Ordering::SeqCst);
        async { Response::new(Body::new(Full::new(Bytes::from_owner(answer)))) }
    })
    .await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // After a while the server has given up, and what it had sent is all there is.
    eventually("it is let go", || {
        given.load(Ordering::SeqCst) == 1 && held.load(Ordering::SeqCst) == 0
    })
    .await;
    let mut received = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received)).await;
    let _ = ended.expect("the connection never ended");
    assert!(received.len() < 32 << 20, "{}", received.len());
}

#[tokio::test]
async fn upgrades_of_peers_leave_room_for_other_requests() {
    let config = AcceptConfig {
        protocols: Protocols::Http1AndHttp2,
        max_connections: 32,
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        ..config()
    };
    let address = serve(config, async |_| Response::new(Body::from("ok"))).await;
    let ask = async |more: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, String::from_utf8_lossy(&status[9..]).into_owned())
    };
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut open = Vec::new();
    for _ in 0..30 {
        let (stream, status) = ask(upgrade).await;
        assert_eq!(status, "200");
        open.push(stream);
    }
    let (refused, status) = ask(upgrade).await;
    assert_eq!(status, "503");
    assert_eq!(ask("").await.1, "200");
    drop((open, refused));
}

#[tokio::test]
async fn a_drain_does_not_wait_for_connections_that_never_asked() {
    let config = AcceptConfig {
        idle_timeout: PATIENCE,
        ..config()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let served = tokio::spawn(accept::serve(
        listener,
        config,
        None,
        async |_, _, _| Response::new(Body::from("ok")),
        stop.clone(),
        tasks.clone(),
    ));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    // These are accepted when a later one is, which is let go at once.
    ask(&mut TcpStream::connect(address).await.unwrap()).await;
    stop.cancel();
    served.await.unwrap();
    tasks.close();
    let begun = Instant::now();
    tasks.wait().await;
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    ends(&mut silent).await;
    ends(&mut slow).await;
}

/// Sends a request on a connection that is kept, and reads the head of its answer. None if it was cut off.
async fn say(stream: &mut TcpStream, method: &str) -> Option<String> {
    let request = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\nok") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn a_post_on_a_kept_connection_is_answered_though_a_drain_has_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    let closing = Closing {
        begins: CancellationToken::new(),
        ends: CancellationToken::new(),
    };
    let config = AcceptConfig {
        max_connections: 100,
        idle_timeout: Duration::from_secs(600),
        ..config()
    };
    let served = tokio::spawn(accept::serve(
        listener,
        config,
        None,
        async |_, _, _| Response::new(Body::from("ok")),
        closing.clone(),
        tasks.clone(),
    ));
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = say(&mut stream, "GET").await.unwrap();
        assert!(!head.contains("connection: close"), "{head}");
        kept.push(stream);
    }
    let mut idle = kept.split_off(80);
    closing.begins.cancel();
    served.await.unwrap();
    // What would be cut off would be by now.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for stream in &mut kept {
        let head = say(stream, "POST").await.expect("cut off");
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it stays");
    }
    closing.ends.cancel();
    for stream in &mut idle {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it stays");
    }
    tasks.close();
    tasks.wait().await;
}
