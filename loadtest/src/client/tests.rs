//! The connection against a scripted peer that sends bytes as a server might.

mod around;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::frame::{self, Opcode};
use super::*;
use crate::http::Endpoint;

const PATIENCE: Duration = Duration::from_secs(60);

/// The server's end of a connection, after the upgrade.
struct Peer(TcpStream);

impl Peer {
    async fn accept(listener: TcpListener) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        assert!(request.starts_with(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"));
        // The head and the first packet in one piece, as a busy server writes them.
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
        answer.extend(text_frame(r#"0{"sid":"x"}"#));
        stream.write_all(&answer).await.unwrap();
        Self(stream)
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The payload of the client's next frame, which is short.
    async fn hear(&mut self) -> String {
        let mut header = [0; 6];
        self.0.read_exact(&mut header).await.unwrap();
        assert_eq!(header[0], 0x81);
        assert_eq!(header[1] & 0x80, 0x80, "clients mask");
        let mut payload = vec![0; usize::from(header[1] & 0x7F)];
        self.0.read_exact(&mut payload).await.unwrap();
        let mask = &header[2..];
        String::from_utf8(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key)
                .collect(),
        )
        .unwrap()
    }
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut masked = Vec::new();
    frame::encode(&mut masked, Opcode::Text, [0; 4], text.as_bytes());
    let header = masked.len() - text.len() - 4;
    masked[1] &= 0x7F;
    masked.drain(header..header + 4);
    masked
}

/// A client that connects with a buffer of 1 KiB, and its peer.
async fn pair() -> (JoinHandle<Result<Connection, ClientError>>, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let dial = Dial {
        kind: Kind::WebSocket,
        route: Route::direct(endpoint),
        buffer: 1,
        within: PATIENCE,
    };
    let client =
        tokio::spawn(async move { Connection::open(&dial, "a.b.c", &Recovery::default()).await });
    (client, Peer::accept(listener).await)
}

async fn open() -> (Connection, Peer) {
    let (client, mut peer) = pair().await;
    assert_eq!(peer.hear().await, r#"40/chat,{"token":"a.b.c"}"#);
    peer.say(&text_frame(r#"40/chat,{"sid":"y"}"#)).await;
    (client.await.unwrap().unwrap(), peer)
}

/// The name and the body's length of the next event.
async fn event(connection: &mut Connection) -> Result<(String, usize), ClientError> {
    loop {
        match connection.packet()? {
            Some(Packet::Event { name, body }) => {
                return Ok((String::from_utf8_lossy(name).into_owned(), body.len()));
            }
            Some(_) => {}
            None => connection.turn().await?,
        }
    }
}

#[tokio::test]
async fn events_arrive_however_their_bytes_do() {
    let (mut connection, mut peer) = open().await;
    let mut bytes = Vec::new();
    // Shorter than the buffer, longer than what is left of it, longer than all of it.
    for length in [10, 700, 700, 5_000, 20, 70_000, 1] {
        bytes.extend(text_frame(&format!(
            r#"42/chat,["e","{}"]"#,
            "x".repeat(length)
        )));
    }
    let piecemeal = tokio::spawn(async move {
        for piece in bytes.chunks(333) {
            peer.say(piece).await;
            tokio::task::yield_now().await;
        }
        peer
    });
    for length in [10, 700, 700, 5_000, 20, 70_000, 1] {
        // The comma, the quotation marks and the bracket.
        assert_eq!(
            event(&mut connection).await.unwrap(),
            ("e".to_owned(), length + 4)
        );
    }
    drop(piecemeal.await.unwrap());
    assert!(matches!(
        event(&mut connection).await,
        Err(ClientError::Closed(_) | ClientError::Io(_))
    ));
}

#[tokio::test]
async fn a_buffer_that_is_filled_to_its_last_byte_is_not_the_end() {
    let (mut connection, mut peer) = open().await;
    assert!(connection.packet().unwrap().is_none());
    // Sixteen of these fill the buffer, and nobody asks whether there is more behind one.
    let text = format!(r#"42/chat,["e","{}"]"#, "x".repeat(46));
    let frame = text_frame(&text);
    assert_eq!(frame.len(), 64);
    for _ in 0..40 {
        peer.say(&frame).await;
        connection.turn().await.unwrap();
        let packet = connection.packet().unwrap();
        assert!(matches!(packet, Some(Packet::Event { .. })), "{packet:?}");
    }
    // Nor when more has come than there is room for.
    peer.say(&frame.repeat(40)).await;
    connection.turn().await.unwrap();
    connection.turn().await.unwrap();
    for _ in 0..40 {
        assert_eq!(event(&mut connection).await.unwrap().0, "e");
    }
}

#[tokio::test]
async fn pings_are_answered_and_events_are_sent() {
    let (mut connection, mut peer) = open().await;
    peer.say(&text_frame("2")).await;
    peer.say(&text_frame(r#"42/chat,["after",1]"#)).await;
    assert_eq!(event(&mut connection).await.unwrap().0, "after");
    connection.emit("sendMessage", 7, br#"{"a":1}"#);
    connection.flush().unwrap();
    assert_eq!(peer.hear().await, "3");
    assert_eq!(peer.hear().await, r#"42/chat,7["sendMessage",{"a":1}]"#);
}

#[tokio::test]
async fn a_close_says_why() {
    let (mut connection, mut peer) = open().await;
    peer.say(&[0x88, 6, 0x03, 0xF1, b's', b'l', b'o', b'w'])
        .await;
    let ended = event(&mut connection).await.unwrap_err();
    assert_eq!(ended.to_string(), "closed by the server with 1009 slow");
}

#[tokio::test]
async fn a_refusal_is_told() {
    let (client, mut peer) = pair().await;
    peer.hear().await;
    peer.say(&text_frame(r#"44/chat,{"message":"Unauthorized"}"#))
        .await;
    let refused = client.await.unwrap().unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused(why) if why.contains("Unauthorized")),
        "{refused}"
    );
}
