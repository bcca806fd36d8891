//! Connections that are joined to one of another node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use confab_gateway::config::PeerProtocol;
use confab_gateway::http::accept::Protocols;
use confab_gateway::transport::connection::take_over;
use confab_gateway::transport::peers::Hop;
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::{Alive, CLIENT, Edge, accept_config, eventually, owner, serve};

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
                    let (stream, early) = take_over(upgraded).unwrap();
                    let (mut from, mut to) = stream.into_split();
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
