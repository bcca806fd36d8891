//! A STOMP 1.2 client that subscribes to one thing and listens, made to be cheap.
//!
//! Owns one session on a WebSocket: CONNECT, SUBSCRIBE, and where a MESSAGE's parts lie. It knows no chat: what a body says is its caller's.

use std::ops::Range;
use std::time::Duration;

use super::ClientError;
use super::websocket::WebSocket;
use crate::http::Endpoint;

/// What a client subscribes to, and how.
#[derive(Debug, Clone)]
pub struct Subscribe<'a> {
    /// Where.
    pub endpoint: &'a Endpoint,
    /// As whom.
    pub token: &'a str,
    /// To what.
    pub destination: &'a str,
    /// The subscription's id.
    pub id: &'a str,
    /// How much is read at once.
    pub buffer: usize,
    /// How long it may take until the server listens to it.
    pub within: Duration,
}

/// A session that is subscribed.
///
/// Drive it in a loop: [`message`](Self::message) until it has nothing, then [`turn`](Self::turn).
#[derive(Debug)]
pub struct Subscriber {
    socket: WebSocket,
    session: String,
}

/// The receipt that tells that the subscription is there.
const RECEIPT: &str = "subscribed";

impl Subscriber {
    /// Connects and subscribes.
    pub async fn open(wanted: &Subscribe<'_>) -> Result<Self, ClientError> {
        tokio::time::timeout(wanted.within, Self::establish(wanted))
            .await
            .map_err(|_| ClientError::TimedOut)?
    }

    async fn establish(wanted: &Subscribe<'_>) -> Result<Self, ClientError> {
        let protocol = "Sec-WebSocket-Protocol: v12.stomp\r\n";
        let socket = WebSocket::upgrade(wanted.endpoint, "/ws", protocol, wanted.buffer).await?;
        let mut this = Self {
            socket,
            session: String::new(),
        };
        // No heart-beats: a load is over long before they matter, and Socket.IO's pings are as rare.
        let connect = format!(
            "CONNECT\naccept-version:1.2\nhost:confab.test\nheart-beat:0,0\nAuthorization:Bearer {}\n\n\0",
            wanted.token
        );
        this.socket.send(connect.as_bytes());
        this.session = this
            .answer(b"CONNECTED\n", |frame| {
                header(frame, "\nsession:").map(str::to_owned)
            })
            .await?;
        let subscribe = format!(
            "SUBSCRIBE\nid:{}\ndestination:{}\nreceipt:{RECEIPT}\n\n\0",
            wanted.id, wanted.destination
        );
        this.socket.send(subscribe.as_bytes());
        this.answer(b"RECEIPT\n", |frame| {
            (header(frame, "\nreceipt-id:")? == RECEIPT).then_some(())
        })
        .await?;
        Ok(this)
    }

    /// Waits for a frame that begins like this, and reads something from it.
    async fn answer<T>(
        &mut self,
        command: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, ClientError> {
        loop {
            let Some(frame) = self.frame()? else {
                self.socket.turn().await?;
                continue;
            };
            let frame = self.socket.bytes(frame);
            if frame.starts_with(command) {
                return read(frame).ok_or(ClientError::Protocol("an answer to something else"));
            }
        }
    }

    /// What the server calls the session.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The next MESSAGE that is here already: the whole frame.
    pub fn message(&mut self) -> Result<Option<&[u8]>, ClientError> {
        while let Some(frame) = self.frame()? {
            if self.socket.bytes(frame.clone()).starts_with(b"MESSAGE\n") {
                return Ok(Some(self.socket.bytes(frame)));
            }
        }
        Ok(None)
    }

    /// Where the next frame lies that is here already. The servers write one into each WebSocket message; this client relies on it.
    fn frame(&mut self) -> Result<Option<Range<usize>>, ClientError> {
        while let Some(message) = self.socket.message()? {
            match self.socket.bytes(message.clone()) {
                b"\n" => {}
                [b'E', b'R', b'R', b'O', b'R', b'\n', why @ ..] => {
                    return Err(ClientError::Refused(
                        String::from_utf8_lossy(why).into_owned(),
                    ));
                }
                [.., 0] => return Ok(Some(message)),
                _ => return Err(ClientError::Protocol("not one whole frame")),
            }
        }
        Ok(None)
    }

    /// Waits until something has come. Safe to cancel.
    pub async fn turn(&mut self) -> Result<(), ClientError> {
        self.socket.turn().await
    }
}

/// The value of a frame's header, as it is written; `name` has the end of the line before it and the colon.
fn header<'a>(frame: &'a [u8], name: &str) -> Option<&'a str> {
    let head = &frame[..memchr::memmem::find(frame, b"\n\n")?];
    let start = memchr::memmem::find(head, name.as_bytes())? + name.len();
    let end = memchr::memchr(b'\n', &head[start..]).map_or(head.len(), |end| start + end);
    std::str::from_utf8(&head[start..end]).ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn headers_are_found_in_the_head_only() {
        let frame = b"MESSAGE\nmessage-id:7\nsession:a b\n\n\ncontent:no\n\0";
        assert_eq!(header(frame, "\nmessage-id:"), Some("7"));
        assert_eq!(header(frame, "\nsession:"), Some("a b"));
        assert_eq!(header(frame, "\ncontent:"), None);
        assert_eq!(header(b"MESSAGE\n", "\nmessage-id:"), None);
    }

    async fn say(stream: &mut TcpStream, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        stream.write_all(&[0x81, length]).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The payload of the client's next frame.
    async fn hear(stream: &mut TcpStream) -> String {
        let mut header = [0; 2];
        stream.read_exact(&mut header).await.unwrap();
        let length = match header[1] & 0x7F {
            126 => usize::from(stream.read_u16().await.unwrap()),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await.unwrap();
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        String::from_utf8(payload).unwrap()
    }

    #[tokio::test]
    async fn connects_subscribes_and_hands_out_messages() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint =
            Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            assert!(request.starts_with(b"GET /ws HTTP/1.1\r\n"));
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                .await
                .unwrap();
            assert!(hear(&mut stream).await.contains("Bearer a.b.c\n"));
            say(&mut stream, "CONNECTED\nversion:1.2\nsession:s-1\n\n\0").await;
            assert!(hear(&mut stream).await.contains("\nid:sub-0\n"));
            for text in [
                "RECEIPT\nreceipt-id:subscribed\n\n\0",
                "\n",
                "MESSAGE\nsubscription:sub-0\n\nhello\0",
                "ERROR\nmessage:no\n\n\0",
            ] {
                say(&mut stream, text).await;
            }
            stream
        };
        let client = async {
            let mut subscriber = Subscriber::open(&Subscribe {
                endpoint: &endpoint,
                token: "a.b.c",
                destination: "/topic/x",
                id: "sub-0",
                buffer: 1,
                within: PATIENCE,
            })
            .await
            .unwrap();
            assert_eq!(subscriber.session(), "s-1");
            loop {
                if let Some(message) = subscriber.message().unwrap() {
                    assert!(message.ends_with(b"\n\nhello\0"));
                    break;
                }
                subscriber.turn().await.unwrap();
            }
            loop {
                match subscriber.message() {
                    Ok(None) => subscriber.turn().await.unwrap(),
                    Ok(Some(_)) => panic!("a message"),
                    Err(error) => return error,
                }
            }
        };
        let (_stream, error) = tokio::join!(server, client);
        assert!(matches!(error, ClientError::Refused(_)), "{error}");
    }
}
