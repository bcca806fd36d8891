//! What becomes of connections whose clients do nothing.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use confab_gateway::http::accept::{AcceptConfig, Protocols};
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::serve;

fn config() -> AcceptConfig {
    AcceptConfig {
        protocols: Protocols::Http1,
        max_connections: 10,
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(900),
        peer_timeout: Duration::from_secs(2),
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
