use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use confab_shared::config::load;

use super::*;
use crate::config::{DEFAULTS, GatewayConfig, LimitsConfig};
use crate::transport::admission::Admission;
use crate::transport::sessions::Sessions;

fn fragments() -> Fragments {
    Fragments {
        opcode: None,
        bytes: BytesMut::new(),
        max: 6,
    }
}

#[test]
fn fragments_are_joined_within_the_limit() {
    let mut parts = fragments();
    assert_eq!(parts.add(OpCode::Text, false, "ab".into()), Ok(None));
    assert_eq!(
        parts.add(OpCode::Continuation, false, "cd".into()),
        Ok(None)
    );
    let Ok(Some((OpCode::Text, whole))) = parts.add(OpCode::Continuation, true, "ef".into()) else {
        panic!("not joined")
    };
    assert_eq!(whole, "abcdef");
    assert!(parts.add(OpCode::Binary, false, "1234".into()).is_ok());
    assert_eq!(
        parts.add(OpCode::Continuation, true, "567".into()).err(),
        Some(DisconnectReason::PayloadTooLarge)
    );
}

/// Nobody's session.
struct Idle;

impl EngineHandler for Idle {
    type Session = ();

    fn open(&self, _: Arc<Handshake>, _: Link) {}

    async fn text(&self, (): &mut (), _: &str) -> Result<(), DisconnectReason> {
        Ok(())
    }

    async fn binary(&self, (): &mut (), _: Bytes) -> Result<(), DisconnectReason> {
        Ok(())
    }

    fn has_begun(&self, (): &()) -> bool {
        true
    }

    async fn closed(&self, (): (), _: DisconnectReason) {}
}

/// A client that comes again the moment it hears something.
struct Returning {
    sessions: Sessions,
    admission: Admission,
    found_places: Vec<bool>,
}

impl Returning {
    fn place(&self) -> Option<(Place, Admitted)> {
        let address = Ipv4Addr::LOCALHOST.into();
        let place = self.sessions.claim(1)?;
        Some((place, self.admission.admit(address).ok()?))
    }
}

impl AsyncWrite for Returning {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_found = self.place().is_some();
        self.found_places.push(is_found);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn whoever_is_told_that_its_session_is_over_may_be_back_at_once() {
    let config = load::<GatewayConfig>(DEFAULTS).unwrap().config.engine;
    let mut client = Returning {
        sessions: Sessions::default(),
        admission: Admission::new(&LimitsConfig {
            sessions_per_ip: 1,
            handshakes_per_ip: 0,
            sessions_per_user: 0,
        }),
        found_places: Vec::new(),
    };
    let admitted = client.place().unwrap();
    assert!(client.place().is_none());
    let queue = SendQueue::new(100);
    let engine = Engine::new(&Idle, &config, &queue);
    let mut outbox = Outbox::new(&mut client);
    let reason = DisconnectReason::Draining;
    conclude(&engine, (), &mut outbox, reason, admitted).await;
    drop(outbox);
    assert!(!client.found_places.is_empty());
    assert!(client.found_places.iter().all(|is_found| *is_found));
}

/// Its session is superseded by the second message.
struct Moving<'a> {
    queue: &'a SendQueue,
    taken: usize,
}

impl Inbox for Moving<'_> {
    fn max_message(&self) -> usize {
        100
    }

    async fn text(&mut self, _: Bytes) -> Result<(), DisconnectReason> {
        self.taken += 1;
        if self.taken == 2 {
            self.queue.close(DisconnectReason::Superseded);
        }
        Ok(())
    }

    async fn binary(&mut self, bytes: Bytes) -> Result<(), DisconnectReason> {
        self.text(bytes).await
    }
}

#[tokio::test]
async fn what_a_client_said_before_it_came_back_elsewhere_is_left() {
    // Texts of one letter, masked with zeros.
    let sent = Bytes::from([0x81, 0x81, 0, 0, 0, 0, b'a'].repeat(4));
    let config = load::<GatewayConfig>(DEFAULTS).unwrap().config.engine;
    let reader = reader(tokio::io::empty(), sent, &config);
    let queue = SendQueue::new(100);
    let mut inbox = Moving {
        queue: &queue,
        taken: 0,
    };
    let reason = read_loop(reader, &queue, &mut inbox).await;
    assert_eq!((reason, inbox.taken), (DisconnectReason::Superseded, 2));
}

#[test]
fn fragments_out_of_place_are_violations() {
    assert!(
        fragments()
            .add(OpCode::Continuation, true, "x".into())
            .is_err()
    );
    let mut parts = fragments();
    parts.add(OpCode::Text, false, "a".into()).unwrap();
    assert!(parts.add(OpCode::Text, true, "b".into()).is_err());
}
