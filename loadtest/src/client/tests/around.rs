//! Sessions over HTTP against scripted gateways, every one of which answers for the same session.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::{Notify, mpsc};

use super::*;

/// A session that any of the gateways serves.
#[derive(Default)]
struct Session {
    /// What came: the number of the gateway, and the request's method with its body.
    heard: Mutex<Vec<(usize, String)>>,
    /// What waits for a poll.
    queue: Mutex<VecDeque<String>>,
    queued: Notify,
}

impl Session {
    fn say(&self, packets: &str) {
        self.queue.lock().unwrap().push_back(packets.to_owned());
        self.queued.notify_one();
    }

    /// What came since the last time.
    fn heard(&self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    async fn poll(&self) -> String {
        loop {
            if let Some(packets) = self.queue.lock().unwrap().pop_front() {
                return packets;
            }
            self.queued.notified().await;
        }
    }
}

/// The gateways' addresses, their one session, and the WebSockets that it is probed with: by which gateway, and the stream.
struct House {
    endpoints: Arc<[Endpoint]>,
    session: Arc<Session>,
    probes: mpsc::Receiver<(usize, TcpStream)>,
}

impl House {
    async fn open(gateways: usize) -> Self {
        let session = Arc::new(Session::default());
        let (knocks, probes) = mpsc::channel(4);
        let mut endpoints = Vec::new();
        for gateway in 0..gateways {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            endpoints.push(Endpoint::parse(&url).unwrap());
            let (session, knocks) = (Arc::clone(&session), knocks.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(gateway, stream, Arc::clone(&session), knocks.clone()));
                }
            });
        }
        Self {
            endpoints: endpoints.into(),
            session,
            probes,
        }
    }

    async fn client(&self, kind: Kind) -> Connection {
        self.session.say(r#"40/chat,{"sid":"s","pid":"p"}"#);
        let dial = Dial {
            kind,
            route: Route::round_robin(Arc::clone(&self.endpoints), 0).unwrap(),
            buffer: 1,
            within: PATIENCE,
        };
        Connection::open(&dial, "t", &Recovery::default())
            .await
            .unwrap()
    }
}

/// Answers one connection's requests, until it is probed.
async fn serve(
    gateway: usize,
    mut stream: TcpStream,
    session: Arc<Session>,
    knocks: mpsc::Sender<(usize, TcpStream)>,
) {
    let mut received = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = memchr::memmem::find(&received, b"\r\n\r\n") {
                break String::from_utf8(received.drain(..end + 4).collect()).unwrap();
            }
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        };
        if head.contains("transport=websocket&sid=engine") {
            let upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(upgraded).await.unwrap();
            knocks.send((gateway, stream)).await.unwrap();
            return;
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse().unwrap());
        while received.len() < length {
            stream.read_buf(&mut received).await.unwrap();
        }
        let body = String::from_utf8(received.drain(..length).collect()).unwrap();
        let method = head.split(' ').next().unwrap();
        let note = |what: String| session.heard.lock().unwrap().push((gateway, what));
        let answer = match method {
            "POST" => {
                note(body);
                "ok".to_owned()
            }
            _ if head.contains("&sid=engine ") => {
                note("GET".to_owned());
                session.poll().await
            }
            _ => concat!(
                r#"0{"sid":"engine","upgrades":["websocket"],"pingInterval":25000,"#,
                r#""pingTimeout":20000,"maxPayload":45}"#
            )
            .to_owned(),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn each_request_goes_to_the_next_gateway() {
    let house = House::open(3).await;
    let mut client = house.client(Kind::Polling).await;
    assert_eq!(client.welcome().pid.as_deref(), Some("p"));
    let heard = house.session.heard();
    assert_eq!(heard.len(), 2);
    assert!(heard.contains(&(1, "GET".into())), "{heard:?}");
    assert!(
        heard.contains(&(2, r#"40/chat,{"token":"t"}"#.into())),
        "{heard:?}"
    );
    for number in 0..6 {
        // A ping, an event and nothing in one answer; the pong is the next thing that is carried.
        house
            .session
            .say(&format!("2\x1e42/chat,[\"e\",{number}]\x1e6"));
        assert_eq!(event(&mut client).await.unwrap(), ("e".to_owned(), 3));
    }
    house.session.say(r#"42/chat,["last"]"#);
    assert_eq!(event(&mut client).await.unwrap().0, "last");
    let visits: Vec<usize> = house.session.heard().iter().map(|(at, _)| *at).collect();
    for gateway in 0..3 {
        let count = visits.iter().filter(|at| **at == gateway).count();
        assert!((3..=6).contains(&count), "{visits:?}");
    }
}

#[tokio::test]
async fn a_request_carries_no_more_than_the_server_takes() {
    let house = House::open(2).await;
    let mut client = house.client(Kind::Polling).await;
    house.session.heard();
    for ack in 0..3 {
        client.emit("e", ack, b"12345");
    }
    house.session.say(r#"42/chat,["e"]"#);
    // The server takes 45 bytes: two of them fit, and the third does not.
    let mut carried = Vec::new();
    while carried.len() < 2 {
        let _ = tokio::time::timeout(Duration::from_millis(20), client.turn()).await;
        while client.packet().unwrap().is_some() {}
        let heard = house.session.heard().into_iter().map(|(_, what)| what);
        carried.extend(heard.filter(|what| what != "GET"));
    }
    assert_eq!(
        carried,
        [
            "42/chat,0[\"e\",12345]\x1e42/chat,1[\"e\",12345]",
            "42/chat,2[\"e\",12345]"
        ]
    );
}

#[tokio::test]
async fn a_gateway_where_nobody_listens_is_passed_over() {
    let house = House::open(2).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut endpoints = house.endpoints.to_vec();
    endpoints.insert(0, Endpoint::parse(&url).unwrap());
    let house = House {
        endpoints: endpoints.into(),
        ..house
    };
    let mut client = house.client(Kind::Polling).await;
    for _ in 0..4 {
        house.session.say(r#"42/chat,["e"]"#);
        assert_eq!(event(&mut client).await.unwrap().0, "e");
    }
}

#[tokio::test]
async fn a_websocket_takes_over_when_nothing_is_on_its_way_any_more() {
    let mut house = House::open(3).await;
    let mut client = house.client(Kind::Upgraded).await;
    let (gateway, stream) = house.probes.recv().await.unwrap();
    assert_eq!(gateway, 1, "the next one after the handshake's");
    let mut socket = Peer(stream);
    // What is to be said meanwhile goes by requests until the probe is answered, and then waits.
    let session = Arc::clone(&house.session);
    let server = tokio::spawn(async move {
        assert_eq!(socket.hear().await, "2probe");
        socket.say(&text_frame("3probe")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Released with an event, which is not lost.
        session.say("42/chat,[\"before\"]\x1e6");
        assert_eq!(socket.hear().await, "5");
        socket.say(&text_frame(r#"42/chat,["after"]"#)).await;
        assert_eq!(socket.hear().await, r#"42/chat,7["said",1]"#);
        socket
    });
    assert_eq!(event(&mut client).await.unwrap().0, "before");
    assert!(!client.is_websocket());
    client.emit("said", 7, b"1");
    assert_eq!(event(&mut client).await.unwrap().0, "after");
    assert!(client.is_websocket());
    drop(server.await.unwrap());
    let said = house.session.heard();
    assert!(
        !said.iter().any(|(_, what)| what.contains("said")),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_refused_request_ends_the_session() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let body = r#"{"code":1,"message":"Session ID unknown"}"#;
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut request = Vec::new();
        stream.read_buf(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let dial = Dial {
        kind: Kind::Polling,
        route: Route::direct(Endpoint::parse(&url).unwrap()),
        buffer: 1,
        within: PATIENCE,
    };
    let refused = Connection::open(&dial, "t", &Recovery::default()).await;
    assert!(
        matches!(&refused, Err(ClientError::Answered { status: 400, body, .. }) if body.contains("unknown")),
        "{refused:?}"
    );
}
