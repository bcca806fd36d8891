//! Connections, whoever is at the other end: how they are looked after, and how they are taken over from HTTP.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::stream::Stream;

/// How many unanswered keep-alive probes make a dead peer.
const PROBES: u32 = 3;

/// Names a connection in the log: how many its listener had accepted, itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId(pub u64);

/// Makes the kernel send small frames at once, and notice within about `patience` that a peer is gone or reads nothing.
///
/// TCP_USER_TIMEOUT covers a connection with something to send: it ends when nothing of it was acknowledged for that long, or the
/// peer's window stayed closed. Keep-alive probes cover a silent one.
pub fn tend(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(patience))?;
    // The kernel counts whole seconds here.
    let interval = (patience / (PROBES + 1)).max(Duration::from_secs(1));
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(interval)
            .with_interval(interval)
            .with_retries(PROBES),
    )
}

/// The stream behind a connection that HTTP has let go, and what was read from it too far.
pub fn take_over(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    // A listener that speaks both versions of HTTP hands its connections over in a wrapper.
    let (stream, read) = match upgrade::downcast::<TokioIo<Stream>>(upgraded) {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<TokioIo<Stream>>() {
            Ok(parts) => (parts.io, parts.read_buf),
            Err(_) => {
                tracing::error!("an upgraded connection is not the stream it began as");
                return None;
            }
        },
    };
    // A copy: even where there is nothing, it would hold the whole of HTTP's buffer, for as long as it is kept.
    Some((stream.into_inner(), Bytes::copy_from_slice(&read)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tended_connection_ends_when_its_peer_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        tend(&stream, Duration::from_secs(30)).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(30))
        );
        let probes = socket.keepalive_interval().unwrap() * socket.keepalive_retries().unwrap();
        let silent = socket.keepalive_time().unwrap() + probes;
        assert!(silent <= Duration::from_secs(30), "{silent:?}");
    }
}
