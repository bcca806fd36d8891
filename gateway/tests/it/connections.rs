//! What becomes of connections whose clients do nothing.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use confab_gateway::http::accept::{self, AcceptConfig, Protocols};
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peers::serve;

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

/// How long it takes until the server ends a connection.
async fn lived(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest))
        .await
        .expect("the connection never ended");
    begun.elapsed()
}

#[tokio::test]
async fn a_connection_without_a_request_ends_soon_and_an_idle_one_later() {
    let address = serve(config(), async |_| Response::new(Body::from("ok"))).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let took = lived(&mut silent).await;
    assert!((250..800).contains(&took.as_millis()), "{took:?}");

    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let took = lived(&mut slow).await;
    assert!((250..800).contains(&took.as_millis()), "{took:?}");

    let mut idle = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 512];
        let read = idle.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    }
    let took = lived(&mut idle).await;
    assert!((800..1_800).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_let_go() {
    let address = serve(config(), async |_| {
        Response::new(Body::new(Full::new(Bytes::from(vec![b'x'; 32 << 20]))))
    })
    .await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // Longer than the server waits for a window that stays closed; then it has given up, and what it had sent is all there is.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut received = Vec::new();
    let ended =
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut received)).await;
    let _ = ended.expect("the connection never ended");
    assert!(received.len() < 32 << 20, "{}", received.len());
}

#[tokio::test]
async fn upgrades_of_peers_leave_room_for_other_requests() {
    let config = AcceptConfig {
        protocols: Protocols::Http1AndHttp2,
        max_connections: 32,
        header_timeout: Duration::from_secs(5),
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let served = tokio::spawn(accept::serve(
        listener,
        config(),
        None,
        async |_, _, _| Response::new(Body::from("ok")),
        stop.clone(),
        tasks.clone(),
    ));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    served.await.unwrap();
    tasks.close();
    let begun = Instant::now();
    tasks.wait().await;
    assert!(begun.elapsed() < Duration::from_millis(800));
    lived(&mut silent).await;
    lived(&mut slow).await;
}
